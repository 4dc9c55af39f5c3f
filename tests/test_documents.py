"""What the documents say is true: examples run, commands parse, tables are those of the code, links lead somewhere."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from dataclasses import MISSING, Field, fields
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
import yaml
from test_commands_in_documents import called

import pyptv
from pyptv import __main__ as launcher
from pyptv.core.cli.options import PARALLEL, SEQUENTIAL, build_parser
from pyptv.core.experiment.parameters.schema import SECTIONS, key_of
from pyptv.core.files.formats import ADDED, LINKS, PARTICLES, TARGETS
from pyptv.core.record import tally as report
from pyptv.pyptv_batch import ProcessingError, main
from pyptv.synthetic import make_experiment

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
DEMOS = sorted((ROOT / "docs" / "demos").glob("*.py"))
BLOCK = re.compile(r"<!-- runnable(: pytest)? -->\n```python\n(.*?)```", re.DOTALL)
RUN = {"pyptv-batch": SEQUENTIAL, "pyptv-batch-parallel": PARALLEL}


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small experiment, frames 10000 to 10004, that nobody writes to."""
    folder = tmp_path_factory.mktemp("documents") / "experiment"
    return make_experiment(folder, n_frames=5, n_particles=40, image_size=(320, 256))


@pytest.fixture
def experiment(made: Path, tmp_path: Path) -> Path:
    folder = Path(shutil.copytree(made, tmp_path / "experiment"))
    next(folder.glob("*.yaml")).unlink()  # some examples change the .par files
    return folder


