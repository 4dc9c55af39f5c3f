"""The names of the images of a camera.

Parameter files name them in several forms; each is resolved once, when the experiment is read, to a printf pattern with the
frame number, relative to the experiment folder:

===================  ==============================================================================================
``img/cam1.%05d``    printf, as PyPTV >= 0.4 writes it: ``%d``, ``%i`` or ``%u``, with or without a width
``img/cam1.``        a bare prefix, as the C library and older PyPTV write it: the frame number is appended
``img/cam1.#.tif``   ``#`` (or ``####``) stands for the frame number, as some versions of PyPTV wrote it
===================  ==============================================================================================

``%%`` is a percent sign in all of them, a backslash separates folders, and the number may be in a folder's name. The last two
forms do not state how many digits the number has, and whether an ending follows: the existing files decide, all of them and
not only those of a frame range, so that each run and each worker decides alike.
"""

from __future__ import annotations

import logging
import re
import reprlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pyptv.core.base.similar import similar
from pyptv.core.experiment.listing import FolderListing

logger = logging.getLogger(__name__)

_NUMBER = re.compile(r"%(?:0?\d{1,2}|\.\d{1,2})?[diu]")
_ENDINGS = frozenset(["tif", "tiff", "png", "bmp", "jpg", "jpeg", "jpe", "pgm", "ppm", "pnm", "gif", "jp2", "j2k", "webp"])
_DIGITS = re.compile(r"[0-9]+")
_PLACEHOLDER = re.compile(r"-*")


@dataclass(frozen=True)
class _Part:
    """The place of the frame number in a path: a folder, the beginning of a name in it, and the text after the number."""

    folder: str
    head: str
    tail: str
    below: str
    """The remaining path if the number is in a folder's name; otherwise empty."""


def expand(pattern: str, number: int) -> str:
    """A printf pattern with one ``%d`` (or ``%04d``) filled in; ``%%`` is a percent sign."""
    return pattern % number


def as_folders(name: str) -> str:
    """A name, possibly written on Windows, with ``/`` between folders and without surrounding blanks."""
    return name.strip().replace("\\", "/")


def _without_numbers(name: str) -> tuple[str, int]:
    """What is left of a name without its conversions and percent signs, and how many conversions there were."""
    return _NUMBER.subn("", name.replace("%%", "-"))  # not nothing: what stands around it is not one conversion


def pattern_problem(pattern: str) -> str | None:
    """Why a text is not a printf pattern for a single number, or None."""
    rest, conversions = _without_numbers(pattern)
    if conversions != 1 or "%" in rest:
        return f"found {reprlib.repr(pattern)}, expected a name with exactly one %d (or %04d) for the number"
    return _unprintable(pattern)


def name_problem(written: str) -> str | None:
    """Why a text is not an image name in any of the forms, or None."""
    if is_placeholder(written):
        return f"found {reprlib.repr(written)}, expected the name of the camera's images, with %d for the frame number"
    rest, conversions = _without_numbers(written)
    if "%" in rest:
        return f"found {reprlib.repr(written)}, expected %d or %05d for the frame number, and %% for a percent sign"
    if conversions > 1:
        return f"found {reprlib.repr(written)} with {conversions} numbers, expected one %d for the frame number"
    return _unprintable(written)


def is_placeholder(written: str) -> bool:
    """Whether a text is a placeholder for an absent camera: empty, or dashes."""
    return _PLACEHOLDER.fullmatch(written.strip()) is not None


def resolve(written: str, folder: Path, listing: FolderListing | None) -> str:
    """The printf pattern of a camera's images.

    Args:
        written: the name in the parameter file, without a :func:`name_problem`.
        folder: the experiment.
        listing: reads the folder of the images if the name is not complete; None: no image is needed.
    """
    name = as_folders(written)
    if _without_numbers(name)[1]:
        return name
    before, width, after = _open_form(name.replace("%%", "%"))
    ending, digits, n_files = _decide(_part(before, after), listing, folder, width) if listing else ("", width, 0)
    pattern = f"{_escape(before)}%{f'0{digits}' if digits else ''}d{_escape(after + ending)}"
    logger.debug("Images named %r are read as %s: %d files decide on it", written, pattern, n_files)
    return pattern


def fixed_folder(pattern: str) -> str:
    """The part of a pattern's folder that is the same for all frames."""
    return PurePosixPath(_split(pattern)[0].rpartition("/")[0] or ".").as_posix()


def frames_there(pattern: str, folder: Path, listing: FolderListing) -> set[int]:
    """The frame numbers of a pattern for which there is a file (or a folder, if the number is in a folder's name)."""
    part = _part(*_split(pattern))
    number_and_tail = re.compile(f"{re.escape(part.head)}([0-9]{{1,18}}){re.escape(part.tail)}")
    found = set()
    for name in listing.names(folder / part.folder):
        match = number_and_tail.fullmatch(name)
        if match and expand(pattern, int(match[1])) == _join(part.folder, name, part.below):
            found.add(int(match[1]))
    return found


