"""The rules of ``docs/architecture.md`` that imports do not show: who may print or act for the process, what ``--help`` loads."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "pyptv"
MAY = {
    "pyptv.core.cli.check": {"print"},
    "pyptv.core.cli.console": {
        "self._logger.setLevel",
        "self._logger.addHandler",
        "self._handlers[0].setLevel",
        "sys.stderr.write",
    },
    "pyptv.__main__": {"sys.exit", "show", "sys.stderr.write"},
    "pyptv.core.cli.command": {"show", "signal.signal"},
    "pyptv.core.base.command_line": {"show"},
    "pyptv.core.base.streams": {"sys.stdout.write"},
    "pyptv.core.execute.pool_worker": {"signal.signal", "package.setLevel", "sys.exit"},  # in a process of its own
    "pyptv.core.stages.plugin_host": {"sys.exit", "sys.stdout.write"},  # likewise
    "pyptv.pyptv_batch": {"sys.exit"},
    "pyptv.pyptv_batch_parallel": {"sys.exit"},
    "pyptv.synthetic.__main__": {"sys.exit", "show", "sys.stderr.write"},
    "pyptv.evaluate.__main__": {"sys.exit", "show", "sys.stderr.write"},
    "pyptv.export.__main__": {"sys.exit", "show", "sys.stderr.write"},
    "pyptv.report.__main__": {"sys.exit", "show", "sys.stderr.write"},
    "pyptv.advise.__main__": {"sys.exit", "show", "sys.stderr.write"},
}
"""Who may speak to the user, configure logging, or act for the whole process, and by which calls."""


def module_name(path: Path) -> str:
    parts = ("pyptv", *path.relative_to(PACKAGE).with_suffix("").parts)
    return ".".join(parts).removesuffix(".__init__")


SOURCES = {module_name(path): path for path in PACKAGE.rglob("*.py")}
TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in SOURCES.items()}


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def nodes(tree: ast.AST):
    """All nodes, without what stands under ``if TYPE_CHECKING:``."""
    for child in ast.iter_child_nodes(tree):
        if not is_type_checking(child):
            yield child
            yield from nodes(child)


def calls(name: str) -> set[str]:
    return {ast.unparse(node.func) for node in nodes(TREES[name]) if isinstance(node, ast.Call)}


def loggers(name: str) -> set[str]:
    made = (node for node in ast.walk(TREES[name]) if isinstance(node, ast.Call))
    return {ast.unparse(node) for node in made if ast.unparse(node.func).endswith("getLogger")}


def test_only_some_speak_or_act_for_the_user() -> None:
    acts = re.compile(
        r"print|show|input|exit|quit|sys\.exit|os\.chdir|contextlib\.chdir|chdir|warnings\.simplefilter|signal\.signal"
        r"|sys\.std(out|err)\.write|logging\.(basicConfig|config\.\w+|captureWarnings|disable)|.*\.(addHandler|setLevel)"
    )
    found = {name: {call for call in calls(name) if acts.fullmatch(call)} - MAY.get(name, set()) for name in SOURCES}
    assert {name: made for name, made in found.items() if made} == {}


def test_a_logger_is_called_after_its_module() -> None:
    """A logger by another name would escape a user's configuration of ``pyptv``."""
    by_name = {
        "pyptv.core.execute.pool_worker": {"logging.getLogger()", "logging.getLogger('pyptv')"},
        "pyptv.core.record.log": {"logging.getLogger(event.logger)"},
        "pyptv.core.cli.console": {"logging.getLogger('pyptv')"},
    }
    found = {name: loggers(name) - by_name.get(name, set()) - {"logging.getLogger(__name__)"} for name in SOURCES}
    assert {name: made for name, made in found.items() if made} == {}


@pytest.mark.parametrize("module", ["pyptv.pyptv_batch", "pyptv.pyptv_batch_parallel", "pyptv.__main__"])
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


def test_no_folder_is_too_full_to_be_read_at_a_glance() -> None:
    """15 modules, besides ``__init__`` and ``__main__``."""
    rooms = Counter(path.parent for path in SOURCES.values() if not path.stem.startswith("__"))
    assert {str(room): size for room, size in rooms.items() if size > 15} == {}


def test_these_tests_see_what_they_look_for() -> None:
    """Calls inside functions count."""
    tree = ast.parse("def work():\n    print(1)\n")
    assert "print" in {ast.unparse(node.func) for node in nodes(tree) if isinstance(node, ast.Call)}
