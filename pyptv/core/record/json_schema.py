"""Checks a JSON value against a JSON Schema by the library jsonschema, and says in a line what is wrong."""

from __future__ import annotations

import reprlib
from typing import Any

from pyptv.core.base.errors import ProcessingError

_OF_THE_WHOLE = ("required", "additionalProperties")
"""Keywords whose message says which fields, not what the value is."""
_LONGEST = 200


def first_problem(value: Any, schema: dict[str, Any]) -> str | None:
    """What is wrong with a value first, as ``"PLACE: found ..., expected ..."``; None: nothing.

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
    problem = next(Draft202012Validator(schema).iter_errors(value), None)
    if problem is None:
        return None
    place = problem.json_path.removeprefix("$").removeprefix(".") or "the whole"
    if problem.validator in _OF_THE_WHOLE:
        return f"{place}: {problem.message[:_LONGEST]}"
    return f"{place}: found {reprlib.repr(problem.instance)}, expected {problem.validator} {problem.validator_value}"
