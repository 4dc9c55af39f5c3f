"""Additions for MkDocs to the pages in this folder: the navigation, pages of the top folder, and two generated references.

Build the site with ``mkdocs build`` (extra ``docs``), and open ``site/index.html``.
"""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

ROOT = Path(__file__).parents[1]
TOP = {"LOGGING_GUIDE.md": "logging.md", "CHANGELOG.md": "changelog.md", "CONTRIBUTING.md": "contributing.md"}
"""Page of the top folder -> its name in the site."""

NAVIGATION: dict[str, list[str]] = {
    "Tutorials": ["first-run.md", "from-pyptv.md", "when-it-fails.md"],
    "How to": [
        "running.md",
        "PYPTV_ENVIRONMENT_GUIDE.md",
        "cluster.md",
        "advice.md",
        "trajectories.md",
        "whole_tracks.md",
        "report.md",
        "dense.md",
        "plugins.md",
        "python.md",
        "logging.md",
    ],
    "Reference": ["commands.md", "api.md", "file_formats.md", "run_report.md", "glossary.md", "changelog.md"],
    "Explanation": [
        "architecture.md",
        "parallel_tracking.md",
        "workers.md",
        "engines.md",
        "accuracy.md",
        "reliability.md",
        "performance.md",
        "contributing.md",
    ],
}
"""Section -> its pages; missing pages are left out."""

API = {
    "pyptv.pyptv_batch": ["main"],
    "pyptv.pyptv_batch_parallel": ["main", "chunk_ranges", "run_sequence_chunk"],
    "pyptv.core.record.result": ["RunResult"],
    "pyptv.core.record.progress": ["Progress"],
    "pyptv.core.base.options": ["Options"],
    "pyptv.core.base.errors": ["ProcessingError", "InvalidExperimentError"],
    "pyptv.trajectories": ["read_trajectories", "Trajectories"],
    "pyptv.trajectories.postprocess": ["PostProcessing", "ProcessedTrajectories"],
    "pyptv.trajectories.statistics": ["read_statistics", "Statistics"],
    "pyptv.report": ["write_report"],
    "pyptv.evaluate": ["evaluate"],
    "pyptv.synthetic": ["make_experiment", "read_truth"],
}
"""Module -> its public names in the reference."""


def commands_page() -> str:
    """The reference of the commands: the text of each ``--help``."""
    from pyptv.__main__ import commands
    from pyptv.core.cli.options import PARALLEL, SEQUENTIAL, build_parser

    kinds = {"pyptv.pyptv_batch": SEQUENTIAL, "pyptv.pyptv_batch_parallel": PARALLEL}
    parts = [
        "# Commands",
        "Generated from the texts of `--help`. `python -m pyptv` lists all commands, and runs each by its short name.",
    ]
    for name, entry in commands().items():
        called = f"`python -m pyptv {name}`"
        if entry.first:
            parts += [f"## {name}", f"{called}: {entry.summary}. The same as `run {' '.join(entry.first)}`."]
            continue
        module = importlib.import_module(entry.module)
        parser = build_parser(kinds[entry.module]) if entry.module in kinds else module.build_parser()
        also = "" if parser.prog.startswith("python") else f", or `{parser.prog}`"
        parts += [f"## {name}", f"{called}{also}", f"```text\n{parser.format_help().rstrip()}\n```"]
    return "\n\n".join(parts) + "\n"


def api_page() -> str:
    """The reference for Python: signatures and docstrings of the public names."""
    parts = ["# Python", "Generated from the docstrings. Everything else is internal and may change."]
    for name, public in API.items():
        parts.append(f"## {name}")
        for wanted in public:
            home = importlib.import_module(getattr(importlib.import_module(name), wanted).__module__)
            tree = ast.parse(Path(str(home.__file__)).read_text(encoding="utf-8"))
            node = next(node for node in tree.body if getattr(node, "name", None) == wanted)
            parts += [f"### {wanted}", f"```python\n{_signature(node)}\n```", f"```text\n{ast.get_docstring(node)}\n```"]
    return "\n\n".join(parts) + "\n"


def _signature(node: Any) -> str:
    """A function with its annotations; a class with its fields and their meaning."""
    if isinstance(node, ast.FunctionDef):
        returns = f" -> {ast.unparse(node.returns)}" if node.returns is not None else ""
        arguments = ",\n    ".join(re.split(r", (?![^\[]*\])", ast.unparse(node.args)))
        return f"def {node.name}(\n    {arguments},\n){returns}"
    lines = [f"class {node.name}:"]
    for part in node.body:
        if isinstance(part, ast.AnnAssign) and not ast.unparse(part.target).startswith("_"):
            lines.append(f"    {ast.unparse(part)}")
        elif isinstance(part, ast.Expr) and part is not node.body[0] and isinstance(part.value, ast.Constant):
            lines += [f"    # {line.strip()}" for line in str(part.value.value).splitlines()]
    return "\n".join(lines)


def on_config(config: Any) -> Any:
    """Make the navigation of the pages that there are."""
    there = {path.name for path in (ROOT / "docs").glob("*.md")} | {*TOP.values(), "commands.md", "api.md"}
    sections = [{title: [page for page in pages if page in there]} for title, pages in NAVIGATION.items()]
    forgotten = there - {page for pages in NAVIGATION.values() for page in pages} - {"README.md"}
    config["nav"] = [{"Overview": "README.md"}, *sections, *([{"More": sorted(forgotten)}] if forgotten else [])]
    return config


def on_files(files: Any, config: Any) -> Any:
    """Add the pages of the top folder, and the generated ones."""
    for source, name in TOP.items():
        files.append(File.generated(config, name, content=(ROOT / source).read_text(encoding="utf-8")))
    files.append(File.generated(config, "commands.md", content=commands_page()))
    files.append(File.generated(config, "api.md", content=api_page()))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Links as they are on disk -> links of the site."""
    if page.file.src_uri in TOP.values():
        markdown = re.sub(r"\]\(docs/", "](", markdown)
        markdown = re.sub(r"\]\((README|LICENSE)[^)]*\)", "](README.md)", markdown)
    for source, name in TOP.items():
        markdown = markdown.replace(f"](../{source}", f"]({name}").replace(f"]({source}", f"]({name}")
    return re.sub(r"\]\(\.\./README\.md[^)]*\)", "](README.md)", markdown)
