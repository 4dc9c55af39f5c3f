"""The rules of ``docs/architecture.md``: levels, one module for optv, who may print, what ``--help`` loads."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "pyptv"
TABLE_ROW = re.compile(r"^\| (\d+) \| `(pyptv[\w.]*)` \|", re.MULTILINE)
MAY = {
    "pyptv.core.app.check": {"print"},
    "pyptv.core.app.console": {
        "self._logger.setLevel",
        "self._logger.addHandler",
        "self._handlers[0].setLevel",
        "sys.stderr.write",
    },
    "pyptv.core.app.cli": {"print", "signal.signal"},
    "pyptv.core.execute.pool_worker": {"signal.signal", "package.setLevel"},  # in a process of its own
    "pyptv.pyptv_batch": {"sys.exit"},
    "pyptv.pyptv_batch_parallel": {"sys.exit"},
    "pyptv.synthetic.__main__": {"sys.exit", "sys.stdout.write", "sys.stderr.write"},
    "pyptv.evaluate.__main__": {"sys.exit", "sys.stdout.write", "sys.stderr.write"},
    "pyptv.export.__main__": {"sys.exit", "sys.stdout.write", "sys.stderr.write"},
    "pyptv.report.__main__": {"sys.exit", "sys.stdout.write", "sys.stderr.write"},
}
"""Who may speak to the user, configure logging, or act for the whole process, and by which calls."""


def module_name(path: Path) -> str:
    parts = ("pyptv", *path.relative_to(PACKAGE).with_suffix("").parts)
    return ".".join(parts).removesuffix(".__init__")


SOURCES = {module_name(path): path for path in PACKAGE.rglob("*.py")}
TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in SOURCES.items()}
LEVELS = {name: int(level) for level, name in TABLE_ROW.findall((ROOT / "docs" / "architecture.md").read_text(encoding="utf-8"))}
PACKAGES = ("pyptv.synthetic", "pyptv.evaluate", "pyptv.kernels", "pyptv.trajectories", "pyptv.export", "pyptv.report")
"""Have one level each, whatever is inside."""


def unit(name: str) -> str:
    """What has a level: a module, or a whole package."""
    return next((package for package in PACKAGES if name == package or name.startswith(f"{package}.")), name)


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def nodes(tree: ast.AST):
    """All nodes, without what stands under ``if TYPE_CHECKING:``."""
    for child in ast.iter_child_nodes(tree):
        if not is_type_checking(child):
            yield child
            yield from nodes(child)


def imported(tree: ast.AST) -> set[str]:
    """The modules that a module imports: ``from a import b`` is ``a.b`` where that is a module of ours, else ``a``."""
    found = set()
    for node in nodes(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "a relative import"
            whole = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in SOURCES else str(node.module) for name in whole}
    return found


IMPORTS = {name: imported(tree) for name, tree in TREES.items()}


def calls(name: str) -> set[str]:
    return {ast.unparse(node.func) for node in nodes(TREES[name]) if isinstance(node, ast.Call)}


def test_the_table_names_every_module_and_no_other() -> None:
    assert LEVELS.keys() == {unit(name) for name in SOURCES}


def test_imports_go_down() -> None:
    wrong = [
        f"{name} ({LEVELS[unit(name)]}) imports {other} ({LEVELS[unit(other)]})"
        for name, others in IMPORTS.items()
        for other in others & SOURCES.keys()
        if unit(name) != unit(other) and LEVELS[unit(name)] <= LEVELS[unit(other)]
    ]
    assert wrong == []


def test_no_circles() -> None:
    order = list(TopologicalSorter({name: others & SOURCES.keys() - {name} for name, others in IMPORTS.items()}).static_order())
    assert len(order) == len(SOURCES)


def test_one_module_knows_optv() -> None:
    assert {name for name, others in IMPORTS.items() if any(other.split(".")[0] == "optv" for other in others)} == {
        "pyptv.core.engines.optv.backend"
    }


@pytest.mark.parametrize("name", sorted(SOURCES))
def test_only_some_speak_or_act_for_the_user(name: str) -> None:
    acts = re.compile(
        r"print|input|exit|quit|sys\.exit|os\.chdir|contextlib\.chdir|chdir|warnings\.simplefilter|signal\.signal"
        r"|sys\.std(out|err)\.write|logging\.(basicConfig|config\.\w+|captureWarnings|disable)|.*\.(addHandler|setLevel)"
    )
    assert {call for call in calls(name) if acts.fullmatch(call)} - MAY.get(name, set()) == set()


@pytest.mark.parametrize("name", sorted(SOURCES))
def test_a_logger_is_called_after_its_module(name: str) -> None:
    """A logger by another name would escape a user's configuration of ``pyptv``."""
    by_name = {
        "pyptv.core.execute.pool_worker": {"logging.getLogger()", "logging.getLogger('pyptv')"},
        "pyptv.core.record.log": {"logging.getLogger(event.logger)"},
        "pyptv.core.app.console": {"logging.getLogger('pyptv')"},
    }
    made = {
        ast.unparse(node)
        for node in ast.walk(TREES[name])
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("getLogger")
    }
    assert made - by_name.get(name, set()) <= {"logging.getLogger(__name__)"}


@pytest.mark.parametrize("module", ["pyptv.pyptv_batch", "pyptv.pyptv_batch_parallel"])
def test_help_loads_nothing_heavy(module: str) -> None:
    code = f"""
import sys
from {module} import cli
try:
    cli(["--help"])
except SystemExit:
    pass
loaded = {{name.split(".")[0] for name in sys.modules}}
print(sorted(loaded & {{"numpy", "optv", "matplotlib", "scipy", "PIL", "tqdm"}}), file=sys.stderr)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert "usage:" in run.stdout
    assert run.stderr.strip() == "[]"


def test_these_tests_see_what_they_look_for() -> None:
    """A bad module is found bad: imports inside functions count, those for type checkers do not."""
    tree = ast.parse("""
from typing import TYPE_CHECKING
if TYPE_CHECKING:
    import optv
def work():
    from pyptv.core.app import run
    print(run)
""")
    assert imported(tree) == {"typing", "pyptv.core.app.run"}
    assert "print" in {ast.unparse(node.func) for node in nodes(tree) if isinstance(node, ast.Call)}
