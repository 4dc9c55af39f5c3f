"""YAML from unknown sources: plain data only, within limits of time and memory.

PyYAML's safe loader executes nothing, but a small file can keep it busy for hours or end the process: endless levels,
numbers in base 60, aliases of aliases. So values are counted before they are constructed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import yaml

from pyptv.core.experiment.parameters.attrdict import AttrDict

MOST_CHARACTERS = 1_000_000
_MOST_VALUES = 50_000
"""A parameter file has about a hundred."""
_MOST_LEVELS = 50
_LONGEST_NUMBER = 60
"""Characters; longer ones stay text."""


def load_yaml(text: str) -> Any:
    """The data in a YAML text; mappings are :class:`AttrDict`.

    Raises:
        yaml.YAMLError: it is not YAML, or exceeds a limit.
        Exception: PyYAML's constructors raise many types of errors on a wrong tag or number.
    """
    if len(text) > MOST_CHARACTERS:
        raise yaml.YAMLError(f"found {len(text)} characters, expected at most {MOST_CHARACTERS}")
    _refuse_bombs(text)
    return yaml.load(text, Loader=_Loader)  # noqa: S506 -- a subclass of yaml's safe loader


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """The safe loader, with :class:`AttrDict` for mappings and without merge keys, which can grow without bound."""


def _refuse_bombs(text: str) -> None:
    """Refuse too many levels (PyYAML recurses without limit), and too many values, counting each alias with its contents."""
    open_: list[tuple[str | None, int]] = []  # anchor of an open collection, and number of values before it
    sizes: dict[str, int] = {}
    count = 0
    for event in yaml.parse(text, Loader=_Loader):
        count += 1
        if isinstance(event, yaml.CollectionStartEvent):
            open_.append((event.anchor, count))
            if len(open_) > _MOST_LEVELS:
                raise _problem(f"found more than {_MOST_LEVELS} levels", event)
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = open_.pop()
            if anchor is not None:
                sizes[anchor] = count - before
        elif isinstance(event, yaml.AliasEvent):
            if any(anchor == event.anchor for anchor, _ in open_):
                raise _problem(f"found a value that contains itself (*{event.anchor})", event)
            count += sizes.get(event.anchor or "", 1)
        if count > _MOST_VALUES:
            raise _problem(f"found more than {_MOST_VALUES} values", event)


def _problem(text: str, event: yaml.Event) -> yaml.YAMLError:
    return yaml.composer.ComposerError(None, None, text, event.start_mark)  # type: ignore[arg-type]


def _construct_mapping(loader: Any, node: yaml.MappingNode) -> Iterator[AttrDict]:
    if not isinstance(node, yaml.MappingNode):
        raise yaml.constructor.ConstructorError(None, None, "expected a mapping", node.start_mark)
    if any(key.tag == "tag:yaml.org,2002:merge" for key, _ in node.value):
        raise yaml.constructor.ConstructorError(None, None, "merge keys (<<) are not supported", node.start_mark)
    mapping = AttrDict()
    yield mapping
    for key_node, value_node in node.value:
        key = loader.construct_object(key_node)
        mapping[key if isinstance(key, str) else str(key)] = loader.construct_object(value_node)


def _construct_number(loader: Any, node: yaml.Node) -> Any:
    """A number as read by PyYAML; text if it is in base 60 (``1:30``) or has too many digits."""
    if isinstance(node, yaml.ScalarNode) and (":" in node.value or len(node.value) > _LONGEST_NUMBER):
        return node.value
    kind = "int" if node.tag.endswith(":int") else "float"
    return getattr(loader, f"construct_yaml_{kind}")(node)


_Loader.add_constructor("tag:yaml.org,2002:map", _construct_mapping)
_Loader.add_constructor("tag:yaml.org,2002:int", _construct_number)
_Loader.add_constructor("tag:yaml.org,2002:float", _construct_number)
