"""The chapter of advice, from the file that ``pyptv-advise --json`` writes beside the results."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import Any

from pyptv.core.base.errors import FormatError
from pyptv.core.record.advice_file import FILE_NAME, read_advice
from pyptv.report.record import Record
from pyptv.report.tables import Table, shown_value
from pyptv.report.words import count, number, percent

_GHOSTS = "Ghosts expected among the particles"


@dataclass(frozen=True)
class Chapter:
    """The advice as shown on the page."""

    problem: str = ""
    """Why there is none although a file exists."""
    summary: str = ""
    outdated: tuple[str, ...] = ()
    """Parameters whose values in the run differ from those that the advice is based on."""
    changes: Table | None = None
    """None: no change is proposed."""
    ghosts: Table | None = None
    findings: tuple[str, ...] = ()


def advice_chapter(record: Record) -> Chapter | None:
    """The chapter; None without advice."""
    try:
        tree = read_advice(record.experiment.results)
    except FormatError as error:
        return Chapter(problem=str(error))
    if tree is None:
        return None
    changed = [one for one in tree["advice"] if one["present"] != one["proposed"]]
    said = f"{count(len(changed), 'change')} proposed" if changed else "No change proposed"
    refined = " They are for the refined calibrations." if tree["for_refined"] and changed else ""
    summary = f"{said}, from {count(len(tree['frames']), 'frame')}, by pyptv-advise ({FILE_NAME}).{refined}"
    return Chapter(
        summary=summary,
        outdated=tuple(f"{one['section']}.{one['key']}" for one in tree["advice"] if _differs(record, one)),
        changes=_changes(changed) if changed else None,
        ghosts=_ghosts(tree["ghosts"]),
        findings=tuple(tree["findings"]),
    )


def _differs(record: Record, one: dict[str, Any]) -> bool:
    section = record.values.get(one["section"])
    return isinstance(section, dict) and one["key"] in section and section[one["key"]] != one["present"]


def _changes(changed: list[dict[str, Any]]) -> Table:
    """One row per measure: parameters judged by the same measure share it."""
    rows = []
    for _, group in groupby(changed, key=lambda one: (one["section"], one["measured"], one["why"], one["sure"])):
        several = list(group)
        first = several[0]
        names = f"{first['section']}.{', '.join(one['key'] for one in several)}"
        values = "; ".join(f"{shown_value(one['present'])} → {shown_value(one['proposed'])}" for one in several)
        text = ". ".join(text[:1].upper() + text[1:] for text in (first["measured"], first["why"]) if text)
        rows.append((names, values, first["sure"].partition(" ")[0].rstrip(":"), f"{text}."))
    return Table("Proposed parameters", ("Parameter", "Now → proposed", "Confidence", "Measured, and why"), rows)


def _ghosts(tree: dict[str, Any]) -> Table:
    rows = []
    for name, label in (("present", "as it is"), ("proposed", "as proposed")):
        one = tree[name]
        if one is None:
            rows.append((label, "cannot be matched", "", ""))
            continue
        found, expected = sum(one["found"]), sum(value or 0.0 for value in one["expected"]) + one["split"]
        rows.append((label, number(found), number(round(expected)), percent(expected / found) if found else "–"))
    return Table(_GHOSTS, ("Parameters", "Particles", "Ghosts", "Share"), rows, numeric=True)
