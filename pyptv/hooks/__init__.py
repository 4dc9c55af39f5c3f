"""Hooks: your own code in the sequence step, frame by frame, on all workers. ``docs/plugins.md`` has an example of each kind.

A hook is a class with one of three methods. It is made once in each worker, with the parameters that were given with its name:

- :class:`ImageFilter`: an image becomes another image, before masks, high-pass and detection;
- :class:`TargetFinder`: an image becomes targets, in place of high-pass and detection;
- :class:`TargetFilter`: targets become other targets, before correspondence.

The result of a hook for a frame must depend only on that frame and the images that it asks its :class:`View` for: frames come
in any order, on any worker, and again after a stop.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Image = NDArray[np.uint8]
    Targets = NDArray[np.void]

BUILT_IN = {
    "background_median": "pyptv.hooks.background:MedianBackground",
    "background_minimum": "pyptv.hooks.background:MinimumBackground",
    "rolling_ball": "pyptv.hooks.background:RollingBall",
}
"""The hooks that come with this program: name -> module and class."""

TARGET_FIELDS = (("x", "f8"), ("y", "f8"), ("n", "i4"), ("nx", "i4"), ("ny", "i4"), ("sumg", "i4"))
"""A target: x, y [px], those of the middle of the top left pixel being 0.5; pixels in all, in x and in y; sum of grey values."""


class View(Protocol):
    """Which image a hook is working at, and its neighbours in time."""

    @property
    def frame(self) -> int:
        """Number of the frame."""

    @property
    def camera(self) -> int:
        """Number of the camera, from 0."""

    def image(self, frame: int) -> Image | None:
        """The image of this camera at another frame, (imy, imx) uint8, as it was read, before any hook.

        At most ``reach`` frames away, a number that the hook states as an attribute (default 0).

        Returns:
            None where there is no such image, or none that can be read.
        """


@runtime_checkable
class ImageFilter(Protocol):
    """An image becomes another image."""

    def filter_image(self, image: Image, view: View) -> Image:
        """The image to go on with, (imy, imx) uint8 like ``image``, which must not be changed."""


@runtime_checkable
class TargetFinder(Protocol):
    """An image becomes targets, in place of the high-pass filter and the detection of this program."""

    def find_targets(self, image: Image, view: View) -> Targets:
        """The targets of an image, (n,) with the fields of :func:`no_targets`, in any order."""


@runtime_checkable
class TargetFilter(Protocol):
    """Targets become other targets."""

    def filter_targets(self, targets: Targets, view: View) -> Targets:
        """The targets to go on with, (m,) with the fields of ``targets`` (n,), which must not be changed; in any order."""


Hook = ImageFilter | TargetFinder | TargetFilter


def no_targets(n: int = 0) -> Targets:
    """A table of ``n`` targets, (n,) with a field for each of :data:`TARGET_FIELDS`, all 0: to be filled."""
    import numpy as np  # only for those who have targets

    return np.zeros(n, list(TARGET_FIELDS))
