"""Reads JSON files from any source: within limits of size, and checked against a JSON Schema.

The library jsonschema does the check; a problem is described in one line.
"""

from __future__ import annotations

import reprlib
from pathlib import Path
from typing import Any

from pyptv.core.base.errors import FormatError, ProcessingError
from pyptv.core.base.regular_files import open_regular

_OF_THE_WHOLE = ("required", "additionalProperties")
"""Keywords whose message lists fields, not the value."""
_LONGEST = 200
_COUNT = {"type": "integer", "minimum": 0}


def read_bounded(path: Path, most: int) -> bytes | None:
    """The bytes of a file, or one more than ``most`` of them if there are more; None: there is no such file.

    Raises:
        FormatError: it cannot be read.
    """
    try:
        with open_regular(path) as file:
            return file.read(most + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise FormatError(f"{path}: cannot be read: {error.strerror}") from error


def first_problem(value: Any, schema: dict[str, Any]) -> str | None:
    """The first problem of a value, as ``"PLACE: found ..., expected ..."``; None: no problem.

    Valid long columns of counts, for which jsonschema needs some microseconds per number, are checked here.

    Args:
        value: as read by the ``json`` module.
        schema: likewise.

    Raises:
        ProcessingError: jsonschema is not installed.
    """
    try:
        from jsonschema import Draft202012Validator  # an extra
    except ImportError as error:
        raise ProcessingError('reading a run report needs jsonschema: pip install "pyptv-batch[report]"') from error
    problem = next(Draft202012Validator(schema).iter_errors(_without_good_columns(value, schema)), None)
    if problem is None:
        return None
    place = problem.json_path.removeprefix("$").removeprefix(".") or "the whole"
    if problem.validator in _OF_THE_WHOLE:
        return f"{place}: {problem.message[:_LONGEST]}"
    return f"{place}: found {reprlib.repr(problem.instance)}, expected {problem.validator} {problem.validator_value}"


def _without_good_columns(value: Any, schema: dict[str, Any]) -> Any:
    """The value with valid columns of counts emptied; everything else is unchanged."""
    if isinstance(value, dict):
        fields = schema.get("properties", {})
        return {name: _without_good_columns(item, fields.get(name, {})) for name, item in value.items()}
    if isinstance(value, list) and schema.get("items") == _COUNT:
        good = set(map(type, value)) <= {int} and min(value, default=0) >= 0
        return [] if good else value
    if isinstance(value, list) and "items" in schema:
        return [_without_good_columns(item, schema["items"]) for item in value]
    return value
