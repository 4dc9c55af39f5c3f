"""``--mode match``: the sequence step from stored targets."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import refusal, results

from pyptv.core.files.formats import PARTICLES, TARGETS
from pyptv.pyptv_batch import main
from pyptv.pyptv_batch_parallel import main as parallel_main

Make = Callable[..., Path]


def particles(folder: Path) -> dict[str, int]:
    return {path.name: len(PARTICLES.read(path)) for path in sorted((folder / "res").glob("rt_is.*"))}


def places(folder: Path) -> dict[str, list[tuple[float, ...]]]:
    """Everything of the targets but the particle."""
    return {path.name: [row[:7] for row in TARGETS.read(path).tolist()] for path in sorted((folder / "img").glob("*_targets"))}


def test_without_images_with_other_parameters(small_experiment: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = small_experiment(dialect="yaml")
    main(folder, mode="sequence", engine="optv")
    found, targets = particles(folder), places(folder)
    for image in (folder / "img").glob("*.tif"):
        image.unlink()
    main(folder, mode="match", engine="optv")
    assert particles(folder) == found
    assert places(folder) == targets
    again = results(folder)
    parallel_main(folder, mode="match", n_processes=2, engine="optv")
    assert results(folder) == again
    caplog.set_level("INFO", "pyptv")
    main(folder, mode="match", engine="optv", resume=True)
    assert "Resumed: 6 frames" in caplog.text

    narrow = folder / "narrow.yaml"
    narrow.write_text((folder / "parameters_synthetic.yaml").read_text().replace("eps0: ", "eps0: 0.001 # "))
    main(narrow, mode="match", engine="optv", output=tmp_path / "study")
    assert particles(tmp_path / "study") != found
    assert results(folder) == again
    assert "Cannot resume" in (refusal(lambda: main(narrow, mode="match", engine="optv", resume=True)) or "")


def test_targets_of_an_output_folder(small_experiment: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Those that were found there count; copies of the experiment's do not, for these may have changed since."""
    caplog.set_level("INFO", "pyptv")
    folder, output = small_experiment(), tmp_path / "output"
    main(folder, mode="sequence", engine="optv", output=output)
    main(output, mode="match", engine="optv")
    assert f"Targets: those stored in {output}" in caplog.text
    caplog.clear()
    main(output, mode="match", engine="optv")
    assert f"Targets: those stored in {output}" in caplog.text
    caplog.clear()
    main(folder, mode="sequence", engine="optv")
    shutil.rmtree(output)
    for _ in range(2):
        main(folder, mode="match", engine="optv", output=output)
        assert f"Targets: those stored in {folder}" in caplog.text
        assert particles(output) == particles(folder)


def test_nothing_is_stored(small_experiment: Make) -> None:
    said = refusal(lambda: main(small_experiment(), mode="match"))
    assert said is not None
    assert "lack a file" in said
    assert "Run the sequence step first: --mode match reads the targets that it stores" in said
