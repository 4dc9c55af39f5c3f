"""A score as text and as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pyptv.core.base.frames import describe
from pyptv.evaluate.scores import Score

if TYPE_CHECKING:
    from numpy.typing import NDArray


def table(score: Score) -> str:
    """The score as lines of at most 80 columns."""
    total = score.total
    frames = f"{len(score.frames)} frames, true within {score.tolerance_mm:.3g} mm"
    lines = [f"Score against the truth: {frames}"]
    if score.missing_frames:
        lines.append(_line("frames without results", f"{len(score.missing_frames)}", describe(score.missing_frames, most=3)))
    lines += [
        _line("3-D recall", _number(score.recall), f"{total('true')} of {total('particles')} particles found"),
        _line("3-D precision", _number(score.precision), f"{score.ghosts} ghosts in {total('found')} found"),
        _line("rms error x, y, z [mm]", "  ".join(_number(value) for value in score.rms)),
    ]
    if not score.tracked:
        return "\n".join([*lines, _line("links", "-", "not tracked: no ptv_is files")])
    pure, true = score.pure_lengths, score.true_lengths
    lines += [
        _line("link recall", _number(score.link_recall), f"{total('links_true')} of {total('links')} true links"),
        _line("link precision", _number(score.link_precision), f"{total('links_found')} links found"),
        _line("pure trajectories", _number(score.pure_tracks), f"{len(pure)} of {len(score.tracks.lengths)}"),
        _line("their length [frames]", _mean(pure), f"on average, longest {pure.max(initial=0)}; in truth {_mean(true)}"),
    ]
    return "\n".join(lines)


def json_text(score: Score) -> str:
    """All values of the score, including one entry per frame; NaN as null."""
    return json.dumps(score.as_tree(), indent=1, allow_nan=False)


def write_json(score: Score, path: Path) -> None:
    """Write :func:`json_text` to a file."""
    path.write_text(json_text(score) + "\n", encoding="utf-8")


def _line(name: str, value: str, remark: str = "") -> str:
    return f"  {name:<24}{value:>8}   {remark}".rstrip()


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.4f}"


def _mean(lengths: Sequence[int] | NDArray[np.int64]) -> str:
    return f"{np.mean(lengths):.1f}" if len(lengths) else "-"
