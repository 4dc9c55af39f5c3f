"""``python -m pyptv``: lists all commands, and runs them by name."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from pyptv import __version__
from pyptv.core.base.streams import show

INVALID = 2


@dataclass(frozen=True)
class Entry:
    """One command."""

    module: str
    """Its function ``cli(arguments)`` runs the command and returns the exit code."""
    summary: str
    first: tuple[str, ...] = ()
    """Arguments placed before those of the user."""


COMMANDS = {
    "run": Entry("pyptv.pyptv_batch", "process an experiment (pyptv-batch)"),
    "parallel": Entry("pyptv.pyptv_batch_parallel", "process it on several cores (pyptv-batch-parallel)"),
    "check": Entry("pyptv.pyptv_batch", "check an experiment, process nothing", ("--check",)),
    "advise": Entry("pyptv.advise.__main__", "propose parameters from the data (pyptv-advise)"),
    "report": Entry("pyptv.report.__main__", "write an HTML report of a run (pyptv-report)"),
    "export": Entry("pyptv.export.__main__", "write trajectories for other programs (pyptv-export)"),
    "evaluate": Entry("pyptv.evaluate.__main__", "score results against a known truth"),
    "synthetic": Entry("pyptv.synthetic.__main__", "make an experiment with a known truth"),
    "demo": Entry("pyptv.pyptv_batch", "make, process and score a small experiment", ("--demo",)),
}


def commands() -> dict[str, Entry]:
    """The commands of this installation, by name."""
    return {name: entry for name, entry in COMMANDS.items() if find_spec(entry.module.rpartition(".")[0]) is not None}


def usage() -> str:
    """The list of commands."""
    there = commands()
    rows = [f"  {name:<10} {entry.summary}" for name, entry in there.items()]
    return "\n".join(
        [
            "usage: python -m pyptv COMMAND [arguments]",
            "",
            "3-D particle tracking velocimetry: process OpenPTV experiments.",
            "",
            "commands:",
            *rows,
            "",
            "python -m pyptv COMMAND --help lists the options of a command.",
            "",
        ]
    )


def cli(arguments: Sequence[str] | None = None) -> int:
    """Run a command; the exit code is that of the command."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words or words[0] in {"-h", "--help", "help"}:
        show(usage())
        return 0
    if words[0] == "--version":
        show(f"pyptv-batch {__version__}\n")
        return 0
    entry = commands().get(words[0])
    if entry is None:
        sys.stderr.write(f"error: {_not_a_command(words[0])}\n")
        return INVALID
    code: int = import_module(entry.module).cli([*entry.first, *words[1:]])
    return code


def _not_a_command(word: str) -> str:
    close = get_close_matches(word.lower(), commands(), n=1)
    if not close and Path(word).exists():
        return f"{word!r} is not a command: did you mean 'run {word}'?"
    return f"{word!r} is not a command" + (f": did you mean {close[0]!r}?" if close else f". Commands: {', '.join(commands())}")


if __name__ == "__main__":
    sys.exit(cli())
