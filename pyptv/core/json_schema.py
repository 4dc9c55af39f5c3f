"""Checks a JSON value against a JSON Schema, as far as our own schemas go.

Known: ``type``, ``const``, ``enum``, ``minimum``, ``items``, ``properties``, ``required`` and ``additionalProperties: false``.
Numbers of type ``integer`` must be written as such. The tests compare the verdicts with those of the library jsonschema, which
a run need not have.
"""

from __future__ import annotations

import reprlib
from typing import Any

_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}


def first_problem(value: Any, schema: dict[str, Any], place: str = "") -> str | None:
    """What is wrong with a value first, as ``"PLACE: found ..., expected ..."``; None: nothing.

    Args:
        value: as the ``json`` module reads it.
        schema: likewise.
        place: path of the value, in dots.
    """
    if expected := _unmet(value, schema):
        return f"{place or 'the whole'}: found {reprlib.repr(value)}, expected {expected}"
    if isinstance(value, dict):
        return _first_in_object(value, schema, place)
    if isinstance(value, list) and "items" in schema:
        problems = (first_problem(item, schema["items"], f"{place}[{index}]") for index, item in enumerate(value))
        return next(filter(None, problems), None)
    return None


def _unmet(value: Any, schema: dict[str, Any]) -> str | None:
    """What the value itself should be and is not."""
    if "type" in schema:
        kinds = [schema["type"]] if isinstance(schema["type"], str) else schema["type"]
        if not any(_is_a(value, kind) for kind in kinds):
            return " or ".join(kinds)
    allowed = [schema["const"]] if "const" in schema else schema.get("enum")
    if allowed is not None and not any(type(value) is type(one) and value == one for one in allowed):
        return " or ".join(map(repr, allowed))
    if "minimum" in schema and isinstance(value, int | float) and value < schema["minimum"]:
        return f"at least {schema['minimum']}"
    return None


def _is_a(value: Any, kind: str) -> bool:
    return isinstance(value, _TYPES[kind]) and (kind == "boolean" or not isinstance(value, bool))


def _first_in_object(value: dict[str, Any], schema: dict[str, Any], place: str) -> str | None:
    missing = [name for name in schema.get("required", ()) if name not in value]
    if missing:
        return f"{place or 'the whole'}: {', '.join(missing)} missing"
    known = schema.get("properties", {})
    unknown = value.keys() - known.keys() if schema.get("additionalProperties") is False else ()
    if unknown:
        return f"{place or 'the whole'}: found {', '.join(map(reprlib.repr, sorted(unknown)))}, expected {', '.join(known)} only"
    problems = (first_problem(item, known[name], f"{place}.{name}".lstrip(".")) for name, item in value.items() if name in known)
    return next(filter(None, problems), None)
