"""``--tracking both``: a backward pass, and what becomes of the links of both."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import results

from pyptv.core.app.backward import BackwardPass
from pyptv.core.base.events import Event, StepDone
from pyptv.core.base.options import Options
from pyptv.core.files.formats import LINKS, PASSES
from pyptv.core.stages.join import join, stated_twice
from pyptv.pyptv_batch import main
from pyptv.pyptv_batch_parallel import main as parallel_main

Make = Callable[..., Path]
HARD = {"n_frames": 14, "n_particles": 50, "dropout": 0.04, "displacement": 0.4}


def files(folder: Path) -> dict[str, bytes]:
    return results(folder) | {path.name: path.read_bytes() for path in (folder / "res").glob("passes.*")}


def test_links_of_two_passes() -> None:
    """Confirmed, joined, and contradicted ones: of the row here, and of the row there."""
    forward = np.array([4, 0, -1, 1, -1, 3])
    backward = np.array([4, -1, 2, 5, 3, -1])
    made = join(forward, backward, 6)
    assert made.rows.tolist() == [4, 0, 2, -1, -1, -1]
    assert made.found_by.tolist() == [3, 1, 2, 0, 0, 0]
    assert stated_twice(np.array([1, 7, -2, 0]), np.array([3, 2])).tolist() == [-1, -1, -1, 0]
    assert join(np.array([-1]), np.array([-1]), 0).rows.tolist() == [-1]


def test_both_ways(small_experiment: Make, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "pyptv")
    folder = small_experiment(**HARD)
    main(folder, engine="optv")
    forward = files(folder)
    main(folder, engine="optv", mode="tracking", tracking="both")
    joined = files(folder)
    assert "Both passes: " in caplog.text

    # the forward pass is what it is alone; so are particles and targets
    apart = {f"res/{path.name}": path.read_bytes() for path in (folder / "res/.pyptv/forward").glob("*.*")}
    assert apart == {name: data for name, data in forward.items() if "ptv_is" in name or "added" in name}
    same = {name for name in forward if name not in apart}
    assert {name: joined[name] for name in same} == {name: forward[name] for name in same}
    counts = _consistent(folder)
    assert all(n > 0 for n in counts.values()), counts

    caplog.clear()
    main(folder, engine="optv", mode="tracking", tracking="both", resume=True)
    assert files(folder) == joined
    assert "the links of 14 were kept" in caplog.text
    parallel_main(folder, engine="optv", n_processes=2, tracking="both")
    assert files(folder) == joined
    for run in (main, parallel_main):
        for path in (folder / "res").glob("ptv_is.*"):
            path.unlink()
        with _interrupted_backward_pass(after=5), pytest.raises(KeyboardInterrupt):
            run(folder, engine="optv", mode="tracking", tracking="both")
        assert not list((folder / "res").glob("ptv_is.*"))  # only links of both passes are put there
        run(folder, engine="optv", mode="tracking", tracking="both", resume=True)
        assert files(folder) == joined
    main(folder, engine="optv", mode="tracking")
    assert files(folder) == forward


@contextmanager
def _interrupted_backward_pass(after: int) -> Iterator[None]:
    """As Ctrl-C does, once some of its steps have been reported."""
    pass_on, steps = BackwardPass.pass_on, count(1)

    def interrupted(self: BackwardPass, event: Event, *rest: Any) -> None:
        if isinstance(event, StepDone) and next(steps) == after:
            raise KeyboardInterrupt
        pass_on(self, event, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BackwardPass, "pass_on", interrupted)
        yield


def _consistent(folder: Path) -> dict[int, int]:
    """Check ``ptv_is`` against ``passes``; how many links were found by whom."""
    counts = dict.fromkeys((1, 2, 3), 0)
    frames = sorted(int(path.suffix[1:]) for path in (folder / "res").glob("ptv_is.*"))
    tables = {frame: LINKS.read(folder / f"res/ptv_is.{frame}") for frame in frames}
    for frame in frames:
        rows, passes = tables[frame], PASSES.read(folder / f"res/passes.{frame}")
        linked = rows["next"] >= 0
        assert (linked == (passes["found_by"] > 0)).all()
        for bit, column in ((1, "forward"), (2, "backward")):
            found = (passes["found_by"] & bit) > 0
            assert (rows["next"][found] == passes[column][found]).all()
        if frame + 1 in tables:
            assert (tables[frame + 1]["previous"][rows["next"][linked]] == np.flatnonzero(linked)).all()
            assert (tables[frame + 1]["previous"] >= 0).sum() == linked.sum()
        for who in counts:
            counts[who] += int((passes["found_by"] == who).sum())
    return counts


def test_a_frame_that_cannot_be_read(small_experiment: Make) -> None:
    """It is named by its own number, though the backward pass counts otherwise; the links around it are there."""
    folder = small_experiment()
    (folder / "img" / "cam2.10002.tif").write_bytes(b"no image")
    main(folder, engine="optv", tracking="both", on_error="skip")
    assert sorted(path.name for path in (folder / "res").glob("ptv_is.*")) == [
        f"ptv_is.{n}" for n in (10000, 10001, 10003, 10004, 10005)
    ]
    assert (LINKS.read(folder / "res/ptv_is.10001")["next"] < 0).all()
    assert (LINKS.read(folder / "res/ptv_is.10003")["previous"] < 0).all()
    assert (LINKS.read(folder / "res/ptv_is.10003")["next"] >= 0).any()


def test_no_sense_without_tracking() -> None:
    with pytest.raises(ValueError, match="tracking 'both' is for modes that track, got mode 'sequence'"):
        main("nowhere", mode="sequence", tracking="both")


@pytest.mark.parametrize(
    ("what", "way", "why"),
    [
        *(
            (
                {kind: "mine"},
                way,
                "plugins cannot be combined with part, finish, watch and scheduler: a plugin .* all frames in one process",
            )
            for kind in ("sequence_plugin", "tracking_plugin")
            for way in ({"part": "1/2"}, {"finish": True}, {"watch": True}, {"scheduler": "tcp://here:1"})
        ),
        (
            {"tracking": "both"},
            {"watch": True},
            "tracking 'both' cannot be combined with watch: the backward pass begins at the last frame",
        ),
        ({"mode": "match"}, {"watch": True}, "mode 'match' cannot be combined with watch: it reads stored targets"),
        (
            {"method": "dense"},
            {"watch": True},
            "method 'dense' cannot be combined with watch: its self-calibration uses frames of",
        ),
    ],
)
def test_what_cannot_be_combined(what: dict[str, str], way: dict[str, object], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        Options(**what, **way)
