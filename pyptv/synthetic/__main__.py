"""``python -m pyptv.synthetic DIR --frames 30 --particles 500``: make a synthetic experiment."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import Field, fields
from typing import Any

from pyptv.core.base.command_line import Parser
from pyptv.core.base.errors import ProcessingError
from pyptv.core.base.streams import show
from pyptv.synthetic import Settings, make_experiment

_CALLED = {"n_frames": "frames", "n_particles": "particles", "n_cameras": "cameras", "depth": "bit-depth"}
"""Options with another name on the command line."""


def build_parser() -> Parser:
    """The options are those of :class:`Settings`."""
    parser = Parser(
        "python -m pyptv.synthetic",
        "DIR",
        "Make a synthetic particle tracking experiment, with its truth in truth.csv.",
        "Splitter, negative and mask write only YAML parameters, because the legacy\ndialect cannot express them.",
    )
    parser.add_argument("directory", metavar="DIR", help="folder to make")
    parser.add_argument("--overwrite", action="store_true", help="replace a synthetic experiment at DIR")
    for entry in fields(Settings):
        _add(parser.section("Experiment"), entry)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the experiment; 0, or 1 with a message on standard error."""
    chosen = vars(build_parser().parse_args(arguments))
    if "image_size" in chosen:
        chosen["image_size"] = tuple(chosen["image_size"])
    directory = chosen.pop("directory")
    try:
        folder = make_experiment(directory, **chosen)
        settings = Settings(**{name: value for name, value in chosen.items() if name != "overwrite"})
        show(f"{folder}: frames {settings.first_frame} to {settings.last_frame}, {settings.n_cameras} cameras\n")
    except (ProcessingError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0


def cli(arguments: Sequence[str] | None = None) -> int:
    """The command ``python -m pyptv synthetic``: returns its exit code."""
    return main(arguments)


def _add(parser: Any, option: Field[Any]) -> None:
    name = _CALLED.get(option.name, option.name).replace("_", "-")
    default = option.default
    unit = f" [{option.metadata['unit']}]" if option.metadata["unit"] else ""
    shown = " x ".join(map(str, default)) if isinstance(default, tuple) else default
    text = f"{option.metadata['meaning']}{unit}"
    common: dict[str, Any] = {"dest": option.name, "default": argparse.SUPPRESS}
    if isinstance(default, bool):
        flag = f"--no-{name}" if default else f"--{name}"
        help_text = "write no images, only _targets files" if default else text
        parser.add_argument(flag, action="store_false" if default else "store_true", help=help_text, **common)
    elif isinstance(default, tuple):
        parser.add_argument(f"--{name}", type=int, nargs=2, metavar=("W", "H"), help=f"{text} (default {shown})", **common)
    else:
        kind, metavar = type(default), "N" if isinstance(default, int) else "X"
        parser.add_argument(f"--{name}", type=kind, metavar=metavar, help=f"{text} (default {shown})", **common)


if __name__ == "__main__":
    sys.exit(cli())
