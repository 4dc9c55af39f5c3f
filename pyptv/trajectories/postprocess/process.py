"""Post-processing from end to end: the run's files are read, never written."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np

from pyptv.core.experiment.folder import Experiment
from pyptv.trajectories.links import tracked_frames
from pyptv.trajectories.ordered import Block
from pyptv.trajectories.postprocess.chains import ESTIMATED, FOUND, MEASURED, Chains, Rows, chains, rows_of
from pyptv.trajectories.postprocess.cuts import cut
from pyptv.trajectories.postprocess.extend import extend
from pyptv.trajectories.postprocess.learn import learn
from pyptv.trajectories.postprocess.model import Bridges, MotionModel
from pyptv.trajectories.postprocess.rounds import ROWS_AT_ONCE, join_all, with_gaps_filled
from pyptv.trajectories.postprocess.settings import PostProcessing
from pyptv.trajectories.postprocess.shelf import Shelf
from pyptv.trajectories.postprocess.smoother import Estimate, smooth
from pyptv.trajectories.postprocess.stationary import stationary
from pyptv.trajectories.postprocess.tracks import Pieces, TrackTable, as_tracked, batches

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pyptv.trajectories.postprocess.extend import Claims

    Array = NDArray[np.float64]
    Indices = NDArray[np.int64]
    Flags = NDArray[np.bool_]
    Records = NDArray[np.void]

logger = logging.getLogger(__name__)

RECORD = np.dtype(
    [(name, "i8") for name in ("id", "first", "last", "measured", "found", "estimated", "pieces", "cut_before", "cut_after")]
)
"""The record of a trajectory: its first and last frame; the numbers of positions that the run measured, that were found among
the targets, and that are estimated; joined pieces; whether it was cut off from earlier and later frames (0 or 1)."""


@dataclass
class Counts:
    """Total counts of the post-processing."""

    cuts: int = 0
    joins: int = 0
    found: int = 0
    estimated: int = 0
    left_out_short: int = 0
    left_out_stationary: int = 0

    def __str__(self) -> str:
        """One line, for the log."""
        return (
            f"post-processing: {self.cuts} cuts, {self.joins} joins, {self.found} positions found, {self.estimated} estimated; "
            f"left out: {self.left_out_short} short and {self.left_out_stationary} stationary trajectories"
        )


class ProcessedTrajectories:
    """Post-processed trajectories, sorted by id, then by frame, in blocks, which can be read repeatedly.

    Every trajectory has one row per frame, from its first frame to its last. Takes 24 bytes of disk per row of the run, 48
    (smoothed: 168) per row of the result, and about 150 bytes of memory per trajectory, including particles without a link.
    A context: its end removes the files.
    """

    def __init__(
        self,
        experiment: Experiment,
        first: int | None = None,
        last: int | None = None,
        *,
        settings: PostProcessing | None = None,
        min_length: int = 1,
        workplace: Path | None = None,
    ) -> None:
        """Post-process the trajectories of some frames.

        Args:
            experiment: whose results.
            first: first frame number; None: the first one with a ``ptv_is`` file.
            last: last frame number; None: the last one.
            settings: of the post-processing; None: the defaults.
            min_length: minimum number of frames of a trajectory, from its first to its last one.
            workplace: folder for temporary files; None: that of the system, which may be memory.

        Raises:
            ValueError: a bad argument.
            ProcessingError: no ``ptv_is`` file in the range, or scipy is not installed; a ``FormatError`` if a file is
                damaged.
            OSError: the workplace is full, or cannot be written.
        """
        self.settings = settings or PostProcessing()
        self.counts = Counts()
        self.model: MotionModel | None = None
        """None if there were too few trajectories for an estimate: then nothing was cut, joined or smoothed."""
        self.records: Records = np.empty(0, RECORD)
        """(m,) of :data:`RECORD`, sorted by id."""
        self.lengths_before: Indices = np.empty(0, np.int64)
        """(k,) frames of each trajectory of the run."""
        with ExitStack() as files:
            self._shelf = Shelf(workplace, smoothed=self.settings.smooth)
            files.callback(self._shelf.close)
            with ExitStack() as reading:
                table = TrackTable(as_tracked(experiment, first, last), workplace)
                reading.callback(table.close)
                self.lengths_before = table.pieces.length
                self.model = learn(table.windows())
                pieces = table.pieces
                whole: Chains | None = None
                if self.model is None:
                    logger.warning("%s: too few trajectories for a motion model: they are not changed", experiment.results)
                else:
                    bridges = Bridges(self.model)
                    pieces = cut(table, bridges) if self.settings.cut else pieces
                    if self.settings.fill:
                        claims: Claims = {frame: [] for frame in tracked_frames(experiment, first, last)}
                        for forward in (True, False):
                            table = TrackTable(extend(experiment, claims, table, pieces, bridges, forward=forward), workplace)
                            reading.callback(table.close)
                            pieces = table.pieces
                    if self.settings.max_gap is not None:
                        whole = join_all(table, pieces, bridges, self.settings.max_gap, workplace)
                nothing = np.empty(0, np.int64)
                self._finish(table, whole or chains(pieces, nothing, nothing), min_length)
            files.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def rows(self) -> int:
        """Number of rows."""
        return self._shelf.rows

    @property
    def trajectories(self) -> int:
        """Number of trajectories."""
        return len(self.records)

    @property
    def frames(self) -> tuple[Indices, Indices]:
        """The frames with rows, ascending, and their numbers of rows."""
        low, high = int(self.records["first"].min(initial=0)), int(self.records["last"].max(initial=-1))
        changes = np.zeros(high - low + 2, dtype=np.int64)
        np.add.at(changes, self.records["first"] - low, 1)
        np.add.at(changes, self.records["last"] - low + 1, -1)
        counts = np.cumsum(changes)[:-1]
        there = np.flatnonzero(counts)
        return there + low, counts[there]

    def blocks(self) -> Iterator[Block]:
        """All rows, in blocks of complete trajectories."""
        return self._shelf.blocks()

    def close(self) -> None:
        """Release the disk space."""
        self._shelf.close()

    @property
    def summary(self) -> dict[str, int | float | str]:
        """Settings and counts: flat, for the metadata of an export."""
        settings = {
            f"postprocess_{name}": "none" if value is None else int(value) for name, value in asdict(self.settings).items()
        }
        counts = {f"postprocess_{name}": value for name, value in asdict(self.counts).items()}
        if self.model is None:
            return settings | counts | {"postprocess_model": "none: too few trajectories"}
        axes = zip("xyz", self.model.noise.tolist(), self.model.jerk.tolist(), strict=True)
        model = {f"postprocess_{name}_{axis}": value for axis, *pair in axes for name, value in zip(_MODEL, pair, strict=True)}
        return settings | counts | model

    # -- inside -------------------------------------------------------------------------------------------------------

    def _finish(self, table: TrackTable, whole: Chains, min_length: int) -> None:
        """Store the chains that are long enough, and the record of each."""
        uncut = len(np.unique(whole.pieces.source))
        self.counts.cuts, self.counts.joins = len(whole.pieces.first) - uncut, len(whole.pieces.first) - len(whole.span)
        long = np.flatnonzero(whole.span >= min_length)
        self.counts.left_out_short = len(whole.span) - len(long)
        flags = _cut_ends(whole.pieces, uncut)
        records = [_records(done, *flags) for done in self._finished(table, whole, long)]
        self._shelf.flush()
        self.records = np.concatenate([self.records, *records])

    def _finished(self, table: TrackTable, whole: Chains, chosen: Indices) -> Iterator[tuple[Chains, Rows]]:
        """Store and yield the rows of some chains."""
        for batch in batches(whole.span[chosen], ROWS_AT_ONCE):
            some = whole.among(chosen[batch])
            rows = rows_of(table, some)
            if self.settings.remove_stationary and self.model is not None:
                moving = np.flatnonzero(~stationary(self.model, rows.position, rows.offsets))
                self.counts.left_out_stationary += len(some.id) - len(moving)
                some, rows = some.among(moving), rows.among(moving)
            rows, estimate = self._estimated(rows)
            self.counts.estimated += int(np.count_nonzero(rows.origin == ESTIMATED))
            self.counts.found += int(np.count_nonzero(rows.origin == FOUND))
            self._shelf.put(rows, estimate)
            yield some, rows

    def _estimated(self, rows: Rows) -> tuple[Rows, Estimate | None]:
        """The rows with a position in each gap, and the estimate of all rows if requested."""
        if self.model is None:
            return rows, None
        if self.settings.smooth:
            estimate = smooth(self.model, rows.position, rows.offsets)
            return replace(rows, position=estimate.value[0]), estimate
        return with_gaps_filled(self.model, rows), None


_MODEL = ("noise", "jerk")


def _cut_ends(pieces: Pieces, uncut: int) -> tuple[Flags, Flags]:
    """Whether each piece (n,) was cut off from the one before it, and from the one after it."""
    before, after = np.zeros(len(pieces.first), dtype=bool), np.zeros(len(pieces.first), dtype=bool)
    before[uncut:] = True
    order = np.lexsort((pieces.first, pieces.source))
    after[order[:-1]] = before[order[1:]]
    return before, after


def _records(done: tuple[Chains, Rows], cut_before: Flags, cut_after: Flags) -> Records:
    some, rows = done
    records = np.zeros(len(some.id), RECORD)
    records["id"], records["first"], records["last"] = some.id, some.first, some.first + some.span - 1
    records["pieces"] = np.diff(some.offsets)
    records["cut_before"], records["cut_after"] = cut_before[some.id], cut_after[some.order[some.offsets[1:] - 1]]
    owner = np.repeat(np.arange(len(some.id)), some.span)
    for name, origin in (("measured", MEASURED), ("found", FOUND), ("estimated", ESTIMATED)):
        records[name] = np.bincount(owner[rows.origin == origin], minlength=len(some.id))
    return records
