"""The experiment folder: which parameters count, what is missing, where everything lies."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from conftest import refusal

from pyptv.core.base.errors import InvalidExperimentError
from pyptv.core.experiment.folder import load_experiment, validate_experiment_directory

YAML = "parameters_synthetic.yaml"


@pytest.fixture
def folder(small_experiment):
    return small_experiment()


@pytest.fixture
def yaml_folder(small_experiment):
    return small_experiment(dialect="yaml")


class TestChoice:
    def test_a_yaml_file_counts_before_par_files(self, small_experiment):
        folder = small_experiment(dialect="both")
        assert load_experiment(folder).source == folder / YAML
        assert load_experiment(folder).notes == ()
        assert load_experiment(folder / "parameters").source == folder / "parameters" / "ptv.par"
        assert load_experiment(folder / "parameters").folder == folder

    def test_par_files_count_where_no_yaml_file_is_meant_as_parameters(self, folder):
        (folder / "notes.yml").write_text("shopping: [milk]")
        (folder / "broken.yaml").write_text("a: [")
        experiment = load_experiment(folder)
        assert experiment.source == folder / "parameters" / "ptv.par"
        assert experiment.num_cams == 4

    def test_a_broken_yaml_file_is_not_passed_over_for_par_files(self, folder):
        """Somebody edits it, and must not get what was before."""
        (folder / YAML).write_text("a: [")
        assert refusal(load_experiment, folder).startswith(f"{folder / YAML}, line 2: not valid YAML")

    def test_else_its_only_yaml_file(self, yaml_folder):
        (yaml_folder / "notes.yml").write_text("shopping: [milk]")
        (yaml_folder / "broken.yaml").write_text("a: [")
        assert load_experiment(yaml_folder).source == yaml_folder / YAML

    def test_several_yaml_files_are_listed(self, yaml_folder):
        other = yaml_folder / "other.yml"
        other.write_text((yaml_folder / YAML).read_text().replace("last: 10005", "last: 10002"))
        assert refusal(load_experiment, yaml_folder) == (
            f"{yaml_folder}: several parameter files: other.yml (frames 10000 to 10002), {YAML} (frames 10000 to 10005). "
            "Name one of them instead of the folder"
        )
        assert load_experiment(other).source == other

    def test_a_yaml_file_by_name(self, small_experiment):
        folder = small_experiment(dialect="both")
        experiment = load_experiment(folder / YAML)
        assert experiment.folder == folder
        assert experiment.source == folder / YAML
        assert experiment.parameters == load_experiment(folder / "parameters").parameters

    def test_a_yaml_file_that_lacks_sections(self, folder):
        (folder / "x.yaml").write_text("num_cams: 4\nptv: {}\n")
        assert refusal(load_experiment, folder / "x.yaml") == (
            f"{folder / 'x.yaml'}: sections missing: sequence, criteria, targ_rec, track"
        )

    def test_only_broken_yaml_files(self, folder):
        shutil.rmtree(folder / "parameters")
        (folder / YAML).write_text("a: [")
        assert refusal(load_experiment, folder).startswith(f"{folder / YAML}, line 2: not valid YAML")

    def test_neither(self, folder):
        shutil.rmtree(folder / "parameters")
        (folder / "x.yaml").write_text("a: 1")
        assert refusal(load_experiment, folder).startswith(f"{folder}: no parameters/ptv.par, and no YAML file with the sections")

    def test_a_relative_path_becomes_absolute(self, folder, monkeypatch):
        monkeypatch.chdir(folder.parent)
        assert load_experiment("experiment").folder == folder


class TestMissing:
    def test_nothing(self, tmp_path):
        path = tmp_path / "none"
        for check in (validate_experiment_directory, load_experiment):
            assert refusal(check, path) == f"Experiment directory does not exist: {path}"

    def test_an_empty_folder(self, tmp_path):
        for check in (validate_experiment_directory, load_experiment):
            assert refusal(check, tmp_path) == f"Missing required directories in {tmp_path}: img, cal"

    def test_no_parameters(self, tmp_path):
        (tmp_path / "img").mkdir()
        (tmp_path / "cal").mkdir()
        message = f"Required file not found: {tmp_path / 'parameters' / 'ptv.par'} (nor a YAML parameter file)"
        assert refusal(validate_experiment_directory, tmp_path) == message
        assert refusal(load_experiment, tmp_path) == message

    def test_a_file_where_a_folder_should_be(self, folder):
        shutil.rmtree(folder / "img")
        (folder / "img").write_text("")
        assert refusal(validate_experiment_directory, folder) == f"Missing required directories in {folder}: img"

    def test_the_directories_are_those_of_the_parameters(self, folder):
        (folder / "img").rename(folder / "pictures")
        path = folder / "parameters" / "sequence.par"
        path.write_text(path.read_text().replace("img/", "pictures/"))
        validate_experiment_directory(folder)
        (folder / "pictures").rename(folder / "img")
        assert refusal(validate_experiment_directory, folder) == f"Missing required directories in {folder}: pictures"

    @pytest.mark.parametrize("path", ["x" * 300, "x\0y", "x/" * 3000], ids=["long name", "zero byte", "long path"])
    def test_impossible_paths(self, path):
        for check in (validate_experiment_directory, load_experiment):
            assert refusal(check, path).startswith("Experiment directory does not exist: ")

    def test_impossible_names_in_the_parameters(self, folder):
        path = folder / "parameters" / "sequence.par"
        path.write_text(path.read_text().replace("img/", "i" * 300 + "/"))
        assert refusal(load_experiment, folder) == f"Missing required directories in {folder}: {'i' * 300}"

    def test_neither_folder_nor_yaml(self, folder):
        path = folder / "parameters" / "ptv.par"
        assert (
            refusal(load_experiment, path)
            == f"Path is not a directory and not a YAML file (.yaml, .yml): {path}. Name the folder {path.parent}"
        )

    def test_all_broken_calibrations_are_listed(self, folder):
        (folder / "cal" / "cam2.tif.ori").unlink()
        (folder / "cal" / "cam4.tif.addpar").write_text("1 2 nan")
        with pytest.raises(InvalidExperimentError) as caught:
            load_experiment(folder)
        assert len(caught.value.problems) == 2
        assert "cam2.tif.ori: calibration cannot be read" in caught.value.problems[0]
        assert "cam4.tif.addpar: found 3 values, expected 7" in caught.value.problems[1]


class TestPlaces:
    def test_of_a_frame(self, folder):
        experiment = load_experiment(folder)
        assert experiment.image_path(0, 10000) == folder / "img" / "cam1.10000.tif"
        assert experiment.targets_path(3, 7) == folder / "img" / "cam4.0007_targets"
        assert experiment.result_path("ptv_is", 7) == folder / "res" / "ptv_is.7"
        assert experiment.images_per_frame == 4

    def test_the_marker_of_a_whole_frame_is_written_last(self, folder):
        files = load_experiment(folder).sequence_files(3)
        assert list(files) == ["targets1", "targets2", "targets3", "targets4", "rt_is"]

    def test_a_camera_with_a_folder_of_its_own(self, folder):
        path = folder / "parameters" / "sequence.par"
        (folder / "second").mkdir()
        path.write_text(path.read_text().replace("img/cam2", "second/b"))
        experiment = load_experiment(folder)
        assert experiment.image_path(1, 5) == folder / "second" / "b.5.tif"
        assert experiment.targets_path(1, 5) == folder / "second" / "cam2.0005_targets"

    def test_a_split_image(self, small_experiment):
        folder = small_experiment(splitter=True)
        experiment = load_experiment(folder)
        assert experiment.images_per_frame == 1
        assert experiment.targets_path(3, 7) == folder / "img" / "cam4.0007_targets"

    def test_masks_count_cameras_from_one(self, small_experiment):
        folder = small_experiment(mask=True)
        assert load_experiment(folder).mask_path(0) == folder / "img" / "mask1.tif"

    def test_the_real_one_has_images_without_an_extension(self, shared):
        folder = shared / "data" / "test_cavity"
        for source in (folder, folder / "parameters_Run1.yaml"):
            experiment = load_experiment(source)
            assert experiment.image_path(2, 10003) == Path(folder / "img" / "cam3.10003")
