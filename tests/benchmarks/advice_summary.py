"""What a file of ``advice_truth.py`` says: the figures of docs/advice.md."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

GOOD = 0.97
"""Of the best of a search with truth."""
TOLERANCE = 0.002
"""Recall or link recall that is lower than before by less is a matter of single particles."""


def rows_of(path: Path) -> list[dict]:
    """The experiments in a file, one line of JSON each; none where it is not there."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def summary(path: Path) -> None:
    """Print recall, ghosts and noise of the experiments that are there."""
    rows = sorted(rows_of(path), key=lambda row: row["number"])
    print(f"{len(rows)} of 60 experiments")
    for name in ("before", "after", "fixed"):
        some = [row for row in rows if name in row]
        if some:
            recall(name, some)
            if name != "before":
                worse(name, some)
                ghosts(name, some)
    if rows:
        noise(
            [row["options"] | row[name] | {"number": row["number"]} for row in rows for name in ("after", "fixed") if name in row]
        )
        print("CPU s of an advice, median:", round(float(np.median([row["after"]["cpu"] for row in rows])), 1))


def recall(name: str, rows: Sequence[dict]) -> None:
    """Recall and link recall over the best, and the experiments where one of them is too low."""
    ratios = np.array([[row[name][what] / max(row["best"][what], 1e-9) for what in ("recall", "links")] for row in rows])
    good = (ratios >= GOOD).all(axis=1)
    parts = [
        f"{what} over best: median {np.median(column):.3f}, minimum {column.min():.3f}"
        for what, column in zip(("recall", "link recall"), ratios.T, strict=True)
    ]
    print(f"\n{name}, {len(rows)} experiments: {'; '.join(parts)}; both at least {GOOD} in {good.sum()}, {good.mean():.0%}")
    if name != "before":
        for row, ratio in ((row, ratio) for row, ratio, fine in zip(rows, ratios, good, strict=True) if not fine):
            print(
                "   too low:", row["number"], ratio.round(3).tolist(), row["options"], row["camera"]["kind"], row[name]["eps0_px"]
            )


def worse(name: str, rows: Sequence[dict]) -> None:
    """Where recall or link recall is lower than with the bad parameters."""
    losses = {row["number"]: max(row["before"][what] - row[name][what] for what in ("recall", "links")) for row in rows}
    some = {number: round(loss, 4) for number, loss in losses.items() if loss > 0}
    print(f"   worse than before by more than {TOLERANCE}: {sum(loss > TOLERANCE for loss in some.values())}; by less: {some}")


def ghosts(name: str, rows: Sequence[dict]) -> None:
    """Where there are more than 20: expected over true number."""
    for there, frames in (("_there", "the frames of the estimate"), ("", "all frames")):
        pairs = [(row[name][f"ghosts{there}"], row[name][f"expected{there}"]) for row in rows]
        many = [(true, round(expected)) for true, expected in pairs if true > 20]
        within = sum(0.5 <= expected / true <= 2 for true, expected in many)
        print(f"   more than 20 ghosts in {frames}: {len(many)}, expected within a factor of 2 in {within}: {many}")


def noise(cases: Sequence[dict]) -> None:
    """Along x, y, z over that of the truth: with exact or refined calibrations, once per experiment."""
    cases = [case for case in cases if "noise_true" in case]
    ratio = np.array([case["noise"] for case in cases]) / np.array([case["noise_true"] for case in cases])
    good = np.abs(ratio - 1) <= 0.2
    print(f"\nnoise over true, {len(cases)} experiments: x, y, z within 20 % in {good.sum(axis=0)},", good.mean(axis=0).round(3))
    print("   5, 50, 95 %:", np.nanpercentile(ratio, (5, 50, 95), axis=0).T.round(2).tolist())
    for case, one in ((case, one) for case, one, fine in zip(cases, ratio, good, strict=True) if not fine.all()):
        print("   ", case["number"], one.round(2), case["noise_settled"], case["n_particles"], case["displacement"])
