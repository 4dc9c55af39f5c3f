"""Reads files of JSON that anybody may have written: their bytes within bounds, and their value against a JSON Schema.

The library jsonschema checks it; what is wrong is said in a line.
"""

from __future__ import annotations

import reprlib
from pathlib import Path
from typing import Any

from pyptv.core.base.errors import FormatError, ProcessingError
from pyptv.core.base.regular_files import open_regular

_OF_THE_WHOLE = ("required", "additionalProperties")
"""Keywords whose message says which fields, not what the value is."""
_LONGEST = 200
_COUNT = {"type": "integer", "minimum": 0}


def read_bounded(path: Path, most: int) -> bytes | None:
    """The bytes of a file, one more than ``most`` where there are more; None: there is no such file.

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
    """What is wrong with a value first, as ``"PLACE: found ..., expected ..."``; None: nothing.

    Long columns of counts, which jsonschema takes some microseconds a number for, are checked here if they are good.

    Args:
        value: as the ``json`` module reads it.
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
    """A value whose columns of counts are empty where there is nothing wrong with them; the rest is as it was."""
    if isinstance(value, dict):
        fields = schema.get("properties", {})
        return {name: _without_good_columns(item, fields.get(name, {})) for name, item in value.items()}
    if isinstance(value, list) and schema.get("items") == _COUNT:
        good = set(map(type, value)) <= {int} and min(value, default=0) >= 0
        return [] if good else value
    if isinstance(value, list) and "items" in schema:
        return [_without_good_columns(item, schema["items"]) for item in value]
    return value
