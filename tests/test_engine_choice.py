"""Which engine a run takes, and where the compiled kernels are kept."""

from __future__ import annotations

import errno
import logging
import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path

import pytest
from conftest import refusal

from pyptv import __version__
from pyptv.core.base.options import Options
from pyptv.core.cli.command import command
from pyptv.core.cli.options import SEQUENTIAL
from pyptv.core.engines import choice as engine_choice
from pyptv.core.engines.choice import WORTH_LOADING, choose
from pyptv.kernels import build, cache

pytest.importorskip("numba", reason="the compiled engine needs numba")


@pytest.fixture
def kernel_folder(tmp_path, monkeypatch):
    """The variable that says where kernels are kept names an empty folder."""
    monkeypatch.setenv(cache.FOLDER_VARIABLE, str(tmp_path / "cache"))
    cache.chosen_folder.cache_clear()
    yield tmp_path / "cache"
    cache.chosen_folder.cache_clear()


@pytest.fixture
def quick_build(monkeypatch):
    """Compiling takes as long as importing this module does."""
    monkeypatch.setattr(cache, "GROUPS", {"tracking": ("pyptv.kernels.cache",), "text": ()})
    monkeypatch.setattr(cache, "FOR_SEQUENCE", ("text",))
    monkeypatch.setattr(cache, "FOR_TRACKING", ("tracking",))


