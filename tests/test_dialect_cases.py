"""The folders that people have: one good experiment, and a table of what may be odd about it and what must come out.

Each row is tried in both dialects through the command line, where both can say it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import results
from spellings import HASH, PREFIX, YAML_NAME, Spelling, move_images, write

from pyptv.pyptv_batch import cli

FRAMES = range(10000, 10006)
PAR, YAML = "par", "yaml"


@dataclass(frozen=True)
class Case:
    """A row of the table."""

    name: str
    change: Callable[[dict[str, Any]], Any] = lambda tree: None
    """Changes the parameters before they are written."""
    after: Callable[[Path], Any] = lambda folder: None
    """Changes the folder after that."""
    spelling: dict[str, Any] = field(default_factory=dict)
    keep_names: bool = False
    """The names of images are those that ``change`` has made."""
    arguments: tuple[str, ...] = ()
    code: int = 0
    says: tuple[str, ...] = ()
    """What must be said, in both dialects; ``{exp}`` is the folder."""
    par: str = ""
    """What must be said of .par files."""
    yaml: str = ""
    problems: int | None = None
    """How many problems are listed."""
    dialects: tuple[str, ...] = (PAR, YAML)


def put(section: str, key: str, value: Any, item: int | None = None) -> Callable[[dict[str, Any]], None]:
    """Replaces a value, or an item of a list (from 0)."""

    def change(tree: dict[str, Any]) -> None:
        if item is None:
            tree[section][key] = value
        else:
            tree[section][key][item] = value

    return change


def both(*changes: Callable[[Any], Any]) -> Callable[[Any], None]:
    def change(thing: Any) -> None:
        for each in changes:
            each(thing)

    return change


def remove(*names: str) -> Callable[[Path], None]:
    return lambda folder: [(folder / name).unlink() for name in names]


def rename(before: str, after: str) -> Callable[[Path], Any]:
    return lambda folder: (folder / before).rename(folder / after)


def edit(name: str, edited: Callable[[list[str]], list[str]]) -> Callable[[Path], None]:
    """Edits the lines of a file in ``parameters/``."""

    def change(folder: Path) -> None:
        path = folder / "parameters" / name
        path.write_text("\n".join(edited(path.read_text().splitlines())) + "\n")

    return change


def wedge(tree: dict[str, Any]) -> None:
    tree["criteria"]["Zmin_lay"][1] = tree["criteria"]["Zmax_lay"][1]


def existing_targets(folder: Path) -> None:
    for camera in range(1, 5):
        for frame in FRAMES:
            (folder / f"img/cam{camera}.{frame}_targets").write_text("0\n")


ACCEPTED = [
    Case("as it is", says=("Cameras      4, 320 x 256 px",)),
    Case("a bare prefix", spelling={"form": PREFIX, "ending": ""}),
    Case("a bare prefix, zeros and an ending that only the files tell", spelling={"form": PREFIX, "width": 8}),
    Case("# for the number", spelling={"form": HASH}),
    Case("a folder for each frame", spelling={"in_folder": True}),
    Case("eight slots", spelling={"slots": 4, "filler": "--"}),
    Case(
        "three cameras, the fourth named and with a threshold of -999",
        lambda tree: tree.update(num_cams=3),
        spelling={"slots": 1, "filler": "img/cam4.%d", "unused_values": True},
        says=("Cameras      3",),
    ),
    Case(
        "existing targets: thresholds and limits are not used",
        both(put("pft_version", "Existing_Target", True), put("targ_rec", "gvthres", -999, 3), put("targ_rec", "nnmin", 10**6)),
        existing_targets,
    ),
    Case(
        "a wedge",
        wedge,
        says=("the measuring volume is a wedge: at x = ",),
        par="criteria.par, line 5 (Zmin_lay, item 2)",
        yaml="criteria.Zmin_lay, item 2",
    ),
    Case("UTF-16 and Windows line ends", spelling={"encoding": "utf-16", "newline": "\r\n"}),
    Case("backslashes", spelling={"backslashes": True}),
    Case("numbers as text, tabs", spelling={"numbers_as_text": True, "tabs": True}, dialects=(YAML,)),
    Case("n_cam", spelling={"cameras_key": "n_cam"}, dialects=(YAML,)),
    Case("a switched-off mask", spelling={"unused_values": True}, dialects=(YAML,)),
    Case(
        "a plugin",
        lambda tree: tree.update(plugins={"selected_sequence": "mine"}),
        says=("plugins.selected_sequence: found the plugin 'mine'; it runs only with --allow-plugins",),
        dialects=(YAML,),
    ),
    Case(
        "unknown keys",
        both(put("track", "dvxmx", 3), put("ptv", "remark", "x")),
        says=(f"{{exp}}/{YAML_NAME}: unknown keys, which are not used: ptv.remark, track.dvxmx (similar: dvxmax)",),
        dialects=(YAML,),
    ),
    Case(
        "three thousand unknown keys",
        lambda tree: tree["track"].update({f"key{number}": 0 for number in range(3000)}),
        says=("track.key0, track.key1, ", "track.key9 and 2990 more"),
        dialects=(YAML,),
    ),
    Case(
        "keys of openptv2",
        both(put("ptv", "highpass_size", 11), put("track", "stride", 2), put("track", "postprocess", False)),
        says=(
            "openptv2 would give other results with these keys, which are not used here: ptv.highpass_size 11 (",
            "here that is 25 px); track.stride 2 (",
        ),
        dialects=(YAML,),
    ),
    Case("the number of cameras before the names", after=edit("sequence.par", lambda lines: ["4", *lines]), dialects=(PAR,)),
    Case("calibrations in capital letters", after=rename("cal/cam2.tif.addpar", "cal/cam2.TIF.addpar")),
    Case("the name of the .ori in place of the image", put("ptv", "img_cal", "cal/cam2.tif.ori", 1)),
    Case(
        "a missing image that may be skipped",
        after=remove("img/cam2.10003.tif"),
        arguments=("--on-error", "skip"),
        says=("1 frame (10003) lacks a file",),
    ),
    Case(
        "a first image without a byte that may be skipped",
        after=lambda folder: (folder / "img/cam1.10000.tif").write_bytes(b""),
        arguments=("--on-error", "skip"),
        says=("img/cam1.10000.tif: the file is empty",),
    ),
]

REFUSED = [
    Case(
        "a name without images, which is not the first",
        put("sequence", "base_name", "img/cam3.tif", 2),
        keep_names=True,
        says=(
            "read as img/cam3.tif%d, and no such image is there. img holds cam3.10000.tif to cam3.10005.tif (6 files)",
            "write img/cam3.%d.tif",
        ),
        par="sequence.par, line 3 (base_name, item 3)",
        yaml="sequence.base_name, item 3",
        problems=1,
    ),
    Case(
        "no images at all: one cause, one message",
        after=lambda folder: [path.rename(path.with_suffix(".raw")) for path in folder.glob("img/*")],
        says=("no such image is there, nor those of 3 more cameras. img holds no image with a number in its name",),
        par="sequence.par, line 1 (base_name, item 1)",
        yaml="sequence.base_name, item 1",
        problems=1,
    ),
    Case(
        "a placeholder for a camera that is there",
        put("sequence", "base_name", "---", 1),
        keep_names=True,
        says=("found '---', expected the name of the camera's images",),
        par="sequence.par, line 2 (base_name, item 2)",
        yaml="sequence.base_name, item 2",
        problems=1,
    ),
    Case(
        "a percent sign alone",
        put("sequence", "base_name", "img 50%/cam4.%d", 3),
        keep_names=True,
        says=("expected %d or %05d for the frame number, and %% for a percent sign",),
        problems=1,
    ),
    Case(
        "a threshold of a camera that is there",
        put("targ_rec", "gvthres", 300, 1),
        says=("found", "expected at most 255: grey value threshold of each camera"),
        par="targ_rec.par, line 2 (gvthres, item 2)",
        yaml="targ_rec.gvthres, item 2",
        problems=1,
    ),
    Case(
        "Zmin above Zmax",
        put("criteria", "Zmin_lay", 500, 1),
        says=("found Zmin_lay 500.0 and Zmax_lay",),
        par="criteria.par, line 5 (Zmin_lay, item 2)",
        yaml="criteria.Zmin_lay, item 2",
        problems=1,
    ),
    Case(
        "a flat volume",
        lambda tree: put("criteria", "Zmin_lay", list(tree["criteria"]["Zmax_lay"]))(tree),
        says=("expected Zmin_lay < Zmax_lay",),
        problems=2,
    ),
    Case(
        "a missing calibration and a missing image",
        after=remove("cal/cam2.tif.ori", "img/cam4.10002.tif"),
        says=(
            "cal/cam2.tif.ori: calibration cannot be read: No such file",
            "1 frame (10002) lacks a file",
            "images of frames 10000-10001, 10003-10005",
        ),
        problems=2,
    ),
    Case(
        "a calibration by another name",
        after=rename("cal/cam2.tif.ori", "cal/cam2.ori"),
        says=("(similar: cam2.ori",),
        problems=1,
    ),
    Case(
        "a folder by another name",
        after=rename("img", "img_2"),
        says=("Missing required directories in {exp}: img (similar: img_2)",),
        problems=1,
    ),
    Case(
        "a folder whose name is too long",
        put("sequence", "base_name", [f"{'i' * 300}/cam{camera}.%d" for camera in (1, 2, 3, 4)]),
        keep_names=True,
        says=(f"Missing required directories in {{exp}}: {'i' * 300}",),
        problems=1,
    ),
    Case(
        "frames that are not there",
        arguments=("20000", "20001"),
        says=("2 frames (20000-20001) lack a file", "All cameras have images of frames 10000-10005"),
        problems=1,
    ),
    Case(
        "names of fewer cameras than there are",
        after=edit("ptv.par", lambda lines: [*lines[:5], *lines[9:]]),
        says=("ptv.par, line 6: found the names of 2 cameras, expected those of 4, as {exp}/parameters/ptv.par, line 1 says",),
        problems=1,
        dialects=(PAR,),
    ),
    Case(
        "several files are wrong",
        after=both(lambda folder: (folder / "parameters/track.par").unlink(), edit("criteria.par", lambda lines: lines[:-1])),
        says=("Required file not found: {exp}/parameters/track.par", "criteria.par: found 11 values, expected 12"),
        problems=2,
        dialects=(PAR,),
    ),
    Case(
        "a section by another name",
        lambda tree: tree.update(tracking=tree.pop("track")),
        says=("sections missing: track (similar: tracking)",),
        problems=1,
        dialects=(YAML,),
    ),
    Case(
        "existing targets that are not there",
        put("pft_version", "Existing_Target", 1),
        says=(
            "6 frames (10000-10005) lack a file: {exp}/img/cam1.10000_targets",
            "Existing_Target requires them: set it to 0",
        ),
        problems=1,
    ),
    Case(
        "existing targets that another program has called otherwise",
        put("pft_version", "Existing_Target", 1),
        lambda folder: (folder / "img" / "cam1.#10000_targets").write_text("0\n"),
        says=(". {exp}/img holds cam1.#*_targets of frames 10000",),
        problems=1,
    ),
    Case(
        "no folder of images, and a slip in the last frame",
        after=rename("img", "pictures"),
        arguments=("10000", "99999999999"),
        says=("Missing required directories in {exp}: img", "not enough for the results of this range"),
        problems=2,
    ),
    Case("tracking without a sequence step", arguments=("--mode", "tracking"), says=("Run the sequence step first",), problems=1),
]


@pytest.fixture
def build(small_experiment, tmp_path) -> Callable[..., Path]:
    """Makes the experiment of a row; returns what to name."""

    def make(case: Case, dialect: str, name: str = "exp") -> Path:
        folder = small_experiment(name, dialect="both")
        source = folder / "parameters_synthetic.yaml"
        tree = yaml.safe_load(source.read_text())
        source.unlink()
        shutil.rmtree(folder / "parameters")
        case.change(tree)
        spelling = Spelling(dialect=dialect, **case.spelling)
        named = write(folder, tree, spelling, keep_names=case.keep_names)
        move_images(folder, 4, FRAMES, spelling)
        case.after(folder)
        return named

    return make


def rows(cases: list[Case]) -> list[Any]:
    return [pytest.param(case, dialect, id=f"{case.name}-{dialect}") for case in cases for dialect in case.dialects]


@pytest.mark.parametrize(("case", "dialect"), rows(ACCEPTED))
def test_accepted(case, dialect, build, tmp_path, capsys):
    named = build(case, dialect)
    code = cli([str(named), *case.arguments, "--check"])
    out = capsys.readouterr().out
    assert out.endswith("The run can start.\n"), out
    assert code == 0
    for text in (*case.says, case.par if dialect == PAR else case.yaml):
        assert text.format(exp=tmp_path / "exp") in out


@pytest.mark.parametrize(("case", "dialect"), rows(REFUSED))
def test_refused(case, dialect, build, tmp_path, capsys):
    named = build(case, dialect)
    before = results(tmp_path / "exp")
    code = cli([str(named), *case.arguments, "--check"])
    out = capsys.readouterr().out
    assert out.endswith("The run would not start.\n")
    for text in (*case.says, case.par if dialect == PAR else case.yaml):
        assert text.format(exp=tmp_path / "exp") in out
    assert out.partition("Problems:\n")[2].count("\n  - ") + 1 == case.problems, out
    assert (code, cli([str(named), *case.arguments, "--no-progress"])) == (2, 2)
    assert results(tmp_path / "exp") == before
    assert not (tmp_path / "exp" / "res" / ".pyptv" / "journal.jsonl").exists()


class TestWhatIsNamed:
    """EXP itself: a set, a file, and what people name by mistake."""

    @pytest.fixture
    def refused(self, capsys) -> Callable[[Path], str]:
        def message(path: Path) -> str:
            assert cli([str(path), "--check"]) == 2
            return capsys.readouterr().out

        return message

    @pytest.fixture
    def exp(self, build) -> Path:
        return build(Case(""), YAML, "runs/exp")

    def test_what_is_no_experiment(self, exp, refused, tmp_path):
        (exp / "res").mkdir()
        assert f"{exp / 'res'}: no parameters here: it is a folder of the experiment {exp}. Name that" in refused(exp / "res")
        assert f"it is a folder of the experiment {exp}. Name that" in refused(exp / "img")
        assert f"no parameters here, but experiments in it: exp. Name one of them: {exp}" in refused(exp.parent)
        assert f"Parameter file does not exist: {exp / 'run2.yaml'}. {exp} holds {YAML_NAME}" in refused(exp / "run2.yaml")
        assert f"Experiment directory does not exist: {exp}1 (similar: exp)" in refused(exp.with_name("exp1"))
        assert f"Missing required directories in {tmp_path / 'empty'}: img, cal" in refused(_made(tmp_path / "empty"))

    def test_parameter_sets(self, build, tmp_path, refused, capsys):
        exp = tmp_path / "exp"
        build(Case("", spelling={"parameter_set": "parametersRun1"}), PAR)
        assert cli([str(exp), "--check"]) == 0
        assert "Parameters   parametersRun1/ptv.par" in capsys.readouterr().out
        shutil.copytree(exp / "parametersRun1", exp / "parameters - b")
        sequence = exp / "parameters - b" / "sequence.par"
        sequence.write_text(sequence.read_text().replace("10005", "10002"))
        assert (
            f"{exp}: several parameter sets, and no parameters/: parameters - b (frames 10000 to 10002), "
            f"parametersRun1 (frames 10000 to 10005). Name one of them: {exp / 'parameters - b'}"
        ) in refused(exp)
        assert cli([str(exp / "parameters - b"), "--check"]) == 0
        assert "Frames       10000 to 10002 (3)" in capsys.readouterr().out
        (exp / "parametersRun1").rename(exp / "parameters")
        assert cli([str(exp), "--check"]) == 0
        assert "Parameters   parameters/ptv.par" in capsys.readouterr().out

    def test_a_stale_folder_beside_the_yaml_file(self, build, caplog, capsys):
        """Who edits the YAML file gets what he edited, and is told once what is different beside it."""
        exp = build(Case("", put("targ_rec", "gvthres", [120] * 4)), YAML)
        stale = build(Case("", put("targ_rec", "gvthres", [8, 9, 10, 11])), PAR, "stale")
        shutil.move(stale / "parameters", exp / "parameters")
        assert cli([str(exp), "--check"]) == 0
        out = capsys.readouterr().out
        assert (
            f"{YAML_NAME} is used; parameters/ beside it is not used, and has other values: "
            "targ_rec.gvthres [120, 120, 120, 120], there [8, 9, 10, 11]\n"
        ) in out
        assert f"Parameters   {YAML_NAME}" in out
        caplog.clear()
        with caplog.at_level("INFO", "pyptv"):
            assert cli([str(exp), "10000", "10000", "--mode", "sequence"]) == 0
        assert caplog.messages.count(f"Parameters: {exp / YAML_NAME}") == 1
        assert sum("beside it is not used" in message for message in caplog.messages) == 1
        (exp / "img").rename(exp / "pictures")
        assert cli([str(exp), "--check"]) == 2
        advice = f"({YAML_NAME} is used; to use parameters/ name {exp / 'parameters'})"
        assert f"Missing required directories in {exp}: img {advice}" in capsys.readouterr().out
        (exp / "pictures").rename(exp / "img")
        (exp / "parameters" / "track.par").write_text("1\n")
        assert cli([str(exp), "--check"]) == 0
        assert f"{YAML_NAME} is used; parameters/ beside it is not used, and is not valid" in capsys.readouterr().out


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


class TestWholeRuns:
    def test_the_quadrants_of_a_split_image_in_another_order(self, small_experiment):
        """Cameras are only called otherwise: each has the files of the one whose quadrant it is."""
        folders = []
        for name, order in (("plain", [0, 1, 3, 2]), ("turned", [2, 0, 1, 3])):
            folder = small_experiment(name, splitter=True)
            path = next(folder.glob("*.yaml"))
            tree = yaml.safe_load(path.read_text())
            tree["ptv"]["splitter_order"] = order
            tree["ptv"]["img_cal"] = [tree["ptv"]["img_cal"][[0, 1, 3, 2].index(quadrant)] for quadrant in order]
            path.write_text(yaml.safe_dump(tree))
            assert cli([str(folder), "--mode", "sequence", "--no-progress"]) == 0
            folders.append(folder)
        plain, turned = folders
        for camera, quadrant in enumerate([2, 0, 1, 3], start=1):
            other = [0, 1, 3, 2].index(quadrant) + 1
            columns = [
                [line.split()[:7] for line in (folder / f"img/cam{number}.10000_targets").read_text().splitlines()]
                for folder, number in ((turned, camera), (plain, other))
            ]
            assert columns[0] == columns[1]
            assert len(columns[0]) > 10

    def test_a_splitter_that_only_the_plugin_tells_of(self, small_experiment, capsys):
        made = []
        for name in ("flag", "plugin"):
            folder = small_experiment(name, splitter=True)
            path = next(folder.glob("*.yaml"))
            tree = yaml.safe_load(path.read_text())
            tree["sequence"]["base_name"] = [tree["sequence"]["base_name"][0], "--", "--", "--"]
            tree["plugins"] = {"selected_sequence": "ext_sequence_splitter", "selected_tracking": "default"}
            tree["ptv"]["splitter"] = name == "flag"
            path.write_text(yaml.safe_dump(tree))
            assert cli([str(folder), "--no-progress"]) == 0
            made.append(results(folder))
            told = "plugins.selected_sequence: images are split, though ptv.splitter is not set" in capsys.readouterr().err
            assert told == (name == "plugin")
        assert made[0] == made[1]
        assert len(made[0]) == 6 * 7

    def test_an_order_that_is_none(self, small_experiment, capsys):
        folder = small_experiment(splitter=True)
        path = next(folder.glob("*.yaml"))
        path.write_text(path.read_text().replace("splitter: true", "splitter: true\n  splitter_order: [0, 1, 2, 2]"))
        assert cli([str(folder), "--check"]) == 2
        assert "ptv.splitter_order: found [0, 1, 2, 2], expected each of the quadrants 0, 1, 2, 3 once" in capsys.readouterr().out

    @pytest.mark.parametrize("engine", ["optv", "compiled"])
    def test_a_wedge_gives_particles(self, engine, build):
        made = []
        for each in dict.fromkeys(["optv", engine]):
            exp = build(Case("", wedge), YAML, each)
            assert cli([str(exp), "--engine", each, "--no-progress"]) == 0
            made.append(results(exp))
        assert all(result == made[0] for result in made)
        assert int(made[0]["res/rt_is.10000"].split()[0]) > 5

    def test_skipped_frames(self, build):
        case = Case("", after=both(remove("img/cam2.10003.tif"), lambda folder: (folder / "img/cam1.10000.tif").write_bytes(b"")))
        exp = build(case, PAR)
        assert cli([str(exp), "--on-error", "skip", "--no-progress"]) == 3
        assert sorted(path.name for path in (exp / "res").glob("rt_is.*")) == [f"rt_is.{n}" for n in (10001, 10002, 10004, 10005)]


def test_a_folder_that_cannot_be_written(build, tmp_path):
    """Told before the run by both; root, who may write anywhere, is made to obey permissions."""
    obeying = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"] if os.geteuid() == 0 else []
    if obeying and shutil.which(obeying[0]) is None:
        pytest.skip("root may write anywhere, and setpriv is not there")
    exp = build(Case(""), PAR)
    if obeying:
        os.chown(exp / "img", 65534, -1)
    (exp / "img").chmod(0o555)
    for path in [tmp_path, *tmp_path.parents][:2]:
        path.chmod(0o755)
    try:
        for check in (["--check"], []):
            command = [*obeying, sys.executable, "-m", "pyptv.pyptv_batch", exp, *check]
            done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
            message = f"{exp / 'img'}: cannot be written: the _targets files, which lie beside the images, go there"
            assert message in done.stdout + done.stderr
            assert done.returncode == 2
    finally:
        (exp / "img").chmod(0o755)
