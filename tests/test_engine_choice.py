"""Which engine a run takes, and where the compiled kernels are kept."""

from __future__ import annotations

import errno
import logging
import os
import shutil
import sys
import time
from importlib.metadata import version

import pytest
from conftest import refusal

from pyptv import __version__
from pyptv.core.base.options import Options
from pyptv.core.engines import choice as engine_choice
from pyptv.core.engines.choice import WORTH_COMPILING, WORTH_LOADING, choose
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
    monkeypatch.setattr(cache, "GROUPS", {"none": ("pyptv.kernels.cache",)})


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
        with pytest.raises(cache.KernelsUnavailableError, match=r"cannot be made .*: set PYPTV_KERNEL_CACHE to a folder"):
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

    @pytest.mark.parametrize("spoil", [lambda path: path.unlink(), lambda path: path.write_bytes(b"cut")], ids=["gone", "cut"])
    def test_damaged_ones_are_compiled_again(self, kernel_folder, monkeypatch, spoil):
        """As a full disk or a power cut leaves them."""
        monkeypatch.setattr(cache, "GROUPS", {"text": ("pyptv.kernels.text",)})
        build.build()
        assert cache.ready()
        code, *_ = cache.chosen_folder().rglob("*.nbc")
        spoil(code)
        assert not cache.ready()
        build.build()
        assert cache.ready()

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
        with pytest.raises(cache.KernelsUnavailableError, match="the kernels cannot be kept here: No space left on device"):
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

    def test_a_module_in_the_current_folder_is_not_run(self, kernel_folder, quick_build, tmp_path, monkeypatch):
        (tmp_path / "json.py").write_text("raise SystemExit('hostile')")
        monkeypatch.chdir(tmp_path)
        build.build()


class TestChoice:
    def test_optv_on_request(self):
        assert choose(Options(engine="optv"), range_of(100_000)) == "optv"

    def test_compiled_on_request_compiles_first(self, kernel_folder, quick_build, caplog):
        caplog.set_level(logging.INFO)
        assert choose(Options(engine="compiled"), range_of(1)) == "compiled"
        assert cache.ready()
        assert "Compiling the kernels, once for this version and machine" in caplog.text
        caplog.clear()
        assert choose(Options(engine="compiled"), range_of(1)) == "compiled"
        assert caplog.text == ""

    def test_auto_takes_what_pays(self, kernel_folder, quick_build, caplog):
        caplog.set_level(logging.INFO)
        assert choose(Options(), range_of(WORTH_COMPILING - 1)) == "optv"
        assert "the kernels are not compiled on this machine yet" in caplog.text
        assert not cache.ready()
        assert choose(Options(), range_of(WORTH_COMPILING)) == "compiled"
        assert cache.ready()
        for mode, n in WORTH_LOADING.items():
            assert choose(Options(mode=mode), range_of(n)) == "compiled"
            assert choose(Options(mode=mode), range_of(n - 1)) == "optv"
            assert choose(Options(mode=mode, n_processes=2), range_of(2 * n - 1)) == "optv"

    def test_without_numba(self, monkeypatch, caplog):
        monkeypatch.setattr(engine_choice.cache, "installed", lambda: False)
        assert choose(Options(), range_of(100_000)) == "optv"
        assert caplog.text == ""  # nothing is wrong
        message = refusal(choose, Options(engine="compiled"), range_of(1))
        assert message == '--engine compiled: the compiled engine needs numba: pip install "pyptv-batch[fast]"'

    def test_where_compiling_fails_optv_takes_over(self, kernel_folder, monkeypatch, caplog):
        monkeypatch.setattr(cache, "GROUPS", {"none": ("pyptv.kernels.nowhere",)})
        assert choose(Options(), range_of(WORTH_COMPILING)) == "optv"
        assert "Engine optv: the kernels cannot be compiled here" in caplog.text
        assert "cannot be compiled here" in str(refusal(choose, Options(engine="compiled"), range_of(1)))

    def test_an_unknown_engine(self):
        with pytest.raises(ValueError, match="engine must be one of auto, optv, compiled, got 'warp'"):
            Options(engine="warp")