@pytest.fixture
def small_kernel(tmp_path, monkeypatch):
    """A group that is compiled as ours are, and in a moment."""
    (tmp_path / "small_kernel.py").write_text(
        "from pyptv.kernels.jit import entry\n@entry('int64(int64)')\ndef twice(number):\n    return 2 * number\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(cache, "GROUPS", {"small": ("small_kernel",)})


def wait_for(condition):
    """Until it holds, for at most a minute."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def is_gone(pid):
    """Whether a process has ended, if it may be no child of ours; one that waits to be reaped has."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def range_of(n: int) -> tuple[int, int]:
    return (1000, 999 + n)


class TestFolder:
    def test_its_name_says_what_is_in_it(self, kernel_folder):
        folder = cache.chosen_folder()
        assert folder.parent == kernel_folder
        assert folder.name.startswith(f"kernels-{__version__}-numba{version('numba')}-")
        assert folder.is_dir()

    @pytest.mark.skipif(os.name != "posix", reason="permissions as POSIX has them")
    def test_others_may_not_write_to_it(self, kernel_folder):
        folder = cache.chosen_folder()
        assert folder.stat().st_mode & 0o077 == 0
        folder.chmod(0o777)
        cache.chosen_folder.cache_clear()
        with pytest.raises(cache.KernelsUnavailableError, match=r"others can write to it: set PYPTV_KERNEL_CACHE to a folder"):
            cache.chosen_folder()

    def test_no_place_for_it(self, kernel_folder):
        kernel_folder.write_text("a file")
        with pytest.raises(cache.KernelsUnavailableError, match=r"cannot be created .*: set PYPTV_KERNEL_CACHE to a folder"):
            cache.chosen_folder()

    def test_by_default_it_is_in_the_users_cache_folder(self, tmp_path, monkeypatch):
        monkeypatch.delenv(cache.FOLDER_VARIABLE, raising=False)
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        cache.chosen_folder.cache_clear()
        try:
            folder = cache.chosen_folder()
        finally:
            cache.chosen_folder.cache_clear()
        assert folder.parent.name == "pyptv-batch"
        assert sys.platform != "linux" or folder.is_relative_to(tmp_path)

    def test_another_source_is_another_folder(self, kernel_folder, tmp_path, monkeypatch):
        before = cache.chosen_folder()
        package = shutil.copytree(cache.Path(cache.__file__).parent, tmp_path / "kernels")
        monkeypatch.setattr(cache, "__file__", str(package / "cache.py"))
        cache.chosen_folder.cache_clear()
        assert cache.chosen_folder() != before


class TestBuild:
    def test_then_they_are_ready(self, kernel_folder, quick_build):
        assert not cache.ready()
        assert build.build() > 0
        assert cache.ready()

    def test_damaged_ones_are_compiled_again(self, kernel_folder, small_kernel):
        """As a full disk or a power cut leaves them."""
        build.build()
        assert cache.ready()
        for spoil in (Path.unlink, lambda path: path.write_bytes(b"cut")):
            code, *_ = cache.chosen_folder().rglob("*.nbc")
            spoil(code)
            assert not cache.ready()
            build.build()
            assert cache.ready()

    def test_each_group_compiles_its_own_modules_alone(self, kernel_folder, tmp_path, monkeypatch):
        for name, more in (("first_kernel", ""), ("second_kernel", "import first_kernel\n")):
            code = (
                f"{more}from pyptv.kernels.jit import entry\n@entry('int64(int64)')\ndef twice(number):\n    return 2 * number\n"
            )
            (tmp_path / f"{name}.py").write_text(code)
        monkeypatch.syspath_prepend(str(tmp_path))
        monkeypatch.setattr(cache, "GROUPS", {"one": ("first_kernel",), "two": ("second_kernel",)})
        build.build(["two"])
        assert {path.name.split(".")[0] for path in cache.chosen_folder().rglob("*.nbi")} == {"second_kernel"}
        build.build(["one"])
        assert not cache.missing(["one", "two"])

    def test_each_module_with_an_entry_is_in_one_group(self):
        package = Path(cache.__file__).parent
        modules = [path for path in package.rglob("*.py") if "\n@entry(" in path.read_text()]
        names = ["pyptv.kernels." + ".".join(path.relative_to(package).with_suffix("").parts) for path in modules]
        assert sorted(name for group in cache.GROUPS.values() for name in group) == sorted(names)

    def test_those_of_a_faster_run_stay(self, kernel_folder, quick_build):
        build.build()
        mark = cache.chosen_folder().stat().st_ino
        build.build()
        assert cache.chosen_folder().stat().st_ino == mark
        assert [path.name for path in kernel_folder.iterdir()] == [cache.chosen_folder().name]

    def test_a_full_disk_is_told_in_a_line(self, kernel_folder, quick_build, monkeypatch):
        def full(*_, **__):
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(build, "write_atomic", full)
        with pytest.raises(cache.KernelsUnavailableError, match="the kernels cannot be stored here: No space left on device"):
            build.build()

    def test_failure_is_told_in_a_line(self, kernel_folder, monkeypatch):
        monkeypatch.setattr(cache, "GROUPS", {"none": ("pyptv.kernels.nowhere",)})
        with pytest.raises(cache.KernelsUnavailableError, match=r"cannot be compiled here: ModuleNotFoundError: .*nowhere"):
            build.build()
        assert not cache.ready()

    def test_old_kernels_are_removed(self, kernel_folder, quick_build):
        old, recent, other = (kernel_folder / name for name in ("kernels-0.0.1-numba0.1-0", "kernels-0.0.2-numba0.1-0", "notes"))
        for folder in (old, recent, other):
            folder.mkdir(parents=True)
        for folder in (old, other):
            os.utime(folder, (0, time.time() - 40 * 86400))
        build.build()
        assert [folder.exists() for folder in (old, recent, other)] == [False, True, True]

    def test_two_at_a_time_are_one(self, kernel_folder, quick_build, monkeypatch):
        made = []

        class Counted(build._Compiler):
            def __init__(self, folder, group):
                made.append(group)
                super().__init__(folder, group)

        monkeypatch.setattr(build, "_Compiler", Counted)
        cache.chosen_folder()
        with ThreadPoolExecutor(2) as both:
            assert all(seconds > 0 for seconds in both.map(lambda _: build.build(), range(2)))
        assert sorted(made) == ["text", "tracking"]

    @pytest.mark.skipif(os.name != "posix", reason="signals as POSIX has them")
    def test_one_that_is_killed_leaves_nothing_behind(self, kernel_folder, quick_build, tmp_path):
        slow = "import os, pathlib, time\npathlib.Path('begun').write_text(str(os.getpid()))\ntime.sleep(600)"
        (tmp_path / "slow.py").write_text(slow)
        code = (
            f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
            "from pyptv.kernels import build, cache\n"
            "cache.GROUPS = {'none': ('slow',)}\n"
            "build.build()"
        )
        killed = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path)
        wait_for(lambda: (tmp_path / "begun").exists() and (tmp_path / "begun").read_text())
        killed.kill()
        killed.wait()
        assert not cache.ready()
        assert build.build() < 60  # its lock went with it
        assert cache.ready()
        assert not (cache.chosen_folder() / "building").exists()
        wait_for(lambda: is_gone(int((tmp_path / "begun").read_text())))

    @pytest.mark.skipif(os.name != "posix", reason="elsewhere nothing is forked")
    def test_in_the_background_nobody_waits(self, kernel_folder, tmp_path, monkeypatch):
        """A stand-in for the build waits for a file, and then tells of its process."""
        package = tmp_path / "path" / "pyptv" / "kernels"
        package.mkdir(parents=True)
        for folder in (package, package.parent):
            (folder / "__init__.py").touch()
        (package / "build.py").write_text(
            "import os, pathlib, time\n"
            "def build_and_note():\n"
            "    for _ in range(6000):\n"  # it must not outlive a test that fails for long
            "        if pathlib.Path('go').exists(): break\n"
            "        time.sleep(0.01)\n"
            "    pathlib.Path('told.part').write_text(f'{os.getppid()} {os.getsid(0)} {os.nice(0)}')\n"
            "    pathlib.Path('told.part').rename('told')\n"
        )
        monkeypatch.syspath_prepend(str(tmp_path / "path"))
        build.build_in_background()
        folder = cache.chosen_folder()
        assert not (folder / "told").exists()
        (folder / "go").touch()
        wait_for((folder / "told").exists)
        parent, session, niceness = map(int, (folder / "told").read_text().split())
        assert parent != os.getpid()  # nobody waits for it
        assert session != os.getsid(0)
        assert niceness > os.nice(0)

    def test_in_the_background_a_cpu_is_left_to_the_run(self, kernel_folder, quick_build, monkeypatch):
        running, at_once = [], []

        class Counted(build._Compiler):
            def __init__(self, folder, group):
                running.append(group)
                at_once.append(len(running))
                super().__init__(folder, group)

            def install(self):
                running.pop()
                super().install()

        monkeypatch.setattr(build, "_Compiler", Counted)
        monkeypatch.setattr(build, "usable_cpus", lambda: 2)
        build.build_and_note()
        assert at_once == [1, 1]

    def test_a_module_in_the_current_folder_is_not_run(self, kernel_folder, quick_build, tmp_path, monkeypatch):
        (tmp_path / "json.py").write_text("raise SystemExit('hostile')")
        monkeypatch.chdir(tmp_path)
        build.build()


