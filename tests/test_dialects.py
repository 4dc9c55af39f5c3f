"""Both dialects of parameter files: read alike, and every error names the file and the line or the key."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import yaml
from conftest import refusal, run_python, sample_tree
from hypothesis import given, settings
from hypothesis import strategies as st

from pyptv.core.base.errors import InvalidExperimentError, ProcessingError
from pyptv.core.experiment.parameters.checks import build_parameters
from pyptv.core.experiment.parameters.dialects import read_par, read_yaml
from pyptv.core.experiment.parameters.schema import Parameters
from pyptv.synthetic.writer import write_par, write_yaml

YAML = "parameters_synthetic.yaml"
N_LINES = {"ptv": 21, "sequence": 6, "criteria": 12, "targ_rec": 13, "track": 9, "pft_version": 1}


@pytest.fixture
def par(tmp_path):
    """A ``parameters/`` folder of the sample."""
    write_par(tmp_path, sample_tree())
    return tmp_path / "parameters"


@pytest.fixture
def yaml_file(tmp_path):
    """A YAML file of the sample."""
    write_yaml(tmp_path, sample_tree())
    return tmp_path / YAML


def read(path: Path) -> Parameters:
    raw = read_par(path) if path.is_dir() else read_yaml(path)
    return build_parameters(raw.tree, raw.locate)


def replace_line(path: Path, number: int, text: str) -> None:
    lines = path.read_text().splitlines()
    lines[number - 1] = text
    path.write_text("\n".join(lines) + "\n")


def message(path: Path) -> str:
    with pytest.raises(InvalidExperimentError) as caught:
        read(path)
    return str(caught.value)


@st.composite
def trees(draw):
    """Valid parameters of all kinds."""
    tree = sample_tree()
    n = tree["num_cams"] = draw(st.integers(1, 4))
    name = st.text("abcäö_-.", min_size=1, max_size=8)
    number = st.floats(-1e9, 1e9)
    tree["ptv"]["img_cal"] = [f"cal/{draw(name)}" for _ in range(n)]
    tree["ptv"]["img_name"] = [f"img/{draw(name)}" for _ in range(n)]
    tree["sequence"]["base_name"] = [f"img/{draw(name)}%d" for _ in range(n)]
    tree["ptv"]["imx"] = draw(st.integers(51, 32767))
    tree["ptv"]["pix_x"] = draw(st.floats(1e-9, 1e9))
    tree["criteria"]["X_lay"] = draw(st.lists(st.floats(-1e5, 1e5), min_size=2, max_size=2, unique=True))
    tree["criteria"]["corrmin"] = draw(number)
    tree["criteria"]["eps0"] = draw(st.floats(1e-9, 10))
    tree["targ_rec"]["gvthres"] = draw(st.lists(st.integers(0, 255), min_size=4, max_size=4))
    tree["track"]["dacc"] = draw(st.floats(0, 1e9))
    tree["track"]["flagNewParticles"] = draw(st.booleans())
    tree["pft_version"]["Existing_Target"] = draw(st.booleans())
    return tree


class TestRead:
    def test_both_dialects_say_the_same(self, par, yaml_file):
        assert read(par) == read(yaml_file)

    def test_the_real_experiment_says_the_same_in_both(self, shared):
        folder = shared / "data" / "test_cavity"
        old, new = read(folder / "parameters"), read(folder / "parameters_Run1.yaml")
        assert old.num_cams == new.num_cams == 4
        assert old.as_tree()["criteria"] == new.as_tree()["criteria"]
        assert old.as_tree()["targ_rec"] == new.as_tree()["targ_rec"]
        assert old.as_tree()["track"] == new.as_tree()["track"]

    @settings(max_examples=40)
    @given(trees())
    def test_what_was_written_is_read(self, tree):
        with TemporaryDirectory() as folder:
            write_yaml(Path(folder), tree)
            from_yaml = read(Path(folder) / YAML)
            for name in [name for key in ("img_cal", "img_name") for name in tree["ptv"][key]] + tree["sequence"]["base_name"]:
                if not name.isascii():
                    return  # the legacy dialect's writer is for ASCII
            write_par(Path(folder), tree)
            assert read(Path(folder) / "parameters") == from_yaml
        assert from_yaml.criteria.X_lay == tuple(tree["criteria"]["X_lay"])
        assert from_yaml.ptv.pix_x == tree["ptv"]["pix_x"]
        assert from_yaml.sequence.base_name == tuple(tree["sequence"]["base_name"])

    @pytest.mark.parametrize("n", [1, 2, 3])
    def test_fewer_cameras_have_fewer_lines(self, tmp_path, n):
        tree = sample_tree()
        tree["num_cams"] = n
        for section, key in (("ptv", "img_cal"), ("ptv", "img_name"), ("sequence", "base_name")):
            tree[section][key] = tree[section][key][:n]
        write_par(tmp_path, tree)
        assert read(tmp_path / "parameters").ptv.imx == 1280
        assert len(read(tmp_path / "parameters").sequence.base_name) == n

    def test_windows_line_ends_and_blank_lines(self, par):
        before = read(par)
        for path in par.glob("*.par"):
            path.write_bytes(path.read_bytes().replace(b"\n", b"  \r\n\r\n"))
        assert read(par) == before

    def test_a_byte_order_mark(self, par, yaml_file):
        for path in (par / "ptv.par", yaml_file):
            path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
        assert read(par) == read(yaml_file)

    def test_names_with_spaces_and_accents(self, par):
        replace_line(par / "ptv.par", 3, "cal/caméra 1.tif")
        assert read(par).ptv.calibration_images[0] == "cal/caméra 1.tif"

    def test_more_lines_than_needed_are_left(self, par):
        before = read(par)
        with (par / "track.par").open("a") as file:
            file.write("what is this?\n")
        assert read(par) == before

    def test_pft_version_may_be_missing(self, par):
        (par / "pft_version.par").unlink()
        assert read(par).pft_version.existing_target is False


class TestParErrors:
    @pytest.mark.parametrize("name", ["sequence", "criteria", "targ_rec", "track"])
    def test_missing_file(self, par, name):
        (par / f"{name}.par").unlink()
        assert message(par) == f"Required file not found: {par / name}.par"

    @pytest.mark.parametrize("name", N_LINES)
    @pytest.mark.parametrize("content", [b"", b"\n \r\n\t\n"])
    def test_empty_file(self, par, name, content):
        (par / f"{name}.par").write_bytes(content)
        assert message(par) == f"{par / name}.par: the file is empty, expected one value per line"

    @pytest.mark.parametrize("name", [name for name, lines in N_LINES.items() if lines > 1])
    def test_a_line_is_missing(self, par, name):
        path = par / f"{name}.par"
        lines = path.read_text().splitlines()
        assert len(lines) == N_LINES[name]
        path.write_text("\n".join(lines[:-1]))
        assert message(par).startswith(f"{path}: found {len(lines) - 1} values, expected {len(lines)}, one per line: ")
        assert message(par).endswith("and the following ones are missing")

    @pytest.mark.parametrize("name", N_LINES)
    def test_not_text(self, par, name):
        path = par / f"{name}.par"
        path.write_bytes(path.read_bytes() + b"\xff\xfe\n")
        line = path.read_bytes().count(b"\n")
        assert message(par) == f"{path}, line {line}: found the byte 0xff, expected text in UTF-8"

    @pytest.mark.parametrize(
        ("case", "text", "expected"),
        [
            (("ptv", 1, "num_cams"), "four", "expected 1 to 4 cameras"),
            (("ptv", 13, "imx"), "wide", "expected a whole number: image width [px]"),
            (("ptv", 15, "pix_x"), "small", "expected a number: pixel width [mm]"),
            (("sequence", 5, "first"), "one", "expected a whole number: first frame"),
            (("criteria", 12, "eps0"), "wide", "expected a number: width of the epipolar band [mm on the sensor]"),
            (("targ_rec", 7, "nnmax"), "3.5", "expected a whole number: maximum pixel count [px]"),
            (("track", 9, "flagNewParticles"), "maybe", "expected true or false (1 or 0): add particles that the tracker finds"),
            (
                ("pft_version", 1, "Existing_Target"),
                "maybe",
                "expected true or false (1 or 0): read the _targets files, do not detect",
            ),
        ],
    )
    def test_text_where_a_number_should_be(self, par, case, text, expected):
        name, line, key = case
        replace_line(par / f"{name}.par", line, text)
        assert message(par) == f"{par / name}.par, line {line} ({key}): found {text!r}, {expected}"

    def test_an_item_of_a_list_is_named_by_its_own_line(self, par):
        replace_line(par / "targ_rec.par", 4, "300")
        assert message(par).startswith(f"{par / 'targ_rec.par'}, line 4 (gvthres, item 4): found '300', expected at most 255")

    def test_a_folder_in_place_of_a_file(self, par):
        (par / "track.par").unlink()
        (par / "track.par").mkdir()
        assert message(par) == f"{par / 'track.par'}: cannot be read: found a folder, expected a file"

    def test_a_file_that_is_much_too_large(self, par):
        with (par / "track.par").open("ab") as file:
            file.truncate(1_000_001)
        assert message(par) == f"{par / 'track.par'}: found more than 1000000 bytes, expected a small text file"


BOMB = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n" + "".join(f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 20))
"""Some 200 characters that stand for 9 to the power of 20 values."""


class TestYamlErrors:
    def test_a_value(self, yaml_file):
        yaml_file.write_text(yaml_file.read_text().replace("imx: 1280", "imx: wide"))
        assert message(yaml_file) == f"{yaml_file}, ptv.imx: found 'wide', expected a whole number: image width [px]"

    def test_a_missing_value(self, yaml_file):
        yaml_file.write_text(yaml_file.read_text().replace("  dacc: 0.9\n", ""))
        assert message(yaml_file).startswith(f"{yaml_file}, track.dacc: is missing, expected maximum acceleration")

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("", ": found None, expected sections: ptv, sequence, criteria, targ_rec, track"),
            ("just text", ": found 'just text', expected sections"),
            ("a: [1, 2\nb: 3\n", ", line 2: not valid YAML: "),
            ("a: b: c", ", line 1: not valid YAML: mapping values are not allowed in this context"),
            (" a: 1\n\tb: 2", ", line 2: not valid YAML: "),
            ("a: !!python/object/apply:os.system ['true']", ", line 1: not valid YAML: could not determine a constructor"),
            ("base: &x {a: 1}\nptv:\n  <<: *x\n", ", line 3: not valid YAML: merge keys (<<) are not supported"),
            ("a: 2001-99-99", ": not valid YAML: month must be in 1..12"),
            ("a: !!bool maybe", ": not valid YAML: "),
            ("a: !!int ''", ": not valid YAML: "),
            ("a: !!timestamp now", ": not valid YAML: "),
            ("a: !!map [1]", ", line 1: not valid YAML: expected a mapping"),
            ("a: &a [1, *a]", ", line 1: not valid YAML: found a value that contains itself (*a)"),
            ("- x\n" * 60_000, ", line 49998: not valid YAML: found more than 50000 values"),
            (BOMB, ", line 5: not valid YAML: found more than 50000 values"),
            ("{a: " * 60 + "1" + "}" * 60, ", line 1: not valid YAML: found more than 50 levels"),
        ],
    )
    def test_text(self, tmp_path, text, expected):
        path = tmp_path / "parameters.yaml"
        path.write_text(text)
        assert message(path).startswith(f"{path}{expected}")

    def test_not_text(self, tmp_path):
        path = tmp_path / "parameters.yaml"
        path.write_bytes(b"a: 1\nb: \xe9\n")
        assert message(path) == f"{path}, line 2: found the byte 0xe9, expected text in UTF-8"

    def test_a_missing_file(self, tmp_path):
        assert message(tmp_path / "parameters.yaml") == f"Required file not found: {tmp_path / 'parameters.yaml'}"

    def test_brackets_without_end_do_not_end_the_process(self, tmp_path):
        """PyYAML's C loader overflows the stack there: tried in a process of its own."""
        path = tmp_path / "deep.yaml"
        path.write_text("[" * 100_000)
        reader = "pyptv.core.experiment.parameters.dialects"
        code = f"from pathlib import Path; from {reader} import read_yaml; read_yaml(Path({str(path)!r}))"
        done = run_python("-c", code, stdout=subprocess.PIPE, stderr=subprocess.PIPE, capture_output=False)
        assert done.returncode == 1
        assert "FormatError" in done.stderr

    def test_keys_that_are_no_names(self, tmp_path):
        path = tmp_path / "parameters.yaml"
        path.write_text("1: a\n? [x]\n: b\n")
        assert read_yaml(path).tree == {"1": "a", "[]": "b"}

    def test_numbers_without_end_are_text(self, tmp_path):
        """To the base of 60 they would take hours."""
        path = tmp_path / "parameters.yaml"
        for number in ("1" + ":1" * 400_000, "!!float '1" + ":1" * 400_000 + "'", "9" * 900_000, "1" * 900_000 + ".5"):
            path.write_text(f"a: {number}\n")
            assert len(read_yaml(path).tree["a"]) >= 800_000

    def test_aliases_and_numbers_to_the_base_of_60(self, yaml_file):
        """PyYAML writes aliases where a list is used twice. A number to the base of 60 is meant by nobody."""
        text = yaml_file.read_text()
        yaml_file.write_text("spare: &p [1, 2]\nused: {a: *p, b: *p}\n" + text)
        assert read(yaml_file).ptv.imx == 1280
        yaml_file.write_text(text.replace("imx: 1280", "imx: 21:20"))
        assert ", ptv.imx: found '21:20', expected a whole number" in message(yaml_file)


