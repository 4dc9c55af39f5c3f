"""The rules of the report's verdict: each with a run that passes it and one that does not."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import sample_tree

from pyptv.core.experiment.folder import Experiment
from pyptv.core.experiment.parameters.attrdict import AttrDict
from pyptv.core.experiment.parameters.checks import build_parameters
from pyptv.measures import motion as measures
from pyptv.measures.frames import MatchedFrame
from pyptv.measures.reprojection import Residuals
from pyptv.report.motion import Motion
from pyptv.report.record import Failure, Record, SequenceSeries, TrackingSeries
from pyptv.report.rules import matching, tracking, verdict
from pyptv.report.rules.evidence import Evidence, Level, Rule
from pyptv.report.sample import Sample
from pyptv.report.words import count, duration, listing, moment, number, percent, spread

N = 100
FRAMES = np.arange(1000, 1000 + N)


def evidence() -> Evidence:
    """A good run: 100 frames, four cameras, 50 particles that all four see, velocities of a third of the limits."""
    parameters = build_parameters(AttrDict(sample_tree()), lambda section, key: f"{section}.{key}")
    sequence = SequenceSeries(
        frame=FRAMES,
        targets=np.full((4, N), 60.0),
        kinds={"quadruplets": np.full(N, 50.0), "triplets": np.zeros(N), "pairs": np.zeros(N)},
        particles=np.full(N, 50.0),
    )
    tracking = TrackingSeries(FRAMES[:-1], np.full(N - 1, 50.0), np.full(N - 1, 48.0), np.full(N - 1, 2.0), np.zeros(N - 1))
    experiment = Experiment(Path("experiment"), Path("experiment/parameters.yaml"), parameters, ())
    record = Record(experiment, 1000, 1000 + N - 1, N, sequence, tracking)
    steps = np.random.default_rng(0).uniform(-5, 5, (4000, 3))
    turns = {"acceleration": np.full(4000, 0.3), "angle": np.full(4000, 5.0)}
    motion = Motion(((1000, 1099),), whole=True, lengths=np.full(50, 80), displacement=steps, **turns)
    return Evidence(record, motion, a_sample())


def a_sample(errors: tuple[float, ...] = (0.1, 0.1, 0.1, 0.1), *, locked: bool = False) -> Sample:
    """One frame: reprojection errors of each camera [px], and targets whose fractions of a pixel are even, or all the same."""
    targets = np.zeros((3000, 8))
    targets[:, 1:3] = 10.25 if locked else np.random.default_rng(1).uniform(0, 100, (3000, 2))
    off = [np.full((60, 2), error / np.sqrt(2)) for error in errors]
    residuals = tuple(Residuals(np.full((60, 2), 50.0), one, np.full(60, 1000)) for one in off)
    frame = MatchedFrame(1000, (targets,) * 4, np.zeros((60, 3)), np.zeros((60, 4), np.int64))
    return Sample((frame,), residuals, views=4, spacing=20.0, motion=moving(0.0, 1.0))


def moving(low: float, high: float, chains: int = 1000) -> measures.Motion:
    """Chains that move by ``low`` to ``high`` along each axis; chance makes a tenth as many, from -15 to 15 mm/frame."""
    moved = np.column_stack([np.linspace(low, high, chains)] * 3)
    chance = np.column_stack([np.linspace(-15, 15, chains // 10)] * 3)
    one = np.zeros(0)
    settled = (True, True, True)
    return measures.Motion(moved, chance, one, one, one, (0.1,) * 3, settled, 20.0, 10.0, 1.0, 2 * chains, float(len(chance)))


def findings(changed: Evidence) -> list[Any]:
    return verdict.findings_of(verdict.judge(changed))


def said(changed: Evidence) -> list[str]:
    return [finding.text for finding in findings(changed)]


def with_record(**changes: Any) -> Evidence:
    return replace(evidence(), record=replace(evidence().record, **changes))


def with_sequence(**changes: Any) -> Evidence:
    return with_record(sequence=replace(evidence().record.sequence, **changes))


def with_motion(**changes: Any) -> Evidence:
    good = evidence()
    assert good.motion is not None
    return replace(good, motion=replace(good.motion, **changes))


def a_run(**changes: Any) -> dict[str, Any]:
    run = {
        "run": {"outcome": "done", "error": None, "seconds": 65.0},
        "frames": {"not_reached": 0, "kept": 0},
        "inputs": {"values": evidence().record.experiment.parameters.as_tree(), "parameters": {"sha256": ""}},
        "command": {"method": "standard"},
        "seams": None,
    }
    for section, values in changes.items():
        run[section] = {**(run[section] or {}), **values}
    return run


def test_a_good_run_passes_every_rule() -> None:
    assert said(evidence()) == said(with_record(run=a_run())) == []
    assert verdict.headline([]) == (Level.NOTE, "Good run")
    judged = {rule.name: (judged.value, rule.limit) for rule, judged in verdict.judge(with_record(run=a_run()))}
    assert all(value for name, (value, _) in judged.items() if not name.startswith("Segments"))
    assert judged["Link ratio"] == ("0.96", "at least 0.8")
    assert judged["Accelerations and angles at their limits"] == (
        "maximum: 0\u00a0%",
        "at most 5\u00a0% above 0.9 of dacc or angle",
    )
    assert judged["Failed frames"][0] == judged["Frames without results"][0] == "none"


def targets(camera: int, values: Any) -> np.ndarray:
    changed = np.full((4, N), 60.0)
    changed[camera] = values
    return changed


def steps(axis: int, low: float, high: float) -> np.ndarray:
    """A third of the links along an axis between two values."""
    changed = np.random.default_rng(0).uniform(-5, 5, (3000, 3))
    changed[::3, axis] = np.linspace(low, high, 1000)
    return changed


def failing(n: int) -> tuple[Failure, ...]:
    return tuple(Failure(1000 + i, "sequence", "reason") for i in range(n))


@pytest.mark.parametrize(
    ("changed", "level", "text"),
    [
        (with_record(failures=failing(3)), Level.CHECK, "3 of 100 frames failed"),
        (with_record(failures=failing(12)), Level.BAD, "12 of 100 frames failed"),
        (with_record(missing=(1003, 1004)), Level.CHECK, "2 of 100 frames have no results: 1003-1004"),
        (with_record(damaged=("a: cut", "b: cut")), Level.BAD, "Damaged result file: a: cut (and 1 more)"),
        (with_motion(damaged="c: cut"), Level.BAD, "Damaged result file: c: cut"),
        (
            with_record(run=a_run(run={"outcome": "interrupted"}, frames={"not_reached": 40})),
            Level.BAD,
            "The run ended early (interrupted), 40 frames not reached",
        ),
        (
            with_record(run=a_run(run={"outcome": "failed", "error": "disk full"})),
            Level.BAD,
            "The run ended early (failed): disk full",
        ),
        (with_record(run=a_run(inputs={"values": {}})), Level.NOTE, "The parameter files have changed since the run"),
        (
            with_record(run=a_run(frames={"kept": 30})),
            Level.NOTE,
            "30 frames kept from an earlier run: times are those of the other frames (1 min 05 s)",
        ),
        (
            with_record(run=a_run(seams={"proven": 1, "given_up": 2})),
            Level.NOTE,
            "2 segments of tracking had to be tracked twice: this took time, the results are the same",
        ),
        (with_sequence(particles=np.zeros(N)), Level.BAD, "No particle in any frame"),
        (
            with_sequence(particles=np.where(FRAMES < 1003, 0.0, 50.0)),
            Level.CHECK,
            "3 frames without a particle: 1000-1002",
        ),
        (
            with_sequence(targets=targets(2, np.where(FRAMES == 1020, 0.0, 60.0))),
            Level.CHECK,
            "Targets of camera 3 drop to 0 at frame 1020 (1 frame below a fifth of the usual 60)",
        ),
        (with_sequence(targets=targets(1, 29)), Level.CHECK, "Camera 2 sees 29 targets per frame, the cameras' median is 60"),
        (with_sequence(targets=np.full((4, N), 200.0)), Level.CHECK, "Only 25\u00a0% of the targets became part of a particle"),
        (
            with_sequence(kinds={"quadruplets": np.full(N, 32.0), "triplets": np.zeros(N), "pairs": np.full(N, 18.0)}),
            Level.CHECK,
            "A third of the particles are pairs",
        ),
        (
            with_sequence(kinds={"quadruplets": np.full(N, 25.0), "triplets": np.zeros(N), "pairs": np.full(N, 25.0)}),
            Level.CHECK,
            "Half of the particles are pairs",
        ),
        (
            with_sequence(kinds={"quadruplets": np.full(N, 15.0), "triplets": np.zeros(N), "pairs": np.full(N, 35.0)}),
            Level.CHECK,
            "70\u00a0% of the particles are pairs",
        ),
        (
            replace(evidence(), sample=a_sample((0.2, 1.8, float("nan"), 2.0))),
            Level.CHECK,
            "Reprojection error 1.8 px in camera 2 and 2 px in camera 4 (median)",
        ),
        (
            replace(evidence(), sample=a_sample(locked=True)),
            Level.NOTE,
            (
                "Positions of targets prefer certain fractions of a pixel in camera 1 (1), camera 2 (1), camera 3 (1) and "
                "camera 4 (1)"
            ),
        ),
        (
            replace(evidence(), sample=replace(a_sample(), spacing=6.0)),
            Level.CHECK,
            "Particles move 0.822 times the distance to their nearest neighbour between frames",
        ),
        (
            with_motion(acceleration=np.r_[np.full(3000, 0.3), np.full(1000, 0.85)]),
            Level.CHECK,
            "25\u00a0% of the accelerations lie at their limit dacc = 0.9",
        ),
        (
            with_motion(angle=np.r_[np.full(3600, 5.0), np.full(400, 115.0)]),
            Level.CHECK,
            "10\u00a0% of the angles lie at their limit angle = 120",
        ),
        (
            with_record(tracking=replace(evidence().record.tracking, lost=np.full(N - 1, 56.0))),
            Level.CHECK,
            "Link ratio 0.46: check the dv limits and dacc",
        ),
        (
            with_record(tracking=replace(evidence().record.tracking, links=np.zeros(N - 1), lost=np.full(N - 1, 56.0))),
            Level.CHECK,
            "No particle was linked",
        ),
        (
            with_motion(displacement=steps(0, 14.0, 15.5)),
            Level.CHECK,
            "33\u00a0% of the links lie at the limit dvxmax, no more than by chance",
        ),
        (
            replace(with_motion(displacement=steps(2, -15.5, -14.0)), sample=replace(a_sample(), motion=moving(-15.5, -14.0))),
            Level.CHECK,
            "Displacements lie at the limit dvzmin for 33\u00a0% of the links, more than by chance: widen it",
        ),
        (  # so good that chance makes no chain at all
            replace(
                with_motion(displacement=steps(2, -15.5, -14.0)),
                sample=replace(
                    a_sample(),
                    motion=replace(moving(-15.5, -14.0), displacement_chance=np.empty((0, 3)), chance_chains=0.0),
                ),
            ),
            Level.CHECK,
            "Displacements lie at the limit dvzmin for 33\u00a0% of the links, more than by chance: widen it",
        ),
        (
            replace(with_motion(displacement=steps(1, -15.5, -14.0)), sample=replace(a_sample(), motion=moving(0, 1, 40))),
            Level.CHECK,
            "Displacements lie at the limit dvymin for 33\u00a0% of the links",
        ),
        (
            with_motion(displacement=np.random.default_rng(0).uniform(-5, 5, (3000, 3)) * [1, 0.5, 1]),
            Level.NOTE,
            "The dv limits are more than 4 times wider than the velocities in y (needed: 2.49 mm/frame)",
        ),
        (
            with_motion(lengths=np.array([1] * 50 + [3] * 20 + [40])),
            Level.CHECK,
            "60\u00a0% of the linked particles are in trajectories shorter than 5 frames",
        ),
    ],
)
def test_a_rule(changed: Evidence, level: Level, text: str) -> None:
    assert [(finding.level, finding.text) for finding in findings(changed)] == [(level, text)]


def test_no_links_at_all() -> None:
    nothing = np.empty(0)
    tracking = TrackingSeries(np.empty(0, np.int64), nothing, nothing, nothing, None)
    assert said(replace(with_record(tracking=tracking), motion=None)) == ["Not tracked: there are no links"]
    series = SequenceSeries(np.empty(0, np.int64), np.empty((4, 0)), {}, nothing)
    assert said(replace(with_record(tracking=tracking, sequence=series), motion=None)) == ["No frame has results"]


def test_few_links_and_short_runs_say_nothing_of_velocities_and_lengths() -> None:
    assert said(with_motion(displacement=steps(0, 15.0, 15.5)[:40])) == []
    assert said(with_motion(lengths=np.array([3] * 50), stretches=((1000, 1008),))) == []


def test_two_cameras_make_pairs_only() -> None:
    tree = sample_tree() | {"num_cams": 2}
    parameters = build_parameters(AttrDict(tree), lambda section, key: f"{section}.{key}")
    record = evidence().record
    sequence = replace(record.sequence, targets=np.full((2, N), 60.0), kinds={"pairs": np.full(N, 50.0)})
    changed = replace(record, experiment=replace(record.experiment, parameters=parameters), sequence=sequence)
    assert said(replace(evidence(), record=changed)) == []


def test_limits_are_those_of_the_run() -> None:
    """The parameter files may have changed since; a record that holds none falls back on them."""
    values = evidence().record.experiment.parameters.as_tree()
    values["track"] |= {"dvxmin": -5.2, "dvxmax": 5.2, "dvymax": "wide"}
    found = said(with_record(run=a_run(inputs={"values": values})))
    assert "links lie at the limit dvxmin" in found[0]
    assert not any("dvy" in text for text in found)


def test_the_worst_comes_first_and_makes_the_headline() -> None:
    both = with_record(failures=failing(3), damaged=("a: cut",), run=a_run(inputs={"values": {}}))
    found = findings(both)
    assert [finding.level for finding in found] == [Level.BAD, Level.CHECK, Level.NOTE]
    assert verdict.headline(found) == (Level.BAD, "Not a good run")
    assert verdict.headline(found[1:]) == (Level.CHECK, "1 thing to check")
    assert verdict.headline(found[2:]) == (Level.NOTE, "Good run")


def test_every_rule_is_asked() -> None:
    rules = {one.name for module in (verdict, matching, tracking) for one in vars(module).values() if isinstance(one, Rule)}
    assert rules == {one.name for one in verdict.RULES}
    assert len(rules) == len(verdict.RULES) > 15


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (number(0.98765), "0.988"),
        (number(-1234567.0), "−1\u202f234\u202f567"),
        (number(0.00012), "1.20e−04"),
        (number(float("nan")), "–"),
        (percent(0.0042), "0.42\u00a0%"),
        (percent(0.46), "46\u00a0%"),
        (percent(float("nan")), "–"),
        (duration(4.123), "4.12 s"),
        (duration(59.999), "60 s"),
        (duration(200), "3 min 20 s"),
        (duration(7500), "2 h 05 min"),
        (count(1, "frame"), "1 frame"),
        (count(2, "trajectory", "trajectories"), "2 trajectories"),
        (listing([]), ""),
        (listing(["a"]), "a"),
        (listing("abc"), "a, b and c"),
        (spread([1, float("nan"), 3]), "mean 2, from 1 to 3"),
        (spread([float("nan")]), "nothing"),
        (moment("2026-11-22T14:29:45.741Z"), "2026-11-22 14:29:45 UTC"),
        (moment("2026-11-22T14:29:45.741+02:00"), "2026-11-22 14:29:45 +0200"),
        (moment("yesterday"), "yesterday"),
    ],
)
def test_words(found: str, expected: str) -> None:
    assert found == expected


def test_the_document_states_the_thresholds() -> None:
    document = (Path(__file__).parents[1] / "docs" / "report.md").read_text(encoding="utf-8")
    stated = {name: float(value) for name, value in re.findall(r"`([A-Z_]+)` = ([\d.]+)", document)}
    named = vars(verdict) | vars(matching) | vars(tracking)
    there = {name: round(value, 3) for name, value in named.items() if name.isupper() and isinstance(value, float | int)}
    assert stated == there