def test_a_worker_imports_numba_without_what_it_does_not_use():
    """And leaves it to others: a hook may need it."""
    pytest.importorskip("scipy")
    code = (
        "import sys\n"
        "from pyptv.kernels.cache import import_numba_alone\n"
        "import_numba_alone()\n"
        "assert 'numba.np.arraymath' in sys.modules and 'scipy.linalg' not in sys.modules\n"
        "import scipy.linalg.cython_blas\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


class TestChoice:
    def test_optv_on_request(self):
        assert choose(Options(engine="optv"), range_of(100_000)).begun == "optv"

    def test_compiled_on_request_compiles_first(self, kernel_folder, quick_build, caplog):
        caplog.set_level(logging.INFO)
        assert choose(Options(engine="compiled"), range_of(1)).begun == "compiled"
        assert cache.ready()
        assert "Compiling the kernels, once for this version and machine" in caplog.text
        caplog.clear()
        assert choose(Options(engine="compiled"), range_of(1)).begun == "compiled"
        assert caplog.text == ""

    def test_auto_compiles_in_the_background(self, kernel_folder, quick_build, monkeypatch, caplog):
        caplog.set_level(logging.INFO)
        monkeypatch.setattr(build, "build_in_background", build.build)  # it does not take long here
        assert choose(Options(), range_of(WORTH_LOADING["both"]), may_compile=False).begun == "optv"
        assert not cache.ready()
        engines = choose(Options(), range_of(WORTH_LOADING["both"]))
        assert engines.begun == engines.taken == "optv"
        assert "Compiling the kernels in the background" in caplog.text
        assert engines.for_sequence() == engines.for_tracking() == engines.taken == "compiled"
        for mode, n in WORTH_LOADING.items():
            assert choose(Options(mode=mode), range_of(n)).begun == "compiled"
            assert choose(Options(mode=mode), range_of(n - 1)).begun == "optv"
            assert choose(Options(mode=mode, n_processes=2), range_of(2 * n - 1)).begun == "optv"

    def test_a_failure_in_the_background_is_told_once(self, kernel_folder, monkeypatch, caplog):
        monkeypatch.setattr(cache, "GROUPS", {"none": ("pyptv.kernels.nowhere",), "tracking": (), "text": ()})

        def fails():
            with pytest.raises(cache.KernelsUnavailableError):
                build.build_and_note()

        monkeypatch.setattr(build, "build_in_background", fails)
        engines = choose(Options(), range_of(100))
        assert not engines.awaited
        assert not engines.awaited
        assert (
            caplog.text.count("Engine optv for the rest of the run: the kernels cannot be compiled here: ModuleNotFoundError")
            == 1
        )
        assert engines.for_sequence() == "optv"

    def test_without_numba(self, monkeypatch, caplog):
        monkeypatch.setattr(engine_choice.cache, "installed", lambda: False)
        assert choose(Options(), range_of(100_000)).begun == "optv"
        assert caplog.text == ""  # nothing is wrong
        message = refusal(choose, Options(engine="compiled"), range_of(1))
        assert message == '--engine compiled: the compiled engine needs numba: pip install "pyptv-batch[fast]"'

    def test_where_nothing_can_be_compiled_optv_does_it_all(self, kernel_folder, caplog):
        kernel_folder.write_text("a file")
        assert choose(Options(), range_of(100)).begun == "optv"
        assert "cannot be created" in caplog.text
        assert "cannot be created" in str(refusal(choose, Options(engine="compiled"), range_of(1)))

    def test_an_unknown_engine(self):
        with pytest.raises(ValueError, match="engine must be one of auto, optv, compiled, got 'warp'"):
            Options(engine="warp")


class TestCommand:
    def test_compile(self, kernel_folder, quick_build, capsys):
        assert command(SEQUENTIAL, ["--compile"]) == 0
        assert cache.ready()
        assert f"Kernels are kept in {cache.chosen_folder()}" in capsys.readouterr().err

    def test_where_that_fails(self, kernel_folder, monkeypatch, capsys):
        monkeypatch.setattr(cache, "GROUPS", {"none": ("pyptv.kernels.nowhere",)})
        assert command(SEQUENTIAL, ["--compile"]) == 2
        assert "--compile: the kernels cannot be compiled here: ModuleNotFoundError" in capsys.readouterr().err

    def test_with_an_experiment(self, capsys):
        with pytest.raises(SystemExit):
            command(SEQUENTIAL, ["EXP", "--compile"])
        assert "--compile processes nothing" in capsys.readouterr().err
