"""The log of a run: one line per event, and a summary at the end."""

from __future__ import annotations

import logging

from pyptv.core.base.events import Event, FrameDone, FrameFailed, Note, PassDone, StepDone
from pyptv.core.base.frames import describe
from pyptv.core.base.streams import IN_TABLE
from pyptv.core.record.dense import DenseRecord
from pyptv.core.record.tally import Tally
from pyptv.core.schedule.tracker_runs import SeamCounts

logger = logging.getLogger(__name__)

_KINDS = ("quadruplets", "triplets", "pairs")


def log_event(event: Event, *, skipping: bool) -> None:
    """Log a frame or step at DEBUG, and a worker's record at its level.

    Args:
        event: the event.
        skipping: failed frames are left out and logged as warnings. Otherwise the first one is raised at the end.
    """
    if isinstance(event, FrameDone | StepDone | PassDone) and not logger.isEnabledFor(logging.DEBUG):
        return  # checked first: this is called for every frame of the longest runs
    if isinstance(event, FrameDone):
        kinds = ", ".join(f"{name} {n}" for name, n in zip(_KINDS[-len(event.counts) :], event.counts, strict=False))
        logger.debug("Frame %d: targets %s, %s, particles %d", event.frame, list(event.targets), kinds, event.particles)
    elif isinstance(event, StepDone):
        logger.debug(
            "Step %d: current %d, next %d, links %d, lost %d, added %d",
            *(event.frame, event.current, event.next, event.links, event.lost, event.added),
        )
    elif isinstance(event, PassDone):
        logger.debug("Frame %d, %s: particles %d %s", event.frame, event.step, event.particles, dict(event.numbers))
    elif isinstance(event, FrameFailed):
        logger.log(logging.WARNING if skipping else logging.DEBUG, "Failed: %s", event.reason)
    elif isinstance(event, Note):
        logging.getLogger(event.logger).log(event.level, "%s", event.message)


def log_summary(report: Tally, seams: SeamCounts | None, dense: DenseRecord | None = None) -> None:
    """Log what was done, and which frames were left out; the reasons were logged when they occurred."""
    for line in (*report.lines(), *(dense.lines() if dense is not None else ())):
        logger.info("%s", line, extra=IN_TABLE)
    if seams is not None:
        logger.info("Parallel tracking: %s", seams)
    if report.failed and report.skipping:
        n = len(report.failed)
        what = "1 frame failed and was left out" if n == 1 else f"{n} frames failed and were left out"
        logger.warning("%s: %s", what, describe(report.failed), extra=IN_TABLE)

    if dense is not None and dense.unsettled:
        logger.warning(
            "--method dense: has not converged in frames %s: too many particles for these images, or spots that are none; "
            "do not trust these frames",
            describe(dense.unsettled),
        )


def log_time(report: Tally, seconds: float, kind: str) -> None:
    """Log the duration; for a ``"parallel batch"`` also how many chunks succeeded."""
    if kind == "batch":
        logger.info("Total processing time: %.2f seconds", seconds, extra=IN_TABLE)
        return
    logger.info("Parallel processing completed:", extra=IN_TABLE)
    logger.info("  Total chunks: %d", report.chunks, extra=IN_TABLE)
    logger.info("  Successful: %d", report.chunks - report.failed_chunks, extra=IN_TABLE)
    logger.info("  Failed: %d", report.failed_chunks, extra=IN_TABLE)
    logger.info("  Total processing time: %.2f seconds", seconds, extra=IN_TABLE)