def patterns_there(names: Iterable[str]) -> dict[str, tuple[str, str, int]]:
    """Patterns of the image names in a folder: pattern -> (first name, last name, number of files)."""
    numbered: dict[tuple[str, int, str], dict[int, str]] = {}
    for name in names:
        stem, _, ending = name.rpartition(".")
        is_image = ending.lower() in _ENDINGS
        numbers = list(_DIGITS.finditer(stem if is_image else name))
        if not numbers or not (is_image or numbers[-1].end() == len(name)):
            continue
        number = numbers[-1]
        width = len(number[0]) if number[0][0] == "0" and len(number[0]) > 1 else 0
        numbered.setdefault((name[: number.start()], width, name[number.end() :]), {})[int(number[0])] = name
    found = {}
    for (before, width, after), names_of in numbered.items():
        pattern = f"{_escape(before)}%{f'0{width}' if width else ''}d{_escape(after)}"
        found[pattern] = (names_of[min(names_of)], names_of[max(names_of)], len(names_of))
    return found


def what_is_there(pattern: str, folder: Path, listing: FolderListing) -> str:
    """For a message: the images in the folder of a pattern that has none, and the pattern that was probably meant."""
    part = _part(*_split(pattern))
    place = part.folder or str(folder)
    there = patterns_there(listing.names(folder / part.folder))
    if not there:
        names = listing.names(folder / part.folder)
        targets = any(name.endswith("_targets") for name in names)
        more = ", but _targets files: Existing_Target = 1 reads those in place of images" if targets else ""
        return f"{place} holds no image with a number in its name{more}" if names else f"{place} is empty"
    without_width = {_NUMBER.sub("%d", name): name for name in there}
    close = similar(_NUMBER.sub("%d", PurePosixPath(pattern).name), without_width, 1, same_numbers=True)
    likeliest = without_width[close[0]] if close else max(there, key=lambda name: there[name][2])
    first, last, n = there[likeliest]
    files = f"{first} to {last} ({n} files)" if n > 1 else first
    advice = f": write {_join(part.folder, likeliest, '')}" if close else ""
    return f"{place} holds {files}{advice}"


def _open_form(name: str) -> tuple[str, int, str]:
    """(before the number, minimum width, after it) of a name with ``#`` or of a bare prefix."""
    marks = list(re.finditer("#+", name))
    if not marks:
        return name, 0, ""
    number = marks[-1]
    return name[: number.start()], len(number[0]) if len(number[0]) > 1 else 0, name[number.end() :]


def _decide(part: _Part, listing: FolderListing, folder: Path, width: int) -> tuple[str, int, int]:
    """(ending, width of the number, number of such files) that matches the most files; without files nothing is added."""
    lengths: dict[str, Counter[tuple[int, bool]]] = {}
    for name in listing.names(folder / part.folder):
        number = _DIGITS.match(name, len(part.head)) if name.startswith(part.head) else None
        if number is None or not name.startswith(part.tail, number.end()):
            continue
        ending = name[number.end() + len(part.tail) :]
        if ending and (part.below or not _is_ending(ending)):
            continue
        padded = number[0][0] == "0" and len(number[0]) > 1
        lengths.setdefault(ending, Counter())[len(number[0]), padded] += 1
    choices = [
        (_files_named(counts, digits), -len(ending), -digits, ending)
        for ending, counts in lengths.items()
        for digits in {0, *(length for length, padded in counts if padded)}
    ]
    if not choices:
        return "", width, 0
    n_files, _, minus_digits, ending = max(choices)
    return ending, -minus_digits, n_files


def _files_named(counts: Counter[tuple[int, bool]], width: int) -> int:
    """The number of files whose number is padded to a width, or longer."""
    return sum(n for (length, padded), n in counts.items() if (length == width if padded else length >= width))


def _is_ending(text: str) -> bool:
    return text[0] == "." and text[1:].lower() in _ENDINGS


def _split(pattern: str) -> tuple[str, str]:
    """The text before and after the number in a printf pattern, without the doubled percent signs."""
    number = _NUMBER.search(pattern.replace("%%", "\0\0"))
    start, end = number.span() if number else (len(pattern), len(pattern))
    return pattern[:start].replace("%%", "%"), pattern[end:].replace("%%", "%")


def _part(before: str, after: str) -> _Part:
    folder, _, head = before.rpartition("/")
    tail, slash, below = after.partition("/")
    return _Part(folder or ("/" if before.startswith("/") else ""), head, tail, slash + below)


def _join(folder: str, name: str, below: str) -> str:
    return f"{folder}/{name}{below}" if folder and folder != "/" else f"{folder}{name}{below}"


def _escape(text: str) -> str:
    return text.replace("%", "%%")


def _unprintable(text: str) -> str | None:
    if "\0" in text or "\n" in text:
        return f"found {reprlib.repr(text)}, expected a file name on one line"
    return None
