"""The meaning of grey values: how many bits they have, decided once for a whole experiment.

Cameras with 10, 12 or 14 bits write 16-bit files. PyPTV uses the upper 8 of the 16 bits, which leaves a 12-bit image with 16 grey
levels and no particles. The files do not state the bit depth; the user can (``--bit-depth``, ``ptv.bit_depth``). Otherwise
images from the whole experiment are examined, the same ones for every range of frames.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pyptv.core.base.errors import FrameError
from pyptv.core.base.options import BIT_DEPTHS
from pyptv.core.experiment.folder import Experiment, GreyDepths, ImageSettings
from pyptv.core.images.image_files import Stored, image_kind

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SAMPLES = 9
"""Number of examined images per camera, evenly spread over all existing ones, including the first and the last."""

_EIGHT_BIT, _SIXTEEN_BIT = 8, 16
_DEPTHS = tuple(depth for depth in BIT_DEPTHS if isinstance(depth, int))
_LOW_COLOUR = 1 << (14 - 8)
"""Upper bytes of 16-bit colours below this: the values have 14 bits or fewer."""

_ONLY_UPPER = "only the upper 8 of 16 bits can be read: save the images as grey ones, or with 8 bits"

Names = Callable[[Path], Iterable[str]]
"""The names of the files in a folder."""


@dataclass
class ImageDecision:
    """How to read the images of an experiment, with notes and problems for the user."""

    settings: ImageSettings
    notes: list[str] = field(default_factory=list)
    """Log lines of a run."""
    problems: list[str] = field(default_factory=list)
    """Problems that make the results useless: a run that reads images must not start."""


@dataclass(frozen=True)
class _Seen:
    """The values found in a few image files of one camera, or in its background image."""

    name: str
    notes: tuple[str, ...] = ()
    deep: int = 0
    """Number of files that store more than 8 bits without stating the bit depth."""
    colours: bool = False
    """These files have 16-bit colours, of which the decoder keeps the upper 8 bits."""
    stored: int = _SIXTEEN_BIT
    """Bits of a stored value: 15 if it has a sign."""
    levels: NDArray[np.int64] | None = None
    """The values that occur in these files, ascending."""

    @property
    def highest(self) -> int:
        """The highest value that occurs."""
        return int(self.levels[-1]) if self.levels is not None and len(self.levels) else 0

    @property
    def depth(self) -> int | None:
        """PyPTV's interpretation, for the whole experiment: values below 256 are 8-bit ones, all others use all stored bits.

        Files of 32 bits with 16-bit values count as 16-bit ones; PyPTV turns them into black images.
        """
        if not self.deep or self.colours:
            return None
        if 0 < self.highest < 1 << _EIGHT_BIT:
            return _EIGHT_BIT
        return min(self.stored, _SIXTEEN_BIT) if self.highest < 1 << _SIXTEEN_BIT else self.stored

    @property
    def best(self) -> int:
        """The smallest depth that holds all values."""
        return next((depth for depth in _DEPTHS if self.highest < 1 << depth), self.highest.bit_length())

    def kept(self, depth: int) -> int:
        """Number of remaining grey levels if values are interpreted with ``depth`` bits."""
        return 0 if self.levels is None else len(set((self.levels >> (depth - _EIGHT_BIT)).tolist()))

    def lost(self, depth: int | None) -> float:
        """The share of the grey levels that fit into 8 bits and are lost if values are interpreted with ``depth`` bits."""
        if depth is None or self.best >= depth or not self.highest:
            return 0.0
        return 1 - self.kept(depth) / self.kept(self.best)


def decide(
    experiment: Experiment, bit_depth: int | str | None = None, page: int | None = None, names: Names | None = None
) -> ImageDecision:
    """Decide how the images of an experiment are read.

    Args:
        experiment: its parameters are used unless the other arguments are given.
        bit_depth: 8, 10, 12, 14, 16 or ``auto``; None: ``ptv.bit_depth``.
        page: of files with several pages; None: ``ptv.page``.
        names: lists a folder; default: the disk.
    """
    parameters, ptv = experiment.parameters, experiment.parameters.ptv
    page = page or ptv.page or None
    decision = ImageDecision(
        ImageSettings(ptv.imx, ptv.imy, ptv.negative, ptv.splitter, GreyDepths(page=page), ptv.splitter_order)
    )
    if parameters.pft_version.existing_target:
        return decision
    names = names or _listing()
    asked = ptv.bit_depth if bit_depth is None else bit_depth
    images = [
        _look(
            "camera 1-4" if ptv.splitter else f"camera {which + 1}",
            sampled_images(experiment, which, names),
            decision.settings.file_size,
            page,
        )
        for which in range(experiment.images_per_frame)
    ]
    masks = [
        _look(f"mask {camera + 1}", [experiment.mask_path(camera)], (ptv.imx, ptv.imy), page, only_page=True)
        for camera in (range(experiment.num_cams) if parameters.masking.enabled else ())
    ]
    if isinstance(asked, int):
        _compare([*images, *masks], asked, decision)
        grey = GreyDepths((asked,) * len(images), (asked,) * len(masks), page)
    else:
        grey = _judged(images, masks, page, decision)
    decision.settings = replace(decision.settings, grey=grey)
    for note in dict.fromkeys(note for seen in (*images, *masks) for note in seen.notes):
        decision.notes.append(f"{_which(seen for seen in (*images, *masks) if note in seen.notes)}: {note}")
    return decision


def sampled_images(experiment: Experiment, which: int, names: Names) -> list[Path]:
    """Images of a camera, spread evenly over all existing ones, independent of the frame range."""
    found = _frames_there(experiment, which, names)
    last = len(found) - 1
    chosen = sorted({round(i * last / (SAMPLES - 1)) for i in range(SAMPLES)}) if found else []
    return [experiment.image_path(which, found[i]) for i in chosen]


def _frames_there(experiment: Experiment, which: int, names: Names) -> list[int]:
    """The frames with an existing image; if the folders are numbered, some of those named in the parameters."""
    # the number is where the names of these two frames differ, because they have no digit in common
    one, other = experiment.image_path(which, 10**14 + 1), experiment.image_path(which, 9 * 10**14 + 9)
    if one.parent != other.parent:
        sequence = experiment.parameters.sequence
        span = range(sequence.first, sequence.last + 1)
        some = span[:: max(1, len(span) // (4 * SAMPLES))]
        return [frame for frame in some if experiment.image_path(which, frame).exists()]
    start, end = (
        next(i for i, (a, b) in enumerate(zip(*both, strict=False)) if a != b)
        for both in ((one.name, other.name), (one.name[::-1], other.name[::-1]))
    )
    before, after = one.name[:start], one.name[len(one.name) - end :]
    digits = len(experiment.image_path(which, 0).name) - start - end
    found = []
    for name in names(one.parent):
        if name.startswith(before) and name.endswith(after):
            number = name[start : len(name) - end]
            # not cam1.7 where names are cam1.0007
            if number.isascii() and number.isdigit() and number == str(int(number)).zfill(digits):
                found.append(int(number))
    return sorted(found)


def _listing() -> Names:
    """Lists folders, each once; a folder that cannot be read has no files."""
    known: dict[Path, list[str]] = {}

    def names(folder: Path) -> list[str]:
        """The names in a folder."""
        if folder not in known:
            try:
                known[folder] = os.listdir(folder)
            except OSError:
                known[folder] = []
        return known[folder]

    return names


def _look(name: str, paths: list[Path], size: tuple[int, int], page: int | None, *, only_page: bool = False) -> _Seen:
    """Examine image files; unreadable ones are left out, because the checks or their frames report them."""
    kinds: list[Stored] = []
    found: list[NDArray[np.int64]] = []
    for path in paths:
        try:
            kind = image_kind(path, size, page, only_page=only_page)
            if kind.deep:
                found.append(_levels(path, size, page, only_page=only_page))
        except FrameError:
            continue
        kinds.append(kind)
    notes = tuple(dict.fromkeys(note for kind in kinds for note in kind.notes))
    deep = [kind for kind in kinds if kind.deep]
    if not found:
        return _Seen(name, notes)
    import numpy as np  # only for 16-bit images

    levels = np.unique(np.concatenate(found))
    return _Seen(name, notes, len(found), any(kind.colours for kind in deep), max(k.bits - k.signed for k in deep), levels)


def _levels(path: Path, size: tuple[int, int], page: int | None, *, only_page: bool) -> NDArray[np.int64]:
    """The values that occur in an image, ascending; those below 0 count as 0."""
    import numpy as np  # only for 16-bit images

    from pyptv.core.images.pixels import read_image  # as above

    pixels, _, _ = read_image(path, size, page, only_page=only_page)
    if pixels.dtype == np.uint16:
        return np.flatnonzero(np.bincount(pixels.reshape(-1)))
    return np.unique(np.maximum(pixels, 0)).astype(np.int64)


def _judged(images: list[_Seen], masks: list[_Seen], page: int | None, decision: ImageDecision) -> GreyDepths:
    """``auto``: PyPTV's interpretation if it gives usable images; otherwise the decision contains a problem."""
    depths = [seen.depth for seen in images]
    # a mask is interpreted like its camera's images; it is examined by itself if these are 8-bit ones
    of_masks = depths * len(masks) if len(depths) == 1 else depths
    alone = [mask for mask, depth in zip(masks, of_masks, strict=False) if depth is None]
    judged = [*images, *alone]
    if lossy := [seen for seen in judged if seen.lost(seen.depth) > 0.5]:
        decision.problems.append(_advice(lossy))
    elif lossy := [seen for seen in judged if seen.lost(seen.depth) > 0]:
        decision.notes.append(_advice(lossy))
    if taken := [seen for seen in judged if seen.depth == _EIGHT_BIT]:
        highest = max(seen.highest for seen in taken)
        decision.notes.append(f"{_which(taken)}: 16-bit images whose highest value is {highest}: taken as 8-bit values")
    if colours := [seen for seen in judged if seen.colours and 0 < seen.highest < _LOW_COLOUR]:
        decision.problems.append(f"{_which(colours)}: found 16-bit colours that use at most 14 bits; {_ONLY_UPPER}")
    for_masks = (mask.depth if depth is None else depth for mask, depth in zip(masks, of_masks, strict=False))
    return GreyDepths(tuple(depths), tuple(for_masks), page)


