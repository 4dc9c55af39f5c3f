"""``res/advice.json``: the measurements and proposals of ``pyptv-advise --json``, for the report and other programs.

``advice.schema.json`` beside this module is its JSON Schema.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pyptv.core.base.bounded_json import parse_json
from pyptv.core.base.errors import FormatError
from pyptv.core.record.json_schema import first_problem, read_bounded

FILE_NAME = "advice.json"
SCHEMA_FILE = Path(__file__).with_name("advice.schema.json")
VERSION = 1
"""Version of the schema."""
_MOST_BYTES = 2_000_000


def advice_schema() -> dict[str, Any]:
    """The JSON Schema of an advice."""
    schema: dict[str, Any] = json.loads(SCHEMA_FILE.read_text(encoding="utf-8"))
    return schema


def read_advice(results: Path) -> dict[str, Any] | None:
    """The advice in a folder of results; None: there is none.

    Raises:
        FormatError: it cannot be read, is of another version, or is damaged.
        ProcessingError: the extra ``report`` is not installed.
    """
    path = results / FILE_NAME
    text = read_bounded(path, _MOST_BYTES)
    if text is None:
        return None
    try:
        tree = parse_json(text, _MOST_BYTES)
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{path}: found {error or 'no JSON'}, expected the JSON of an advice: make it anew") from error
    if problem := first_problem(tree, advice_schema()):
        raise FormatError(f"{path}: {problem}: no advice of this version, or damaged: make it anew with pyptv-advise --json")
    found: dict[str, Any] = tree
    return found
