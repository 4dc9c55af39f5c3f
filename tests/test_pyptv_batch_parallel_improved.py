"""The parallel entry point: chunks, processes, coordination, errors of workers, the report, and above all the same bytes."""

from __future__ import annotations

import logging
import multiprocessing
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import results, run_python
from PIL import Image

from pyptv import pyptv_batch, pyptv_batch_parallel
from pyptv.core.base.machine import usable_cpus
from pyptv.pyptv_batch_parallel import ProcessingError, chunk_ranges, main, run_sequence_chunk

FIRST, LAST = 10000, 10005
N_NOISY = 40
START_METHODS = [method for method in ("fork", "spawn") if method in multiprocessing.get_all_start_methods()]


class TestChunkRanges:
    def test_longer_chunks_come_first(self):
        assert chunk_ranges(1000, 1009, 3) == [(1000, 1003), (1004, 1006), (1007, 1009)]

    def test_one_chunk_is_the_whole_range(self):
        assert chunk_ranges(5, 9, 1) == [(5, 9)]

    def test_more_chunks_than_frames_gives_one_frame_each_and_a_warning(self, caplog):
        assert chunk_ranges(7, 9, 5) == [(7, 7), (8, 8), (9, 9)]
        assert "Number of chunks (5) is greater than total frames (3)" in caplog.text

    @pytest.mark.parametrize(
        ("arguments", "message"), [((9, 7, 1), "First frame \\(9\\) must be <= last frame \\(7\\)"), ((1, 2, 0), ">= 1, got 0")]
    )
    def test_nonsense_is_refused(self, arguments, message):
        with pytest.raises(ValueError, match=message):
            chunk_ranges(*arguments)

    @pytest.mark.parametrize("n", range(1, 12))
    def test_chunks_cover_the_range_and_differ_by_one_at_most(self, n):
        chunks = chunk_ranges(100, 111, n)
        assert [frame for a, b in chunks for frame in range(a, b + 1)] == list(range(100, 112))
        sizes = [b - a + 1 for a, b in chunks]
        assert sizes == sorted(sizes, reverse=True)
        assert sizes[0] - sizes[-1] <= 1


class TestProcesses:
    def test_the_default_is_the_cpus_that_this_process_may_use(self, small_experiment, caplog):
        caplog.set_level(logging.INFO, "pyptv")
        main(small_experiment(), FIRST, LAST)
        n = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        assert f"Using default number of processes: {n} (CPU count)" in caplog.text
        assert f"Number of processes: {n}" in caplog.text

    def test_more_than_that_is_a_warning(self, small_experiment, caplog):
        too_many = usable_cpus() + 1
        main(small_experiment(), FIRST, FIRST + 1, too_many)
        assert f"Requested {too_many} processes, but only" in caplog.text
        assert (caplog.records[0].levelno, caplog.records[0].name[:5]) == (logging.WARNING, "pyptv")

    @pytest.mark.parametrize("n", [0, -1, "0"])
    def test_less_than_1_is_refused(self, tmp_path, n):
        with pytest.raises(ValueError, match=f"Number of processes must be >= 1, got {n}"):
            main(tmp_path, 1, 2, n)

    def test_no_number_is_refused(self, tmp_path):
        with pytest.raises(ValueError, match="Number of processes must be a whole number, got 'two'"):
            main(tmp_path, 1, 2, "two")

    def test_numeric_text_will_do(self, small_experiment):
        exp = small_experiment()
        main(str(exp), str(FIRST), str(LAST), "2")
        assert len(results(exp)) == 6 * 7

    @pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this platform has no CPU affinity")
    def test_affinity_counts_not_the_machine(self):
        code = (
            "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))});"
            "from pyptv.core.app.batch import usable_cpus; print(usable_cpus())"
        )
        assert run_python("-c", code).stdout.strip() == "1"


@pytest.fixture(scope="session")
def serial(_experiments: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Callable[..., dict[str, bytes]]:
    known: dict[str, dict[str, bytes]] = {}

    def run(**options) -> dict[str, bytes]:
        key = repr(sorted(options.items()))
        if key not in known:
            exp = tmp_path_factory.mktemp("serial") / "experiment"
            shutil.copytree(_experiments(**options), exp)
            pyptv_batch.main(exp, engine="optv")
            known[key] = results(exp)
        return known[key]

    return run


@pytest.fixture(scope="session")
def noisy(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, bytes]]:
    """Five real frames, back and forth, N_NOISY in all: the images' folder, and the results of the sequential run."""
    exp = tmp_path_factory.mktemp("noisy") / "experiment"
    run_python(shared / "tools" / "pingpong.py", exp, N_NOISY)
    pyptv_batch.main(exp, 10000, 10000 + N_NOISY - 1, engine="compiled")
    found = results(exp)
    shutil.rmtree(exp / "res")
    for name in found:
        (exp / name).unlink(missing_ok=True)
    return exp, found


