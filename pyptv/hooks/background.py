"""Background subtraction: removes static or slowly varying brightness before targets are detected."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pyptv.hooks import Image, View

_FEWEST = 3
"""Minimum number of images for a background: with fewer, the particles themselves are removed."""

_ROWS_AT_ONCE = 64
"""Number of rows compared at a time, which fit into the processor's cache."""

_LONGEST_WINDOW, _LONGEST_STEP, _LARGEST_RADIUS = 201, 1000, 1000


class _Background:
    """Subtracts a background computed from the images around a frame.

    It uses the ``window`` images nearest in time, of frames whose numbers are multiples of ``step``: half of them
    before the frame and half after it, except at the ends of a sequence. So a background depends only on the frame number and the
    images, not on the range of a run, and ``step`` successive frames share one.
    """

    def __init__(self, window: int = 11, step: int = 1) -> None:
        if not (_FEWEST <= window <= _LONGEST_WINDOW and window % 2):
            raise ValueError(f"window: found {window}, expected an odd number of frames from {_FEWEST} to {_LONGEST_WINDOW}")
        if not 1 <= step <= _LONGEST_STEP:
            raise ValueError(f"step: found {step}, expected a number of frames from 1 to {_LONGEST_STEP}")
        self._window = window
        self._step = step
        self.reach = (window - 1) * step + step // 2
        self._last: dict[int, tuple[int, Image]] = {}
        """Camera -> middle of the window and background that were used last."""

    def filter_image(self, image: Image, view: View) -> Image:
        """The image minus its background; 0 where it is darker."""
        background = self._background(view)
        return np.where(image > background, image - background, 0).astype(np.uint8)

    def _background(self, view: View) -> Image:
        middle = (view.frame + self._step // 2) // self._step
        known = self._last.get(view.camera)
        if known is None or known[0] != middle:
            offsets = sorted(range(1 - self._window, self._window), key=lambda offset: (abs(offset), offset))
            there = (view.image(self._step * (middle + offset)) for offset in offsets)
            images = list(islice((image for image in there if image is not None), self._window))
            if len(images) < _FEWEST:
                raise ValueError(
                    f"found {len(images)} images at most {self.reach} frames away, in steps of {self._step}, "
                    f"expected at least {_FEWEST}: lower step, or widen window"
                )
            known = self._last[view.camera] = middle, self.combine(np.stack(images))
        return known[1]

    def combine(self, images: Image) -> Image:
        """The background (imy, imx) uint8 of some images (n, imy, imx)."""
        raise NotImplementedError


class MedianBackground(_Background):
    """Running median: ``background_median:window=11,step=1``. For an even number of images it is the lower middle value."""

    def combine(self, images: Image) -> Image:
        """The median of each pixel.

        The largest values are moved to the end, image by image, until the middle one is in place: whole rows at a time, which
        is about ten times faster than sorting each pixel.
        """
        middle = (len(images) - 1) // 2
        median: Image = np.empty_like(images[0])
        for top in range(0, len(median), _ROWS_AT_ONCE):
            block = images[:, top : top + _ROWS_AT_ONCE].copy()
            lower = np.empty_like(block[0])
            for end in range(len(block) - 1, middle - 1, -1):
                for index in range(end):
                    np.minimum(block[index], block[index + 1], out=lower)
                    np.maximum(block[index], block[index + 1], out=block[index + 1])
                    block[index] = lower
            median[top : top + _ROWS_AT_ONCE] = block[middle]
        return median


class MinimumBackground(_Background):
    """Running minimum: ``background_minimum:window=11,step=1``."""

    def combine(self, images: Image) -> Image:
        """The minimum of each pixel."""
        minimum: Image = images.min(axis=0)
        return minimum


class RollingBall:
    """The background of a single image: a ball of a radius [px] rolled under its grey values, ``rolling_ball:radius=25``.

    As in ImageJ's Subtract Background, a large ball rolls under a smaller image, of the minima of squares, and the result is
    enlarged by bilinear interpolation (S. R. Sternberg, Biomedical image processing, IEEE Computer 16 (1983), 22-34). The ball is
    scikit-image's, the enlarging SciPy's.
    """

    def __init__(self, radius: float = 25.0) -> None:
        if not 1 <= radius <= _LARGEST_RADIUS:
            raise ValueError(f"radius: found {radius}, expected 1 to {_LARGEST_RADIUS} px")
        self._radius = float(radius)
        # ImageJ's factors
        self._shrink = 1 if radius <= 10 else 2 if radius <= 30 else 4 if radius <= 100 else 8

    def filter_image(self, image: Image, view: View) -> Image:  # noqa: ARG002 -- the shape of a hook
        """The image minus its background; 0 where it is darker."""
        background = self._enlarged(self._rolled(self._shrunk(image)), image.shape)
        return np.clip(image - np.floor(background), 0, 255).astype(np.uint8)

    def _shrunk(self, image: Image) -> Image:
        factor = self._shrink
        fill = [(0, -length % factor) for length in image.shape]
        padded = np.pad(image, fill, mode="edge")
        height, width = (length // factor for length in padded.shape)
        shrunk: Image = padded.reshape(height, factor, width, factor).min(axis=(1, 3))
        return shrunk

    def _rolled(self, image: Image) -> Image:
        from skimage import restoration  # the extra "hooks"

        # grey values are as high as pixels are wide, in ImageJ also in the smaller image
        rolled: Image = restoration.rolling_ball(image, radius=self._radius / self._shrink)
        return rolled

    def _enlarged(self, small: Image, shape: tuple[int, ...]) -> Image:
        if self._shrink == 1:
            return small
        from scipy.ndimage import map_coordinates  # the extra "hooks"

        centre = (self._shrink - 1) / 2
        rows, columns = ((np.arange(length) - centre) / self._shrink for length in shape)
        places = np.meshgrid(rows, columns, indexing="ij")
        enlarged: Image = map_coordinates(small.astype(np.float64), places, order=1, mode="nearest")
        return enlarged