def run_python(*arguments: str | Path, folder: Path) -> str:
    """Standard output of Python with warnings as errors; its failure is a failure of the test, with what it said."""
    run = subprocess.run(
        [sys.executable, "-W", "error", *map(str, arguments)],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


# -- examples ----------------------------------------------------------------------------------------------------------


def blocks() -> list[object]:
    found = []
    for name in ("docs/python.md", "LOGGING_GUIDE.md", "docs/run_report.md"):
        for number, match in enumerate(BLOCK.finditer(text(name)), start=1):
            found.append(pytest.param(match[2], match[1] is not None, id=f"{name}-{number}"))
    return found


@pytest.mark.parametrize(("code", "is_test"), blocks())
def test_example_runs(code: str, is_test: bool, experiment: Path) -> None:
    folder = experiment.parent
    script = folder / "test_example.py"
    script.write_text(code, encoding="utf-8")
    if is_test:
        output = run_python("-m", "pytest", "-q", "-p", "no:cacheprovider", script, folder=folder)
        assert f"{code.count('def test_')} passed" in output
    else:
        assert "not done" not in run_python(script, folder=folder)
    assert (experiment / "res" / "rt_is.10000").exists()


def test_both_documents_have_examples() -> None:
    assert len(BLOCK.findall(text("docs/python.md"))) >= 4
    assert len(BLOCK.findall(text("LOGGING_GUIDE.md"))) >= 4


WHAT_DEMOS_SAY = {
    "logger_demo.py": ["INFO - Frame range: 10000 to 10004", "DEBUG - Frame 10002: targets", "DEBUG - Step 10002: current"],
    "test_pyptv_batch_demo.py": [
        "the same bytes: True",
        "the lost file is back: True",
        "First frame (10007) must be <= last frame (10000)",
        "without results are [10003]",
    ],
    "demo_parallel_batch.py": ["84 files, the same bytes: True"],
}


@pytest.mark.parametrize("demo", DEMOS, ids=lambda demo: demo.name)
def test_demo_runs(demo: Path, tmp_path: Path) -> None:
    output = run_python(demo, folder=tmp_path)
    assert [line for line in WHAT_DEMOS_SAY[demo.name] if line not in output] == []
    assert list(tmp_path.iterdir()) == []


# -- commands ----------------------------------------------------------------------------------------------------------


def test_the_tutorial_word_by_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Its commands, one after the other, in an empty folder; and what it says they give."""
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"<!-- executed -->\n```sh\n(.*?)```", text("docs/first-run.md"), re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    assert len(lines) == 7
    said = []
    for line in lines:
        assert launcher.cli(list(called(line)[0])) == 0, line
        captured = capsys.readouterr()
        said.append(captured.out + captured.err)
    assert "The run can start." in said[1]
    assert re.search(r"Tracking: 3 frames, .* link ratio 0\.\d", said[2])
    assert "Resumed: 3 frames" in said[3]
    assert (tmp_path / "my_experiment" / "res" / "report.html").exists()
    assert "trajectories.csv" in said[5]
    assert float(re.search(r"3-D recall +(\d\.\d+)", said[6])[1]) > 0.9


def test_the_options_that_need_words_are_there_and_no_other_is_named() -> None:
    table = text("docs/running.md").split("| option | meaning |")[1].split("\n\n")[0]
    named = set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", table))
    actions = [action for kind in RUN.values() for action in build_parser(kind)._actions]
    assert named - {option for action in actions for option in action.option_strings} == set()


def test_running_names_every_exit_code_and_no_other() -> None:
    table = text("docs/running.md").split("| exit code | meaning |")[1].split("\n\n")[0]
    codes = {report.DONE, report.FAILED, report.INVALID, report.INCOMPLETE, report.INTERRUPTED, report.TERMINATED}
    assert {int(code) for code in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)} == codes


def test_readme_has_its_two_commands_one_line_each_and_fits_a_screen_before_the_result() -> None:
    lines = text("README.md").splitlines()
    first, second = (line for line in lines if line.startswith("python3 -m venv .venv && "))
    assert first.endswith("pyptv-batch --demo")
    assert second.endswith("python -m pytest tests/")
    assert lines.index("  3-D recall                0.9998   30381 of 30387 particles found") < 25


def test_the_citation_names_this_version() -> None:
    citation = yaml.safe_load(text("CITATION.cff"))
    assert (citation["version"], citation["license"]) == (pyptv.__version__, "MIT")
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()


def test_the_site_has_every_page_every_command_and_the_interface() -> None:
    """What the site adds to the pages: CI builds it with every warning an error."""
    pytest.importorskip("mkdocs")
    spec = spec_from_file_location("site_hook", ROOT / "docs" / "site_hook.py")
    hook = module_from_spec(spec)
    spec.loader.exec_module(hook)
    page = hook.commands_page()
    for kind in RUN.values():
        for action in build_parser(kind)._actions:
            assert action.help == "==SUPPRESS==" or all(option in page for option in action.option_strings)
    assert [f"### {name}" for names in hook.API.values() for name in names if f"### {name}\n" not in hook.api_page()] == []
    (more,) = [section["More"] for section in hook.on_config({})["nav"] if "More" in section] or [[]]
    assert more == []


# -- tables ------------------------------------------------------------------------------------------------------------


def limits(parameter: Field[object]) -> str:
    """How ``docs/file_formats.md`` writes the limits of a parameter."""
    low, high, above = (parameter.metadata[key] for key in ("low", "high", "above"))
    parts = [", ".join(map(str, parameter.metadata["choices"]))] if parameter.metadata["choices"] else []
    if above is not None:
        parts.append(f"more than {above}")
    if low is not None:
        parts.append(f"at least {low}" if high is None else f"{low} to {high}")
    if parameter.default is not MISSING:
        parts.append("may be missing" if parameter.default == "" else f"may be missing: {parameter.default}")
    return "; ".join(parts)


def test_the_table_of_parameters_is_the_schema() -> None:
    rows = re.findall(r"^\| `(\w+)` \| `(\w+)` \|(.*)\|(.*)\|(.*)\|$", text("docs/file_formats.md"), re.MULTILINE)
    table = [tuple(cell.strip() for cell in row) for row in rows]
    assert table == [
        (section, key_of(parameter), parameter.metadata["meaning"], parameter.metadata["unit"], limits(parameter))
        for section, kind in SECTIONS.items()
        for parameter in fields(kind)
    ]


@pytest.mark.parametrize("table", [TARGETS, PARTICLES, LINKS, ADDED], ids=lambda table: table.name)
def test_the_row_formats_are_those_of_the_code(table: object) -> None:
    row = next(
        line
        for line in text("docs/file_formats.md").splitlines()
        if line.startswith("|") and f"{table.name}" in line.split("|")[1]
    )
    assert f"| `{table.row_format.strip()}` |" in row


# -- messages ----------------------------------------------------------------------------------------------------------


def nowhere(folder: Path) -> None:
    folder.rename(folder.with_name("moved"))


def several_yaml(folder: Path) -> None:
    from pyptv.core.experiment.folder import load_experiment
    from pyptv.synthetic.writer import write_yaml

    write_yaml(folder, load_experiment(folder).parameters.as_tree())
    shutil.rmtree(folder / "parameters")
    yaml = next(folder.glob("*.yaml")).rename(folder / "a.yaml")
    shutil.copy(yaml, folder / "b.yaml")


def bad_number(folder: Path) -> None:
    path = folder / "parameters" / "criteria.par"
    lines = path.read_text(encoding="ascii").splitlines()
    path.write_text("\n".join([*lines[:2], "abc", *lines[3:]]), encoding="ascii")


def no_calibration(folder: Path) -> None:
    (folder / "cal" / "cam2.tif.ori").unlink()


def fewer_images(folder: Path) -> None:
    for path in folder.glob("img/cam3.1000[34].tif"):
        path.unlink()


def damaged_results(folder: Path) -> None:
    main(folder, mode="sequence")
    (folder / "res" / "rt_is.10003").write_bytes(b"3\ngarbage\n")


def other_parameters(folder: Path) -> None:
    main(folder, mode="sequence")
    path = folder / "parameters" / "targ_rec.par"
    lines = path.read_text(encoding="ascii").splitlines()
    path.write_text("\n".join([*lines[:4], str(int(lines[4]) + 1), *lines[5:]]), encoding="ascii")


MESSAGES = [
    pytest.param(nowhere, {}, "Experiment directory does not exist: ...", id="nowhere"),
    pytest.param(
        several_yaml,
        {},
        "...: several parameter files: a.yaml (frames 10000 to 10004), b.yaml (",
        id="several-yaml",
    ),
    pytest.param(
        bad_number, {}, ".../criteria.par, line 3 (Zmax_lay, item 1): found 'abc', expected a number: ", id="bad-number"
    ),
    pytest.param(no_calibration, {}, ".../cal/cam2.tif.ori: calibration cannot be read: No such file", id="no-calibration"),
    pytest.param(fewer_images, {}, "2 frames (10003-10004) lack a file: ...", id="fewer-images"),
    pytest.param(
        damaged_results,
        {"mode": "tracking"},
        ".../res/rt_is.10003, line 1: 3 rows announced, 1 whole rows found: the file is cut or mixed",
        id="damaged-results",
    ),
    pytest.param(other_parameters, {"resume": True}, "Cannot resume, the inputs have changed since: ...", id="other-parameters"),
]


@pytest.mark.parametrize(("spoil", "options", "message"), MESSAGES)
def test_messages_in_the_environment_guide_are_those_of_the_program(
    spoil: object, options: dict[str, object], message: str, experiment: Path
) -> None:
    guide = text("docs/PYPTV_ENVIRONMENT_GUIDE.md")
    assert re.sub(r"\d+", "0", message) in re.sub(r"\d+", "0", guide)
    spoil(experiment)
    with pytest.raises(ProcessingError) as raised:
        main(experiment, **options)
    assert re.search(re.escape(message).replace(r"\.\.\.", ".*"), str(raised.value)), raised.value


# -- the rest ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_links_lead_somewhere(document: Path) -> None:
    links = re.findall(r"\]\(([^)\s#]+)(?:#[^)]*)?\)", document.read_text(encoding="utf-8"))
    local = [link for link in links if "://" not in link]
    assert [link for link in local if not (document.parent / link).exists()] == []


def test_the_index_names_every_document_and_demo() -> None:
    index = text("docs/README.md")
    names = [document.name for document in DOCUMENTS if document.name != "README.md"] + [demo.name for demo in DEMOS]
    assert [name for name in names if f"{name})" not in index] == []


def test_the_picture_can_be_read_and_says_what_it_shows() -> None:
    picture = ET.parse(ROOT / "docs" / "images" / "data-flow.svg").getroot()
    names = {child.tag.rsplit("}", 1)[1]: child.text for child in picture}
    assert names["title"]
    assert len(names["desc"]) > 100
    assert "(docs/images/data-flow.svg)" in text("README.md")