class TestSameBytes:
    """The oracle is the sequential run, whose bytes are tested against PyPTV's."""

    @pytest.mark.parametrize(("n", "method"), [(1, START_METHODS[0]), (2, START_METHODS[-1]), (3, START_METHODS[0])])
    def test_golden(self, cavity, golden, n, method):
        main(cavity / "parameters_Run1.yaml", 10000, 10004, n, start_method=method)
        assert results(cavity) == golden("tracking")

    @pytest.mark.parametrize(("n", "method"), [(2, START_METHODS[0]), (3, START_METHODS[-1])])
    def test_80_frames_of_smooth_flow_with_proven_seams(self, small_experiment, serial, caplog, n, method):
        caplog.set_level(logging.INFO, "pyptv")
        exp = small_experiment(n_frames=80)
        for _ in range(5):  # on a busy machine one run may track everything before another has begun
            caplog.clear()
            main(exp, n_processes=n, start_method=method, engine="optv")
            assert results(exp) == serial(n_frames=80)
            if " pieces joined exactly" in caplog.text and "Parallel tracking: 0 of" not in caplog.text:
                break
        assert "Parallel tracking: 0 of" not in caplog.text
        assert " pieces joined exactly, 0 tried again" in caplog.text

    @pytest.mark.parametrize("cameras", [1, 2, 3])
    def test_fewer_cameras(self, small_experiment, serial, cameras):
        exp = small_experiment(n_frames=40, n_cameras=cameras)
        main(exp, n_processes=2)
        assert results(exp) == serial(n_frames=40, n_cameras=cameras)

    @pytest.mark.parametrize("add", [0, 1])
    def test_noisy_flow_and_the_add_flag(self, small_experiment, add):
        exp, other = (small_experiment(name, n_frames=40, seed=3, n_particles=80) for name in ("parallel", "serial"))
        for folder in (exp, other):
            path = folder / "parameters" / "track.par"
            path.write_text("\n".join([*path.read_text().splitlines()[:8], str(add)]) + "\n")
        main(exp, n_processes=3)
        pyptv_batch.main(other, engine="optv")
        assert results(exp) == results(other)

    def test_empty_frames_inside(self, small_experiment):
        exp, other = (small_experiment(name, n_frames=40) for name in ("parallel", "serial"))
        for folder in (exp, other):
            for frame in (10010, 10025, 10026):
                for camera in (1, 2, 3, 4):
                    Image.new("L", (320, 256)).save(folder / "img" / f"cam{camera}.{frame}.tif")
        main(exp, n_processes=2)
        pyptv_batch.main(other, engine="optv")
        assert results(exp) == results(other)
        assert results(exp)["res/ptv_is.10025"] == b"0\n"

    def test_tracking_does_not_wait_for_the_sequence_step(self, small_experiment, caplog):
        caplog.set_level(logging.DEBUG, "pyptv")
        main(small_experiment(n_frames=80), n_processes=2, engine="optv")
        lines = [record.getMessage() for record in caplog.records]
        first_step = next(n for n, line in enumerate(lines) if line.startswith("Step "))
        last_frame = max(n for n, line in enumerate(lines) if line.startswith("Frame 1"))
        assert first_step < last_frame

    def test_serial_tracking(self, small_experiment, serial, caplog):
        caplog.set_level(logging.INFO, "pyptv")
        exp = small_experiment(n_frames=40)
        main(exp, n_processes=2, serial_tracking=True)
        assert results(exp) == serial(n_frames=40)
        assert "Parallel tracking: in one piece" in caplog.text

    @pytest.mark.slow
    @pytest.mark.parametrize(("n", "method", "engine"), [(2, START_METHODS[0], "optv"), (3, START_METHODS[-1], "compiled")])
    def test_noisy_frames_of_the_real_experiment(self, noisy, tmp_path, caplog, *, n, method, engine):
        """Particles jump, seams fail, and the bytes are the same all the same."""
        caplog.set_level(logging.INFO, "pyptv")
        source, expected = noisy
        exp = tmp_path / "experiment"
        shutil.copytree(source, exp, symlinks=True)
        main(exp, 10000, 10000 + N_NOISY - 1, n, start_method=method, engine=engine)
        assert results(exp) == expected
        assert " pieces joined exactly" in caplog.text


