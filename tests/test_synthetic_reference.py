"""PyPTV's bytes on synthetic experiments: needs no real data. ``tests/data/make_reference.py`` has made the digests."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from conftest import results
from data.make_reference import FRAMES, SYNTHETIC, comparable, image_digests, make_synthetic

from pyptv.pyptv_batch import main
from pyptv.pyptv_batch_parallel import main as parallel_main

REFERENCE = json.loads((Path(__file__).parent / "data" / "reference_synthetic.json").read_text(encoding="ascii"))


@pytest.fixture(scope="module", params=SYNTHETIC)
def made(request, tmp_path_factory):
    """A synthetic experiment, and the digests of what PyPTV makes of it."""
    folder = tmp_path_factory.mktemp("synthetic") / "experiment"
    make_synthetic(folder, request.param)
    assert image_digests(folder) == REFERENCE[request.param]["images"], "other images: their results cannot be compared"
    return folder, REFERENCE[request.param], SYNTHETIC[request.param].get("n_cameras", 4)


@pytest.fixture
def folder(made, tmp_path):
    return Path(shutil.copytree(made[0], tmp_path / "experiment"))


@pytest.mark.parametrize("engine", ["optv", "compiled"])
class TestBytes:
    def test_step_by_step(self, made, folder, engine):
        """And once more from the tracked results, as PyPTV does it: without what this program keeps from before tracking."""
        _, reference, n_cameras = made
        main(folder, *FRAMES, mode="sequence", engine=engine)
        assert comparable(results(folder), n_cameras) == reference["sequence"]
        main(folder, *FRAMES, mode="tracking", engine=engine)
        assert comparable(results(folder), n_cameras) == reference["tracking"]
        shutil.rmtree(folder / "res" / ".pyptv")
        main(folder, *FRAMES, mode="tracking", engine=engine)
        assert comparable(results(folder), n_cameras) == reference["tracking again"]

    def test_parallel(self, made, folder, engine):
        parallel_main(folder, *FRAMES, n_processes=2, engine=engine)
        assert comparable(results(folder), made[2]) == made[1]["tracking"]
