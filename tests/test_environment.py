"""``environment.yml`` says the same as ``pyproject.toml``."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
EXTRAS = ("evaluate", "fast", "plot", "report", "trajectories")
"""Those that the environment has."""

_REQUIREMENT = re.compile(r"([A-Za-z0-9_.-]+)\s*(.*)")


def bounds(requirements: list[str]) -> dict[str, str]:
    """Package name, in lower case -> its version bounds, as they are written."""
    found = {}
    for requirement in requirements:
        name, limits = _REQUIREMENT.fullmatch(requirement.strip()).groups()
        found[name.lower()] = limits.replace(" ", "")
    return found


@pytest.fixture(scope="module")
def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@pytest.fixture(scope="module")
def environment() -> dict:
    return yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def conda(environment: dict) -> dict[str, str]:
    return bounds([entry for entry in environment["dependencies"] if isinstance(entry, str)])


@pytest.fixture(scope="module")
def pip(environment: dict) -> list[str]:
    return next(entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict))


def test_name_and_channel(environment: dict) -> None:
    assert environment["name"] == "pyptv"
    assert environment["channels"] == ["conda-forge"]


def test_every_runtime_dependency_with_the_same_bounds(project: dict, conda: dict[str, str], pip: list[str]) -> None:
    available = conda | bounds([entry for entry in pip if not entry.startswith("-")])
    needed = bounds(project["dependencies"])
    assert {name: available.get(name) for name in needed} == needed


def extra_bounds(project: dict, extra: str) -> dict[str, str]:
    """What an extra needs, other extras aside."""
    return bounds([need for need in project["optional-dependencies"][extra] if not need.startswith("pyptv-batch[")])


@pytest.mark.parametrize("extra", EXTRAS)
def test_what_demo_engine_and_report_need_is_there(extra: str, project: dict, conda: dict[str, str]) -> None:
    needed = extra_bounds(project, extra)
    assert {name: conda.get(name) for name in needed} == needed


def test_nothing_else_is_installed(project: dict, conda: dict[str, str], pip: list[str]) -> None:
    known = set(bounds(project["dependencies"])).union(*(extra_bounds(project, extra) for extra in EXTRAS))
    named = conda.keys() | bounds([entry for entry in pip if not entry.startswith("-")]).keys()
    assert named - known == {"python", "pip"}


def test_python_bounds(project: dict, conda: dict[str, str]) -> None:
    """From where pyproject.toml starts, up to the newest version that its classifiers name."""
    newest = max(int(text.rsplit(".", 1)[1]) for text in project["classifiers"] if "Python :: 3." in text)
    assert conda["python"] == f"{project['requires-python']},<3.{newest + 1}"


def test_pip_installs_this_package(pip: list[str]) -> None:
    assert "-e ." in pip