class TestErrors:
    def test_a_frame_that_fails_in_a_worker_is_raised_here(self, small_experiment):
        exp = small_experiment()
        (exp / "img" / "cam2.10004.tif").write_bytes(b"no image")
        with pytest.raises(ProcessingError, match=r"frame 10004, camera 2: .*cam2\.10004\.tif: the file is cut, damaged"):
            main(exp, FIRST, LAST, 2)

    def test_skipped_frames_are_listed_and_the_rest_is_done(self, small_experiment, caplog):
        exp = small_experiment()
        (exp / "img" / "cam2.10004.tif").write_bytes(b"no image")
        main(exp, FIRST, LAST, 2, on_error="skip")
        assert "1 frame failed and was left out: 10004" in caplog.text
        assert {path.name for path in (exp / "res").glob("rt_is.*")} == {
            f"rt_is.{f}" for f in range(FIRST, LAST + 1) if f != 10004
        }

    def test_an_unguarded_script_is_told_what_to_do(self, small_experiment, tmp_path):
        script = tmp_path / "script.py"
        script.write_text(
            f"from pyptv.pyptv_batch_parallel import main\nmain({str(small_experiment())!r}, start_method='spawn')\n"
        )
        done = run_python(script)
        assert done.returncode != 0
        assert "if __name__ ==" in done.stderr

    def test_it_works_within_a_worker_of_somebody_elses_pool(self, small_experiment):
        """There no process can be started: the run goes on in that process."""
        exp = small_experiment()
        code = (
            "import multiprocessing, sys\n"
            "from pyptv.pyptv_batch_parallel import main\n"
            "if __name__ == '__main__':\n"
            "    with multiprocessing.get_context('spawn').Pool(1) as pool:\n"
            "        pool.apply(main, (sys.argv[1], 10000, 10005, 2))\n"
        )
        script = exp.with_name("pool.py")
        script.write_text(code)
        done = run_python(script, exp)
        assert done.returncode == 0, done.stderr
        assert len(results(exp)) == 6 * 7


class TestReport:
    def test_the_log_is_as_users_know_it(self, small_experiment, caplog):
        caplog.set_level(logging.INFO, "pyptv")
        exp = small_experiment()
        main(exp, FIRST, LAST, 2)
        lines = [record.getMessage() for record in caplog.records]
        assert lines[:5] == [
            f"Starting parallel batch processing in directory: {exp}",
            f"Parameters: {exp / 'parameters' / 'ptv.par'}",
            f"Frame range: {FIRST} to {LAST}",
            "Number of processes: 2",
            "Frame chunks: [(10000, 10002), (10003, 10005)]",
        ]
        assert {"✓ Completed chunk: frames 10000 to 10002", "✓ Completed chunk: frames 10003 to 10005"} < set(lines)
        assert lines[-5:-1] == ["Parallel processing completed:", "  Total chunks: 2", "  Successful: 2", "  Failed: 0"]
        assert lines[-1].startswith("  Total processing time: ")
        assert lines[-1].endswith(" seconds")

    def test_failed_chunks_are_counted(self, small_experiment, caplog):
        caplog.set_level(logging.INFO, "pyptv")
        exp = small_experiment()
        (exp / "img" / "cam2.10004.tif").write_bytes(b"no image")
        main(exp, FIRST, LAST, 2, on_error="skip")
        lines = [record.getMessage() for record in caplog.records]
        assert {"✗ Failed chunk: frames 10003 to 10005: 2 done, failed: 10004", "  Successful: 1", "  Failed: 1"} < set(lines)

    def test_workers_speak_through_this_process(self, small_experiment, caplog, capfd):
        caplog.set_level(logging.DEBUG, "pyptv")
        main(small_experiment(), FIRST, LAST, 2)
        frames = [record.getMessage() for record in caplog.records if record.getMessage().startswith("Frame 1000")]
        assert sorted(int(line.split()[1].strip(":")) for line in frames) == list(range(FIRST, LAST + 1))
        assert capfd.readouterr() == ("", "")


def test_a_chunk_can_be_run_by_itself(small_experiment):
    exp, other = small_experiment("one"), small_experiment("two")
    assert run_sequence_chunk(exp, FIRST + 1, FIRST + 3) == (FIRST + 1, FIRST + 3)
    pyptv_batch.main(other, FIRST + 1, FIRST + 3, mode="sequence")
    assert results(exp) == results(other)
    with pytest.raises(ValueError, match="First frame"):
        run_sequence_chunk(exp, 3, 1)
    (exp / "img" / f"cam1.{FIRST}.tif").unlink()
    with pytest.raises(ProcessingError, match=f"frame {FIRST}, camera 1"):
        run_sequence_chunk(exp, FIRST, FIRST)


@pytest.mark.parametrize("how", [["-m", "pyptv.pyptv_batch_parallel"], [pyptv_batch_parallel.__file__]], ids=["module", "script"])
def test_command_lines(small_experiment, how):
    exp = small_experiment()
    done = run_python(*how, exp, FIRST, LAST, 2)
    assert done.returncode == 0, done.stderr
    assert "Number of processes: 2" in done.stderr
    assert done.stdout == ""
    assert len(results(exp)) == 6 * 7


def test_console_script(small_experiment):
    script = Path(sys.executable).with_name("pyptv-batch-parallel")
    if not script.exists():
        pytest.skip("the package's scripts are not installed beside this Python")
    done = run_python(script, small_experiment(dialect="yaml") / "parameters_synthetic.yaml", FIRST, LAST)
    assert done.returncode == 0, done.stderr
