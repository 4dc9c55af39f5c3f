"""One frame: what is made of it, what is said while it is made, and what it says where it cannot be made."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from pyptv.core.base.errors import FrameError
from pyptv.core.experiment.folder import load_experiment
from pyptv.core.files.formats import PARTICLES, TARGETS
from pyptv.core.images.grey_values import decide
from pyptv.core.stages.frames import FramePipeline

FRAME = 10_000


@pytest.fixture
def make(small_experiment):
    """Pipelines of synthetic experiments."""

    def make(announce=None, **options):
        folder = small_experiment(**options)
        experiment = load_experiment(folder)
        arguments = () if announce is None else (announce,)
        return folder, FramePipeline(experiment, decide(experiment).settings, *arguments)

    return make


def test_the_files_of_a_frame(make):
    folder, pipeline = make()
    before = sorted(folder.rglob("*"))
    result = pipeline.process(FRAME)
    files = result.files()
    assert list(files) == ["targets1", "targets2", "targets3", "targets4", "rt_is"]
    assert len(PARTICLES.parse(files["rt_is"], "rt_is")) == sum(result.matches.counts) > 20
    assert all(len(TARGETS.parse(files[f"targets{n}"], "")) > 20 for n in (1, 2, 3, 4))
    assert not result.empty
    assert len(result.images) == 4
    assert set(result.seconds) == {"read", "high-pass", "detect", "match"}
    assert sorted(folder.rglob("*")) == before  # nothing is written here


def test_a_frame_depends_on_nothing_before_it(make):
    _, pipeline = make()
    alone = pipeline.process(FRAME + 3).files()
    _ = pipeline.process(FRAME)
    assert pipeline.process(FRAME + 3).files() == alone


def test_what_it_does_is_announced_before_it_is_done(make):
    said = []
    _, pipeline = make(lambda frame, what: said.append((frame, what)))
    pipeline.process(FRAME)
    assert said[:3] == [
        (FRAME, "reading cam1.10000.tif"),
        (FRAME, "detecting targets in camera 1"),
        (FRAME, "reading cam2.10000.tif"),
    ]
    assert said[-1] == (FRAME, "finding correspondences and positions")
    assert len(said) == 9


def test_a_risk_is_announced_with_it(make):
    said = []
    folder, pipeline = make(lambda _frame, what: said.append(what))
    image = np.zeros((256, 320), np.uint8)
    image[::2, ::2] = 255
    Image.fromarray(image).save(folder / "img" / f"cam2.{FRAME}.tif")
    pipeline.process(FRAME)
    assert any("detecting targets in camera 2 (" in what and "px above the threshold" in what for what in said)


def test_black_images_give_an_empty_frame(make):
    folder, pipeline = make()
    for camera in (1, 2, 3, 4):
        Image.new("L", (320, 256)).save(folder / "img" / f"cam{camera}.{FRAME}.tif")
    result = pipeline.process(FRAME)
    assert result.empty
    assert set(result.files().values()) == {b"0\n"}


def test_an_error_names_frame_camera_and_file(make):
    folder, pipeline = make()
    path = folder / "img" / f"cam3.{FRAME + 1}.tif"
    path.write_bytes(b"")
    with pytest.raises(FrameError, match=rf"^frame 10001, camera 3: {path}: the file is empty$"):
        pipeline.process(FRAME + 1)


def test_an_error_in_a_targets_file(make):
    folder, pipeline = make(images=False)
    path = folder / "img" / f"cam2.{FRAME + 1}_targets"
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(FrameError, match=rf"^frame 10001, camera 2: {path}, line 1: \d+ rows announced"):
        pipeline.process(FRAME + 1)


def test_a_mask_takes_the_static_reflections_away(make):
    _, plain = make()
    folder, masked = make(name="masked", mask=True)
    assert masked.process(FRAME).matches.counts[0] > 20
    path = folder / "parameters_synthetic.yaml"
    path.write_text(path.read_text().replace("mask_flag: true", "mask_flag: false"))
    experiment = load_experiment(folder)
    without = FramePipeline(experiment, decide(experiment).settings)
    assert len(without.process(FRAME).matches.targets[0]) > len(masked.process(FRAME).matches.targets[0])
    assert plain.process(FRAME).matches.counts[0] > 20


def test_negative_images_give_the_same_particles(make):
    _, negative = make(negative=True)
    assert negative.process(FRAME).matches.counts[0] > 20
