"""Shared by all command lines: help within 80 columns, options in any position, frame ranges, suggestions, completion."""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pyptv import __version__
from pyptv.core.base.streams import show

WIDTH = 80
SHELLS = ("bash", "zsh", "tcsh")
_CALLED_ELSEWHERE = {
    "--begin": "--first",
    "--cores": "--processes",
    "--cpus": "--processes",
    "--end": "--last",
    "--fast": "--engine",
    "--from": "--first",
    "--jobs": "--processes",
    "--n-processes": "--processes",
    "--nproc": "--processes",
    "--out": "--output",
    "--start": "--first",
    "--stop": "--last",
    "--threads": "--processes",
    "--verbose": "--log-level",
    "--workers": "--processes",
    "-n": "-j",
    "-o": "--output",
    "-v": "--log-level",
}
"""Options of other programs, and their names here."""


class Parser(argparse.ArgumentParser):
    """The parser of every command.

    Options may be before, between and after the positional arguments; ``--`` ends them. An unknown option is an error that
    names the one that was probably meant.
    """

    def __init__(self, prog: str, words: str, description: str, epilog: str = "") -> None:
        """Make a parser with the options that every command has.

        Args:
            prog: the name of the command.
            words: its positional arguments, as in the usage line.
            description: its purpose.
            epilog: the end of ``--help``; its lines are not changed.
        """
        super().__init__(
            prog=prog, usage=f"{prog} {words} [options]", description=description, epilog=epilog, formatter_class=_Help
        )
        self._sections: dict[str, Any] = {}
        self._has_range = False
        self.add_argument("--version", action="version", version=f"{prog} {__version__}")
        if " " not in prog:  # shells complete the arguments of programs, not those of "python -m"
            self.add_argument("--completion", action=_Completion, choices=SHELLS, help="print a completion script for a shell")

    def section(self, title: str) -> Any:
        """The group of options with a title; created if it does not exist yet."""
        if title not in self._sections:
            self._sections[title] = self.add_argument_group(title)
        return self._sections[title]

    def add_range(self, first: str, last: str) -> None:
        """Add the frame range, ``FIRST LAST`` or ``--first`` and ``--last``: attributes ``first``, ``last``, or None.

        Args:
            first: description of the default first frame.
            last: likewise, of the last frame.
        """
        self._has_range = True
        self.add_argument("first_word", metavar="FIRST", nargs="?", type=_frame, help=f"first frame (default: {first})")
        self.add_argument("last_word", metavar="LAST", nargs="?", type=_frame, help=f"last frame, included (default: {last})")
        frames = self.section("Frames")
        frames.add_argument("--first", type=_frame, metavar="N", help="the same as FIRST; may be given alone")
        frames.add_argument("--last", type=_frame, metavar="N", help="the same as LAST; may be given alone")

    def parse_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override]
        """Parse a command line; bad usage ends the process with exit code 2, as in argparse."""
        arguments = list(sys.argv[1:] if args is None else args)
        self._refuse_unknown(arguments)
        if "--" in arguments:
            found = super().parse_args(arguments, namespace)
        else:
            found = self.parse_intermixed_args(arguments, namespace)
        if self._has_range:
            self._settle_range(found)
        return found

    def _refuse_unknown(self, arguments: list[str]) -> None:
        """Called first: argparse would interpret the value of an unknown option as a positional argument."""
        known = self._option_string_actions
        for word in arguments:
            if word == "--":
                return
            name = word.partition("=")[0] if word.startswith("--") else word[:2]
            if name in known or len(word) < 2 or word[0] != "-" or word[1].isdigit() or word[1] == ".":
                continue
            if not (word.startswith("--") and any(option.startswith(name) for option in known)):
                self.error(f"unknown option {name}{self._meant(name)}")

    def _meant(self, name: str) -> str:
        there = [option for option in self._option_string_actions if option.startswith("--")]
        close = [_CALLED_ELSEWHERE[name]] if name in _CALLED_ELSEWHERE else get_close_matches(name.lower(), there, n=1)
        return f": did you mean {close[0]}?" if close and close[0] in self._option_string_actions else "; --help lists them"

    def _settle_range(self, found: argparse.Namespace) -> None:
        words = (found.first_word, found.last_word)
        del found.first_word, found.last_word
        if words[0] is None:
            return
        if found.first is not None or found.last is not None:
            self.error("name the frames once: FIRST LAST, or --first and --last")
        if words[1] is None:
            self.error("FIRST needs LAST: name both frames, or none; --first N stands alone")
        found.first, found.last = words


class _Help(argparse.RawDescriptionHelpFormatter):
    """No line is longer than 80 columns, however wide the terminal is."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=26, width=min(WIDTH, shutil.get_terminal_size().columns) - 2)


class _Completion(argparse.Action):
    """Print the script that completes a command in a shell, made by shtab."""

    def __call__(self, parser: argparse.ArgumentParser, _namespace: Any, values: Any, _option: str | None = None) -> None:
        try:
            import shtab  # an extra
        except ImportError:
            parser.error('--completion needs the package shtab: pip install "shtab>=1.7"')
        for action in parser._actions:  # noqa: SLF001 -- the only way to them
            if action.type is Path or action.metavar in {"EXP", "DIR", "FILE", "PATH"}:
                action.complete = shtab.FILE  # type: ignore[attr-defined]
        show(shtab.complete(parser, values) + "\n")
        parser.exit()


def _frame(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"found {text!r}, expected a frame number") from None
