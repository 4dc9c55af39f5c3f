"""The hooks of a run: from ``NAME:key=value,...`` to their code and digests. Executes no external code.

A name is looked for among the built-in hooks, then among the entry points of the group ``pyptv.hooks`` of installed packages,
then as ``EXP/plugins/NAME.py``. External code runs only on request: code in the experiment's folder or named there needs
``--allow-plugins``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points, version
from pathlib import Path

from pyptv.core.base.errors import InvalidExperimentError
from pyptv.core.base.regular_files import read_regular
from pyptv.core.base.similar import similar_text
from pyptv.core.files.atomic import digest
from pyptv.hooks import BUILT_IN

GROUP = "pyptv.hooks"
NO_HOOKS = "none"
"""As the only name: no hooks, regardless of the parameters."""

Value = bool | int | float | str

_NAME = re.compile(r"[A-Za-z_][\w.-]{0,99}")
_KEY = re.compile(r"[A-Za-z_]\w{0,99}")
_LIBRARIES = {"rolling_ball": ("scikit-image", "scipy")}
_MOST_BYTES = 10_000_000


@dataclass(frozen=True)
class HookSpec:
    """A hook as a value: what workers need to create it, and what results depend on."""

    name: str
    parameters: tuple[tuple[str, Value], ...] = ()
    target: str = ""
    """Module and class; empty: the class ``Hook`` of a file."""
    file: str = ""
    """The file with its code; empty: an installed module."""
    digest: str = ""
    """Digest of the file, if known."""
    versions: tuple[str, ...] = ()
    """Packages that it depends on."""

    def __str__(self) -> str:
        parameters = ",".join(f"{key}={value}" for key, value in self.parameters)
        return f"{self.name}:{parameters}" if parameters else self.name

    @property
    def origin(self) -> str:
        """The location of its code, for the log."""
        if self.name in BUILT_IN and not self.file:
            return "built in"
        where = self.file or f"{self.target} of {', '.join(self.versions)}"
        return f"{where}, digest {self.digest}" if self.digest else where


def hook_specs(asked: Iterable[str], named: Iterable[str], folder: Path, *, allow: bool) -> tuple[HookSpec, ...]:
    """The hooks of a run.

    Args:
        asked: by the user, ``NAME:key=value,...`` each; they replace those of the parameters.
        named: in the parameters.
        folder: of the experiment.
        allow: external code in the experiment's folder or named there may run.

    Raises:
        InvalidExperimentError: a name that is unknown, not allowed, or not valid.
    """
    asked = list(asked)
    texts, by_user = (asked, True) if asked else (list(named), False)
    if texts == [NO_HOOKS]:
        return ()
    specs: list[HookSpec] = []
    problems: list[str] = []
    for text in texts:
        try:
            specs.append(_resolved(text, folder, by_user=by_user, allow=allow))
        except InvalidExperimentError as error:
            problems += error.problems
    if problems:
        raise InvalidExperimentError(*problems)
    return tuple(specs)


def _resolved(text: str, folder: Path, *, by_user: bool, allow: bool) -> HookSpec:
    name, _, rest = text.partition(":")
    if _NAME.fullmatch(name) is None:
        raise InvalidExperimentError(f"hook {text!r:.100}: expected NAME or NAME:key=value,...")
    parameters = tuple(_parameter(text, part) for part in rest.split(",")) if rest else ()
    if name in BUILT_IN:
        return HookSpec(name, parameters, BUILT_IN[name], versions=_library_versions(name))
    point = next(iter(entry_points(group=GROUP, name=name)), None)
    file = folder / "plugins" / f"{name}.py"
    if point is None and not file.is_file():
        there = [path.stem for path in (folder / "plugins").glob("*.py")]
        known = [*BUILT_IN, *entry_points(group=GROUP).names, *there]
        raise InvalidExperimentError(
            f"hook {name!r}: found neither a built-in hook ({', '.join(BUILT_IN)}), nor an entry point of the group {GROUP}, "
            f"nor {file}{similar_text(name, known)}"
        )
    if not allow and not (by_user and point is not None):
        what = f"the installed package {package_of(point)}" if point is not None else str(file)
        named = "" if by_user else ", which the parameters name"
        raise InvalidExperimentError(f"hook {name!r}: it is code of {what}{named}: --allow-plugins lets it run")
    if point is not None:
        return HookSpec(name, parameters, point.value, digest=digest_of_module(point), versions=(package_of(point),))
    return HookSpec(name, parameters, file=str(file), digest=digest(read_code(file)))


def _parameter(text: str, part: str) -> tuple[str, Value]:
    key, equals, value = part.partition("=")
    if not equals or _KEY.fullmatch(key) is None:
        raise InvalidExperimentError(f"hook {text!r:.100}: found {part!r:.50}, expected key=value")
    if value.lower() in ("true", "false"):
        return key, value.lower() == "true"
    for kind in (int, float):
        try:
            return key, kind(value)
        except ValueError:
            continue
    return key, value


def read_code(file: Path) -> bytes:
    """The bytes of a file of code.

    Raises:
        InvalidExperimentError: it cannot be read.
    """
    try:
        return read_regular(file, _MOST_BYTES)
    except OSError as error:
        raise InvalidExperimentError(f"{file}: cannot be read: {error.strerror or error}") from error


def _library_versions(name: str) -> tuple[str, ...]:
    try:
        return tuple(f"{library} {version(library)}" for library in _LIBRARIES.get(name, ()))
    except ImportError as error:
        raise InvalidExperimentError(f'hook {name!r} needs {error.name}: pip install "pyptv-batch[hooks]"') from error


def package_of(point: EntryPoint) -> str:
    """The package of an entry point, with its version."""
    return f"{point.dist.name} {point.dist.version}" if point.dist is not None else "an unknown package"


def digest_of_module(point: EntryPoint) -> str:
    """Digest of the file of an entry point's module; empty if it is not a plain file."""
    if point.dist is None:
        return ""
    parts = point.module.split(".")
    for name in ("/".join(parts) + ".py", "/".join([*parts, "__init__.py"])):
        path = Path(str(point.dist.locate_file(name)))
        if path.is_file():
            return digest(read_code(path))
    return ""
