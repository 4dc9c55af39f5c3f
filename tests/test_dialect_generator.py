"""One experiment in random honest spellings: what is read is always the same, and so are the bytes of its results."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import yaml
from conftest import results
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from spellings import HASH, PREFIX, PRINTF, Spelling, move_images, write

from pyptv.core.experiment.folder import Experiment, load_experiment
from pyptv.pyptv_batch import cli
from pyptv.pyptv_batch_parallel import cli as parallel_cli

FRAMES = range(10000, 10006)
N_CAMERAS = 2
FOREIGN = {
    "ptv.tiff_flag": False,
    "ptv.pair_flag": True,
    "ptv.highpass_size": 25,
    "track.stride": 1,
    "track.preset": "full_multipass",
    "targ_rec.remark": "mine",
    "unsharp_mask.flag": False,
    "plugins.selected_sequence": "default",
    "cal_ori.fixp_name": "cal/points.txt",
}


@st.composite
def spellings(draw: st.DrawFn) -> Spelling:
    """Any mixture of what is met in experiments, of which each dialect has its part."""
    dialect = draw(st.sampled_from(["par", "yaml"]))
    in_folder = draw(st.booleans())
    form = draw(st.sampled_from([PRINTF, HASH] if in_folder else [PRINTF, PREFIX, HASH]))
    spelling = Spelling(
        dialect=dialect,
        form=form,
        in_folder=in_folder,
        width=draw(st.sampled_from([0, 7])),
        ending=draw(st.sampled_from(["", ".tif", ".TIFF", ".png"])),
        percent=draw(st.booleans()),
        backslashes=draw(st.booleans()),
        slots=draw(st.integers(0, 2)),
        filler=draw(st.sampled_from(["--", "---", "img/cam9.%d"])),
        newline=draw(st.sampled_from(["\n", "\r\n"])),
        encoding=draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])),
        unused_values=draw(st.booleans()),
    )
    if dialect == "par":
        sets = st.sampled_from(["parameters", "parametersRun2", "parameters - a", "parametersRun1 (1)"])
        trailing = st.sampled_from(["", "  ", "\t"])
        return replace(spelling, parameter_set=draw(sets), trailing=draw(trailing), blank_lines=draw(st.booleans()))
    return replace(
        spelling,
        tabs=draw(st.booleans()),
        numbers_as_text=draw(st.booleans()),
        trailing=draw(st.sampled_from(["", "  "])),
        cameras_key=draw(st.sampled_from(["num_cams", "n_cam", "n_img"])),
        extra_keys={key: FOREIGN[key] for key in draw(st.sets(st.sampled_from(sorted(FOREIGN)), max_size=4))},
    )


@pytest.fixture(scope="module")
def original(_experiments) -> Path:
    return _experiments(n_cameras=N_CAMERAS)


def tree_of(original: Path) -> dict[str, Any]:
    return yaml.safe_load((original / "parameters_synthetic.yaml").read_text())


def images_of(experiment: Experiment) -> list[Path]:
    return [experiment.image_path(camera, frame) for camera in range(N_CAMERAS) for frame in FRAMES]


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(spelling=spellings())
def test_every_spelling_means_the_same(spelling, original):
    expected = load_experiment(original / "parameters")
    with TemporaryDirectory() as made:
        folder = Path(made).resolve() / "experiment"
        shutil.copytree(original / "cal", folder / "cal")
        for camera in range(1, N_CAMERAS + 1):
            for frame in FRAMES:
                path = folder / spelling.image(camera, frame)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.touch()
        experiment = load_experiment(write(folder, tree_of(original), spelling))
        assert experiment.folder == folder
        assert all(path.exists() for path in images_of(experiment))
        for camera in range(N_CAMERAS):
            path = experiment.targets_path(camera, FRAMES[0])
            assert path.relative_to(folder).as_posix() == spelling.targets(camera + 1, FRAMES[0])
    assert experiment.calibrations == expected.calibrations
    mine, theirs = (parameters.as_tree() for parameters in (experiment.parameters, expected.parameters))
    for other in (mine, theirs):  # names were compared as files; what follows is not used
        del (
            other["sequence"]["base_name"],
            other["ptv"]["hp_flag"],
            other["targ_rec"]["cr_sz"],
            other["masking"]["mask_base_name"],
        )
    assert mine == theirs


WHOLE_RUNS = [
    Spelling(dialect="par", form=PREFIX, ending="", slots=2, encoding="utf-16", newline="\r\n", unused_values=True),
    Spelling(dialect="par", form=PREFIX, width=7, parameter_set="parameters - a", trailing="\t", blank_lines=True),
    Spelling(dialect="yaml", form=HASH, in_folder=True, percent=True, tabs=True, numbers_as_text=True, cameras_key="n_cam"),
    Spelling(dialect="yaml", backslashes=True, slots=2, encoding="utf-8-sig", unused_values=True, extra_keys=dict(FOREIGN)),
]


@pytest.fixture(scope="module")
def plain(original, tmp_path_factory) -> dict[str, bytes]:
    """The results of the experiment as it was made."""
    folder = tmp_path_factory.mktemp("plain") / "experiment"
    shutil.copytree(original, folder)
    assert cli([str(folder), "--no-progress"]) == 0
    return results(folder)


@pytest.mark.parametrize("entry", [[cli], [parallel_cli, "10000", "10005", "2"]], ids=["serial", "parallel"])
@pytest.mark.parametrize("spelling", WHOLE_RUNS, ids=["prefix", "set", "folders", "windows"])
def test_whole_runs_give_the_same_bytes(spelling, entry, original, plain, tmp_path):
    folder = tmp_path / "experiment"
    shutil.copytree(original, folder)
    shutil.rmtree(folder / "parameters")
    (folder / "parameters_synthetic.yaml").unlink()
    move_images(folder, N_CAMERAS, FRAMES, spelling)
    command, *words = entry
    assert command([str(write(folder, tree_of(original), spelling)), *words, "--no-progress"]) == 0
    made = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.glob("res/*.1000*")}
    names = {(camera, frame): spelling.targets(camera, frame) for camera in range(1, N_CAMERAS + 1) for frame in FRAMES}
    made |= {f"img/cam{camera}.{frame}_targets": (folder / name).read_bytes() for (camera, frame), name in names.items()}
    assert made == plain