def _compare(all_seen: list[_Seen], depth: int, decision: ImageDecision) -> None:
    """Compare the values in the images with the user's bit depth."""
    grey = [seen for seen in all_seen if not seen.colours]
    if above := [seen for seen in grey if seen.depth and seen.highest >> min(depth, seen.stored)]:
        highest = max(seen.highest for seen in above)
        decision.problems.append(
            f"{_which(above)}: found a highest value of {highest}, expected at most {2**depth - 1} in {depth}-bit images: "
            "say how many bits their grey values have (--bit-depth, bit_depth of section ptv)"
        )
    elif lossy := [seen for seen in grey if seen.lost(min(depth, seen.stored)) > 0]:
        worst = max(lossy, key=lambda seen: seen.highest)
        decision.notes.append(
            f"{_which(lossy)}: found images whose highest value is {worst.highest}: taken as {depth}-bit values, as asked for, "
            f"they keep {worst.kept(min(depth, worst.stored))} of {worst.kept(worst.best)} grey levels"
        )
    if depth < _SIXTEEN_BIT and (colours := [seen for seen in all_seen if seen.colours]):
        decision.problems.append(f"{_which(colours)}: found 16-bit colours where {depth}-bit images are expected; {_ONLY_UPPER}")


def _advice(lossy: list[_Seen]) -> str:
    """One message for all cameras: what was found, and the option to add."""
    worst = max(lossy, key=lambda seen: seen.highest)
    stored, best = worst.depth or _SIXTEEN_BIT, worst.best
    what = (
        f"{_which(lossy)}: found {worst.stored}-bit images whose highest value is {worst.highest} "
        f"({sum(seen.deep for seen in lossy)} images looked at): they seem to hold {best}-bit values. "
        f"Taken as {stored}-bit values, as PyPTV does, they keep {worst.kept(stored)} of {worst.kept(best)} grey levels. "
    )
    if best > _SIXTEEN_BIT:
        return f"{what}Save them as 16-bit images"
    return f"{what}Add --bit-depth {best} (or bit_depth: {best} to section ptv); with --bit-depth 16 they are taken as PyPTV does"


def _which(all_seen: Iterable[_Seen]) -> str:
    """The cameras and background images, for a message: ``cameras 1, 2 and masks 1, 2``."""
    numbers: dict[str, list[str]] = {}
    for seen in all_seen:
        kind, number = seen.name.split()
        numbers.setdefault(kind, []).append(number)
    return " and ".join(f"{kind}{'s' * (len(of) > 1)} {', '.join(of)}" for kind, of in numbers.items())
