"""Every command in the documents is executed, or stands in a list that says why it is not."""

from __future__ import annotations

import re
import shlex
import shutil
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import pytest

from pyptv import __main__ as launcher
from pyptv.synthetic import make_experiment

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
SHORT = {
    "pyptv-batch": "run",
    "pyptv-batch-parallel": "parallel",
    "pyptv-report": "report",
    "pyptv-export": "export",
    "pyptv-advise": "advise",
}
"""Program -> what ``python -m pyptv`` calls it."""
FIRST, LAST = 10000, 10004

NOT_RUN = {
    r"pip install|conda|venv|tmux|tail -f|kill %1|chromium|^#|^export ": "the environment of the user",
    r"^dask |--scheduler": "needs a Dask scheduler: tests/test_cluster.py",
    r"bash submit\.sh": "needs SLURM: tests/test_cluster.py runs such a script with a stand-in",
    r"--part|--finish": "a run in parts: tests/test_parts.py",
    r"--demo": "makes and scores a large experiment: CI runs it",
    r"--method dense": "needs the kernels of another method: tests/test_dense_runs.py",
    r"--engine compiled": "may compile for a minute: tests/test_engines.py",
    r"--hook|-plugin": "needs the user's own code: tests/test_hooks.py, tests/test_pyptv_plugins.py",
    r"pyptv-report |--report": "draws for a second: tests/test_html_report.py; the tutorial's in tests/test_documents.py",
    r"docs/demos/": "tests/test_documents.py",
    r"^python -m pyptv *(#|$)": "tests/test_command_line.py",
    r"PYPTV_KERNEL_CACHE": "compiles for a minute",
}
"""Pattern of a line -> why it is not run."""


class Line(NamedTuple):
    """A line of a shell block."""

    text: str
    words: tuple[str, ...] | None
    """The words after ``python -m pyptv``; None: none of our commands."""


def called(line: str) -> list[tuple[str, ...]]:
    """The calls of our commands in a shell line, as the words after ``python -m pyptv``."""
    words, found = shlex.split(line, comments=True), []
    ends = [i for i, word in enumerate(words) if word in {">", "2>&1", "&", "&&", "|"}] + [len(words)]
    for i, word in enumerate(words):
        end = next(end for end in ends if end >= i)
        script = re.fullmatch(r"pyptv/pyptv_batch(_parallel)?\.py", word)
        if Path(word).name in SHORT or script:
            found.append((SHORT[Path(word).name] if not script else ("parallel" if script[1] else "run"), *words[i + 1 : end]))
        elif words[i - 1 : i] == ["-m"] and word.split(".")[0] == "pyptv":
            found.append((*word.split(".")[1:], *words[i + 1 : end]))
    return found


def blocks(document: Path) -> list[list[Line]]:
    """The shell blocks of a document, but those that tests/test_documents.py runs word by word."""
    found = []
    pattern = r"(?<!<!-- executed -->\n)```(?:sh|bash)\n(.*?)```"
    for block in re.findall(pattern, document.read_text(encoding="utf-8"), re.DOTALL):
        lines = [line for line in re.sub(r"\\\n *", "", block).splitlines() if line.strip()]
        found.append([Line(line, words) for line in lines for words in called(line) or [None]])
    return found


def small(words: tuple[str, ...]) -> list[str]:
    """The same command for the small experiment: its frames, two processes, a short wait."""
    less = []
    for number, (before, word) in enumerate(zip(("", *words), words, strict=False)):
        if before in {"-j", "--processes", "--print-slurm"} or (words[0] == "parallel" and number == 4 and word.isdigit()):
            less.append("2")
        elif before == "--until-idle":
            less.append("0.1")
        elif re.fullmatch(r"\d{4,}", word):
            less.append(str(min(max(int(word), FIRST), LAST)))
        else:
            less.append(word.replace("$SCRATCH/", "").replace("$SLURM_JOB_ID", "1"))
    return ["my_experiment" if word in {"EXP", "e"} else word for word in less]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a processed experiment, my_experiment, and three runs of it."""
    folder = tmp_path_factory.mktemp("commands")
    experiment = make_experiment(folder / "my_experiment", n_frames=LAST - FIRST + 1, n_particles=30, image_size=(320, 256))
    shutil.copytree(experiment / "parameters", experiment / "parametersRun2")
    next(experiment.glob("*.yaml")).rename(folder / "parameters.yaml")
    assert launcher.cli(["run", str(experiment), "-q"]) == 0
    for name in ("run_a", "run_b", "run_c"):
        shutil.copytree(experiment, folder / name)
    return folder


EXTRAS = ("jinja2", "jsonschema", "matplotlib", "pandas", "pyarrow", "scipy", "tables", "zarr")
MISSING = [name for name in EXTRAS if find_spec(name) is None]

DONE: set[tuple[str, ...]] = set()
"""Commands that an earlier document has shown."""


@pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}")
@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_each_command_is_run_or_in_the_list(document: Path, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    if not Path("my_experiment", "res", f"ptv_is.{FIRST}").exists():  # another document ended with the sequence step
        run(["run", "my_experiment", "-q"])
    for block in blocks(document):
        for text, words in block:
            if any(re.search(pattern, text) for pattern in NOT_RUN):
                continue
            if words is None:
                check_other(text)
            elif words[0] == "synthetic":  # as large as an accuracy measurement
                parser = import_module("pyptv.synthetic.__main__").build_parser()
                assert parser.parse_args(words[1:]).directory
            elif (less := small(words)) and tuple(less) not in DONE:
                DONE.add(tuple(less))
                run(less)
        shutil.rmtree("studies", ignore_errors=True)
        for yaml in Path("my_experiment").glob("*.yaml"):  # the others name the folder, where two would be one too many
            yaml.unlink()


def run(words: list[str]) -> None:
    yaml = next((Path(word) for word in words if word.endswith(".yaml")), None)
    if yaml is not None:
        shutil.copy("parameters.yaml", yaml)
    if "--version" in words:
        with pytest.raises(SystemExit, match="0"):
            launcher.cli(words)
    else:
        assert launcher.cli(words) == 0, words


def check_other(text: str) -> None:
    """A script of this repository, with options that it has; or setting up a shell."""
    words = shlex.split(text, comments=True)
    program = Path(words[0]).name
    assert program in {"python", "source"}, f"{text}: neither run nor in the list of those that are not"
    if program == "python":
        source = (ROOT / words[1]).read_text(encoding="utf-8")
        assert [word for word in words[2:] if word.startswith("--") and word not in source] == [], text


def test_each_reason_is_needed() -> None:
    lines = [line.text for document in DOCUMENTS for block in blocks(document) for line in block]
    assert [pattern for pattern in NOT_RUN if not any(re.search(pattern, line) for line in lines)] == []
