"""Hooks: your own code in the sequence step, frame by frame, on all workers. ``docs/plugins.md`` has examples of all kinds.

A hook is a class with one of three methods. It is created once in each worker, with the parameters given with its name:

- :class:`ImageFilter`: an image becomes another image, before masks, high-pass and detection;
- :class:`TargetFinder`: an image becomes targets, in place of high-pass and detection;
- :class:`TargetFilter`: targets become other targets, before correspondence.

The result of a hook for a frame must depend only on that frame and the images that it requests from its :class:`View`: frames
are processed in any order, on any worker, and again after a stop.
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
"""The built-in hooks: name -> module and class."""

TARGET_FIELDS = (("x", "f8"), ("y", "f8"), ("n", "i4"), ("nx", "i4"), ("ny", "i4"), ("sumg", "i4"))
"""A target: x, y [px], 0.5 at the middle of the top left pixel; total pixels, pixels in x and in y; sum of grey values."""


class View(Protocol):
    """The image that a hook processes, and its neighbours in time."""

    @property
    def frame(self) -> int:
        """Number of the frame."""

    @property
    def camera(self) -> int:
        """Number of the camera, from 0."""

    def image(self, frame: int) -> Image | None:
        """The image of this camera at another frame, (imy, imx) uint8, as it was read, before any hook.

        At most ``reach`` frames away, an attribute of the hook (default 0).

        Returns:
            None if there is no readable image.
        """


@runtime_checkable
class ImageFilter(Protocol):
    """An image becomes another image."""

    def filter_image(self, image: Image, view: View) -> Image:
        """The filtered image, (imy, imx) uint8 like ``image``, which must not be changed."""


@runtime_checkable
class TargetFinder(Protocol):
    """An image becomes targets, in place of the high-pass filter and the detection of this program."""

    def find_targets(self, image: Image, view: View) -> Targets:
        """The targets of an image, (n,) with the fields of :func:`no_targets`, in any order."""


@runtime_checkable
class TargetFilter(Protocol):
    """Targets become other targets."""

    def filter_targets(self, targets: Targets, view: View) -> Targets:
        """The filtered targets, (m,) with the fields of ``targets`` (n,), which must not be changed; in any order."""


Hook = ImageFilter | TargetFinder | TargetFilter


def no_targets(n: int = 0) -> Targets:
    """A table of ``n`` targets, (n,) with a field for each of :data:`TARGET_FIELDS`, all 0, to be filled."""
    import numpy as np  # only needed here

    return np.zeros(n, list(TARGET_FIELDS))
