"""Between the arguments of an entry point and a run: numbers, options, CPUs."""

from __future__ import annotations

import logging
import os
import re
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import refusal

from pyptv import pyptv_batch, pyptv_batch_parallel
from pyptv.core.app import batch
from pyptv.core.app.batch import process_count, run_batch, usable_cpus
from pyptv.core.base.options import Options

WRONG_OPTIONS: list[tuple[dict[str, Any], str]] = [
    ({"speed": 9}, "Unknown option 'speed'. Options: mode, on_error, "),
    ({"n_proceses": 9}, "Unknown option 'n_proceses': did you mean 'n_processes'? Options: "),
    ({"on-error": "skip"}, "Unknown option 'on-error': did you mean 'on_error'? Options: "),
    ({"kind": "x", "watch": None}, "Unknown option 'kind'"),
    ({"mode": 3}, "Mode must be one of both, sequence, tracking, got 3"),
    ({"mode": None}, "Mode must be one of both, sequence, tracking, got None"),
    ({"mode": "Tracking"}, "Mode must be one of both, sequence, tracking, got 'Tracking': did you mean 'tracking'?"),
    ({"mode": ["both"]}, "Mode must be one of both, sequence, tracking, got ['both']"),
    ({"on_error": 1.5}, "on_error must be one of abort, skip, got 1.5"),
    ({"engine": b"optv"}, "engine must be one of auto, optv, compiled, got b'optv'"),
    ({"resume": "yes"}, "resume must be True or False, got 'yes'"),
    ({"clean": None}, "clean must be True or False, got None"),
    ({"report": np.zeros(3)}, "report must be True or False, got array([0., 0., 0.])"),
    ({"serial_tracking": 2}, "serial_tracking must be True or False, got 2"),
    ({"start_method": "foo"}, "start_method must be one of fork, spawn, forkserver, got 'foo'"),
    ({"start_method": "forks"}, "got 'forks': did you mean 'fork'?"),
]


class TestNumbers:
    @pytest.mark.parametrize(
        ("first", "last", "message"),
        [
            (2000, 1000, r"^First frame \(2000\) must be <= last frame \(1000\)$"),
            ("2000", "1000", r"^First frame \(2000\) must be <= last frame \(1000\)$"),
            ("ten", 1000, r"^First frame must be a whole number, got 'ten'$"),
            (1, "", r"^Last frame must be a whole number, got ''$"),
            (1.5, 3, r"^First frame must be a whole number, got 1\.5$"),
            (1, float("inf"), r"^Last frame must be a whole number, got inf$"),
            ([1], 3, r"^First frame must be a whole number, got \[1\]$"),
            (-1, 3, r"^First frame must be >= 0, got -1$"),
            (1, 10**400, r"^Last frame must be at most 1000000000000000, got a number of 399 digits$"),
            (1, "9" * 400, r"^Last frame must be at most 1000000000000000, got a number of 399 digits$"),
            (1, "9" * 5000, r"^Last frame must be a whole number, got '999.*9'$"),
            (b"1", 3, r"^First frame must be a whole number, got b'1'$"),
        ],
    )
    def test_bad_frames_are_told_before_the_experiment_is_looked_at(self, first, last, message):
        with pytest.raises(ValueError, match=message):
            run_batch("/does/not/exist", first, last)

    @pytest.mark.parametrize("times", [0, -1, "0"])
    def test_bad_repetitions(self, times):
        with pytest.raises(ValueError, match=f"^Repetitions must be >= 1, got {times}$"):
            run_batch("/does/not/exist", 1, 2, repetitions=times)

    @pytest.mark.parametrize("make", [int, str, np.int64, lambda n: f" {n} "], ids=["int", "str", "numpy", "padded"])
    def test_forms_of_a_number(self, small_experiment, make):
        report = run_batch(small_experiment(), make(10001), make(10002), options=Options(mode="sequence"))
        assert report.frames == 2