class TestRandomText:
    """Only a ProcessingError may come out."""

    @settings(max_examples=200)
    @given(st.text(alphabet=st.characters(codec="utf-8"), max_size=60) | st.text("{}[]:,&*!<>|-?#%@`'\" \n\tab01.~", max_size=30))
    def test_yaml(self, text):
        with TemporaryDirectory() as folder:
            path = Path(folder) / "p.yaml"
            path.write_bytes(text.encode())
            with pytest.raises(ProcessingError):
                read(path)

    @settings(max_examples=150)
    @given(data=st.data())
    def test_mutated_yaml(self, data):
        text = yaml.safe_dump(sample_tree(), sort_keys=False).encode()
        mutated = mutate(data, text)
        with TemporaryDirectory() as folder:
            path = Path(folder) / "p.yaml"
            path.write_bytes(mutated)
            read_or_refuse(path)

    @settings(max_examples=150)
    @given(data=st.data(), name=st.sampled_from(sorted(N_LINES)))
    def test_mutated_par(self, data, name):
        with TemporaryDirectory() as folder:
            write_par(Path(folder), sample_tree())
            path = Path(folder) / "parameters" / f"{name}.par"
            path.write_bytes(mutate(data, path.read_bytes()))
            read_or_refuse(path.parent)

    @given(st.binary(max_size=60), st.sampled_from(sorted(N_LINES)))
    def test_random_par(self, content, name):
        with TemporaryDirectory() as folder:
            write_par(Path(folder), sample_tree())
            (Path(folder) / "parameters" / f"{name}.par").write_bytes(content)
            read_or_refuse(Path(folder) / "parameters")
            shutil.rmtree(Path(folder) / "parameters")


def mutate(data: st.DataObject, content: bytes) -> bytes:
    """Cut something out, put something in."""
    pieces = st.binary(max_size=4) | st.sampled_from(
        [b"", b"\n", b"nan", b"-1", b"1e400", b": ", b"- ", b"!!int x", b"%", b"\0", b"&a *a"]
    )
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(content)))
        content = content[:start] + data.draw(pieces) + content[start + data.draw(st.integers(0, 20)) :]
    return content


def read_or_refuse(path: Path) -> None:
    reason = refusal(read, path)
    assert reason is None or str(path) in reason
