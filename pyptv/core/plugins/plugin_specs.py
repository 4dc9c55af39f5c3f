"""PyPTV's plugins: which one a run uses, and the location of its code. Executes nothing.

A name is looked for as ``EXP/plugins/NAME.py``, then among the entry points of the group ``pyptv.plugins`` of installed packages.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Literal

from pyptv.core.base.errors import InvalidExperimentError
from pyptv.core.base.similar import similar_text
from pyptv.core.files.atomic import digest
from pyptv.core.plugins.hook_specs import digest_of_module, package_of, read_code

GROUP = "pyptv.plugins"
Kind = Literal["sequence", "tracking"]
_NAME = re.compile(r"[A-Za-z_]\w{0,99}")


@dataclass(frozen=True)
class PluginSpec:
    """A plugin as a value: the data that its process receives, and that results depend on."""

    kind: Kind
    name: str
    file: str = ""
    """The file with its code; empty: an installed module."""
    target: str = ""
    """Module and attribute of an entry point."""
    digest: str = ""
    versions: tuple[str, ...] = ()

    @property
    def origin(self) -> str:
        """The location of its code, for the log."""
        where = self.file or f"{self.target} of {', '.join(self.versions)}"
        return f"{where}, digest {self.digest}" if self.digest else where


def plugin_spec(kind: Kind, name: str, folder: Path) -> PluginSpec:
    """The plugin with a name.

    Args:
        kind: the step that it replaces.
        name: as given by the user or the parameters.
        folder: of the experiment.

    Raises:
        InvalidExperimentError: there is none, or it cannot be read.
    """
    if _NAME.fullmatch(name) is None:
        raise InvalidExperimentError(f"{kind} plugin {name!r:.100}: expected the name of a Python module, without .py")
    file = folder / "plugins" / f"{name}.py"
    if file.is_file():
        return PluginSpec(kind, name, file=str(file), digest=digest(read_code(file)))
    point = next(iter(entry_points(group=GROUP, name=name)), None)
    if point is None:
        known = [path.stem for path in (folder / "plugins").glob("*.py")] + list(entry_points(group=GROUP).names)
        raise InvalidExperimentError(
            f"{kind} plugin {name!r}: found neither {file}, nor an entry point of the group {GROUP}{similar_text(name, known)}"
        )
    return PluginSpec(kind, name, target=point.value, digest=digest_of_module(point), versions=(package_of(point),))
