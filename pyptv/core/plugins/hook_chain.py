"""Hooks in a worker: created there, applied to each image and its targets, with checks of the results."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from pyptv.core.base.errors import FrameError
from pyptv.core.files.atomic import digest
from pyptv.core.files.formats import TARGETS
from pyptv.core.plugins.hook_specs import HookSpec, read_code
from pyptv.hooks import TARGET_FIELDS, Hook, ImageFilter, TargetFilter, TargetFinder

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pyptv.core.files.formats import Rows
    from pyptv.hooks import Image, Targets

_DTYPE = np.dtype(list(TARGET_FIELDS))
_FARTHEST = 1e6
"""[px] Maximum distance of a target from an image."""

MOST_REACH = 2000
"""Maximum number of frames before and after its own that a hook may use: each is checked when a run is resumed."""


@dataclass(frozen=True)
class ImageView:
    """The image that a hook processes."""

    frame: int
    camera: int
    reach: int
    read: Callable[[int], Image | None]

    def image(self, frame: int) -> Image | None:
        """The image of this camera at another frame."""
        if abs(frame - self.frame) > self.reach:
            raise ValueError(
                f"requested the image of frame {frame} at frame {self.frame}: expected at most {self.reach} frames away, "
                "which is the hook's attribute reach"
            )
        return self.read(frame)


class HookChain:
    """The hooks of a run, in their order."""

    def __init__(self, specs: Sequence[HookSpec]) -> None:
        """Create the hooks.

        Raises:
            FrameError: a hook cannot be created.
        """
        hooks = [(spec.name, make_hook(spec)) for spec in specs]
        self._images = [(name, hook) for name, hook in hooks if isinstance(hook, ImageFilter)]
        finders = [(name, hook) for name, hook in hooks if isinstance(hook, TargetFinder)]
        self._filters = [(name, hook) for name, hook in hooks if isinstance(hook, TargetFilter)]
        if len(finders) > 1:
            raise FrameError(
                f"hooks {', '.join(name for name, _ in finders)}: found {len(finders)} that find targets, expected one"
            )
        self._finder = finders[0] if finders else None
        self.reach = max((reach_of(name, hook) for name, hook in hooks), default=0)

    @property
    def needs_images(self) -> str | None:
        """A hook that works on images; None: no hook does."""
        return next((name for name, _ in [*self._images, *filter(None, [self._finder])]), None)

    @property
    def finds(self) -> bool:
        """Whether a hook finds the targets."""
        return self._finder is not None

    @property
    def filters(self) -> bool:
        """Whether a hook changes the targets."""
        return bool(self._filters)

    def filter_image(self, image: Image, view: ImageView) -> Image:
        """Apply all image filters."""
        for name, hook in self._images:
            shown = _read_only(image)
            with _blamed(name):
                made = hook.filter_image(shown, view)
            image = _checked_image(made, image.shape, name)
        return image

    def find_targets(self, image: Image, view: ImageView) -> Targets:
        """The targets found by the hook in an image."""
        if self._finder is None:
            raise LookupError("no hook finds targets")
        name, hook = self._finder
        shown = _read_only(image)
        with _blamed(name):
            found = hook.find_targets(shown, view)
        return _checked_targets(found, name)

    def filter_targets(self, targets: Targets, view: ImageView) -> Targets:
        """Apply all target filters."""
        for name, hook in self._filters:
            shown = _read_only(targets)
            with _blamed(name):
                made = hook.filter_targets(shown, view)
            targets = _checked_targets(made, name)
        return targets


def make_hook(spec: HookSpec) -> Hook:
    """A hook from its spec; executes its code.

    Raises:
        FrameError: its code has changed since the run began, cannot be loaded, or defines no hook.
    """
    with _blamed(spec.name):
        if spec.file:
            made: Any = _load_file(spec).Hook
        else:
            module, _, attribute = spec.target.partition(":")
            made = getattr(import_module(module), attribute or "Hook")
        hook: Any = made(**dict(spec.parameters))
    kinds = [kind for kind in (ImageFilter, TargetFinder, TargetFilter) if isinstance(hook, kind)]
    if len(kinds) != 1:
        found = "none" if not kinds else f"{len(kinds)}"
        raise FrameError(
            f"hook {spec.name}: found {found} of the methods filter_image, find_targets, filter_targets in "
            f"{type(hook).__name__}, expected one"
        )
    checked: Hook = hook
    return checked


def reach_of(name: str, hook: Hook) -> int:
    """The number of frames before and after its own that a hook uses.

    Raises:
        FrameError: its attribute has another value.
    """
    reach = getattr(hook, "reach", 0)
    if not isinstance(reach, int) or not 0 <= reach <= MOST_REACH:
        raise FrameError(f"hook {name}: found the reach {reach!r:.50}, expected a number of frames from 0 to {MOST_REACH}")
    return reach


def rows_of(targets: Targets) -> Rows:
    """Targets as rows of ``_targets`` (n,)."""
    rows = np.zeros(len(targets), TARGETS.dtype)
    rows["pnr"] = np.arange(len(targets))
    for name, _ in TARGET_FIELDS:
        rows[name] = targets[name]
    rows["tnr"] = -1
    return rows


def targets_of(rows: Rows) -> Targets:
    """Rows of ``_targets`` in the form for hooks."""
    targets = np.empty(len(rows), _DTYPE)
    for name, _ in TARGET_FIELDS:
        targets[name] = rows[name]
    return targets


def _load_file(spec: HookSpec) -> ModuleType:
    data = read_code(Path(spec.file))
    if digest(data) != spec.digest:
        raise ValueError(f"{spec.file} has changed since the run began")
    module = ModuleType(f"pyptv_hook_{spec.name}")
    module.__file__ = spec.file
    sys.modules[module.__name__] = module  # dataclasses look up their module there
    exec(compile(data, spec.file, "exec"), module.__dict__)  # noqa: S102 -- asked for with --allow-plugins
    return module


@contextmanager
def _blamed(name: str) -> Iterator[None]:
    """Turn an error in a hook into an error of the frame, with the name of the hook."""
    try:
        yield
    except FrameError:
        raise
    except MemoryError as error:
        raise FrameError(f"hook {name}: out of memory") from error
    except (Exception, SystemExit) as error:
        text = " ".join(str(error).split())[:300]
        raise FrameError(f"hook {name}: {type(error).__name__}: {text}") from error


def _read_only(array: NDArray[Any]) -> NDArray[Any]:
    """A read-only view: a hook that writes into it raises an error, and other hooks do not get wrong numbers."""
    shown = array.view()
    shown.flags.writeable = False
    return shown


def _checked_image(image: object, shape: tuple[int, ...], name: str) -> Image:
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.shape != shape:
        found = f"{image.shape} {image.dtype}" if isinstance(image, np.ndarray) else type(image).__name__
        raise FrameError(f"hook {name}: gave back {found}, expected an image of {shape} uint8")
    return np.ascontiguousarray(image)


def _checked_targets(targets: object, name: str) -> Targets:
    if not isinstance(targets, np.ndarray) or targets.ndim != 1 or targets.dtype != _DTYPE:
        found = f"{targets.shape} {targets.dtype}" if isinstance(targets, np.ndarray) else type(targets).__name__
        raise FrameError(f"hook {name}: gave back {found:.200}, expected targets as of pyptv.hooks.no_targets(n)")
    for field in ("x", "y"):
        wrong = ~(np.abs(targets[field]) <= _FARTHEST)
        if wrong.any():
            raise FrameError(f"hook {name}: gave back a target with {field} = {targets[field][wrong][0]}, expected pixels")
    for field in ("n", "nx", "ny", "sumg"):
        if (targets[field] < 0).any():
            raise FrameError(f"hook {name}: gave back a target with {field} = {targets[field].min()}, expected 0 or more")
    return targets.copy()