class TestOptions:
    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"mode": "all"}, "^Mode must be one of both, sequence, tracking, match, got 'all'$"),
            ({"on_error": "ignore"}, "^on_error must be one of abort, skip, got 'ignore'$"),
            ({"n_processes": 0}, "^Number of processes must be >= 1, got 0$"),
        ],
    )
    def test_wrong_values(self, options, message):
        with pytest.raises(ValueError, match=message):
            Options(**options)

    @pytest.mark.parametrize("entry", [pyptv_batch, pyptv_batch_parallel], ids=["serial", "parallel"])
    def test_a_wrong_option_is_named_before_anything_is_touched(self, small_experiment, entry):
        folder = small_experiment(images=False)
        (folder / "res").mkdir()
        (folder / "res" / "run_report.json").write_text("the last run's")
        for options, message in WRONG_OPTIONS:
            with pytest.raises(ValueError, match=re.escape(message)):
                entry.main(folder, 10000, 10001, **options)
            assert [path.name for path in (folder / "res").iterdir()] == ["run_report.json"]

    @pytest.mark.parametrize("entry", [pyptv_batch, pyptv_batch_parallel], ids=["serial", "parallel"])
    def test_a_range_without_end(self, small_experiment, entry):
        """With on_error="skip" its missing frames are no reason to go through them all."""
        folder = small_experiment(images=False)
        for mode in ("both", "tracking"):
            message = refusal(partial(entry.main, on_error="skip", mode=mode), folder, 10000, 10**15)
            assert "100000 or more frames" in str(message)
        assert not (folder / "res").exists()

    @pytest.mark.parametrize("n", [0, "x", 10**9, 10**400, 1.5])
    def test_a_wrong_number_of_processes(self, n):
        with pytest.raises(ValueError, match="Number of processes must be "):
            pyptv_batch.main("/does/not/exist", 1, 2, n_processes=n)

    @pytest.mark.parametrize("exp", [None, b"experiment", 7, "", "a\0b", ["experiment"]])
    @pytest.mark.parametrize("entry", [pyptv_batch.main, pyptv_batch_parallel.main, pyptv_batch_parallel.run_sequence_chunk])
    def test_a_path_that_is_none(self, entry, exp):
        with pytest.raises(ValueError, match=r"^exp_path must be a path"):
            entry(exp, 1, 2)

    def test_numbers_and_flags_of_numpy(self):
        options = Options(resume=np.bool_(1), clean=1, n_processes=np.int64(3))
        assert (options.resume, options.clean, options.n_processes) == (True, True, 3)
        assert {type(options.resume), type(options.clean)} == {bool}
        assert type(options.n_processes) is int

    def test_steps_of_a_frame(self):
        assert [Options(mode=mode).steps for mode in ("both", "sequence", "tracking")] == [2, 1, 1]


class TestProcesses:
    def test_default(self, monkeypatch, caplog):
        monkeypatch.setattr(batch, "usable_cpus", lambda: 4)
        with caplog.at_level(logging.INFO, "pyptv"):
            assert process_count(None) == 4
        assert caplog.messages == ["Using default number of processes: 4 (CPU count)"]

    def test_more_than_there_are_is_a_warning(self, monkeypatch, caplog):
        monkeypatch.setattr(batch, "usable_cpus", lambda: 4)
        assert process_count("5") == 5
        assert [record.levelname for record in caplog.records] == ["WARNING"]
        assert "Requested 5 processes, but only 4 CPUs are available" in caplog.text

    def test_as_many_as_there_are_is_none(self, monkeypatch, caplog):
        monkeypatch.setattr(batch, "usable_cpus", lambda: 4)
        assert process_count(4) == 4
        assert caplog.records == []

    @pytest.mark.parametrize("n", [0, -3])
    def test_below_one(self, n):
        with pytest.raises(ValueError, match=f"^Number of processes must be >= 1, got {n}$"):
            process_count(n)

    def test_not_a_number(self):
        with pytest.raises(ValueError, match=r"^Number of processes must be a whole number, got 'all'$"):
            process_count("all")


class TestUsableCpus:
    @pytest.fixture
    def machine(self, monkeypatch):
        """16 CPUs by affinity, and a container's limit."""

        def limit(text: str | None) -> None:
            def read(_path: Path, **_options: str) -> str:
                if text is None:
                    raise FileNotFoundError
                return text

            monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(16)), raising=False)
            monkeypatch.setattr(Path, "read_text", read)

        return limit

    @pytest.mark.parametrize(
        ("limit", "cpus"),
        [
            ("max 100000\n", 16),
            ("200000 100000\n", 2),
            ("150000 100000\n", 2),
            ("10000 100000\n", 1),
            ("9900000 100000\n", 16),
            ("nonsense", 16),
            (None, 16),
        ],
    )
    def test_container_limit(self, machine, limit, cpus):
        machine(limit)
        assert usable_cpus() == cpus

    def test_affinity(self):
        if not hasattr(os, "sched_setaffinity"):
            pytest.skip("this system has no CPU affinity")
        before = os.sched_getaffinity(0)
        try:
            os.sched_setaffinity(0, {min(before)})
            assert usable_cpus() == 1
        finally:
            os.sched_setaffinity(0, before)

    def test_a_system_without_affinity(self, machine, monkeypatch):
        machine(None)
        monkeypatch.delattr(os, "sched_getaffinity")
        monkeypatch.setattr(os, "cpu_count", lambda: None)
        assert usable_cpus() == 1
