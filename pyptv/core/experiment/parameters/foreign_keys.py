"""Keys of YAML files that have no effect in this program: reported once, so that no user relies on them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields
from typing import Any

from pyptv.core.base.errors import FormatError
from pyptv.core.base.similar import similar
from pyptv.core.experiment.parameters.attrdict import shown
from pyptv.core.experiment.parameters.dialects import RawParameters
from pyptv.core.experiment.parameters.schema import HIGH_PASS_SPAN, SECTIONS, key_of
from pyptv.core.experiment.parameters.use import SPLITTER_PLUGIN, splits_by_plugin

_PYPTV_KEYS = {
    "ptv": ("img_name", "tiff_flag", "inverse"),
    "track": ("track_mode",),
}
"""Keys that PyPTV and related programs write, and that change nothing here: not reported."""

_MOST_NAMED = 10
_EVERYWHERE = ("default_path", "filename", "n_cam", "n_img", "num_cams", "path", "exp_path")
"""Attributes that PyPTV's converters write into every section."""

_SPLITTER_PLUGINS = (SPLITTER_PLUGIN, "ext_tracker_splitter")
"""PyPTV's plugins for split images, whose function is built in."""


def _is(*values: Any) -> Callable[[Any], bool]:
    """Whether a value is one with which openptv2 does the same as this program."""
    return lambda value: value in values


_OPENPTV2: dict[tuple[str, str], tuple[Callable[[Any], bool], str]] = {
    ("ptv", "pair_flag"): (_is(), "it concerns particles that only two cameras see; here allcam_flag alone decides on them"),
    ("ptv", "triangulation"): (_is(), "it chooses how positions follow from the rays; here they are PyPTV's"),
    ("ptv", "highpass_size"): (_is(HIGH_PASS_SPAN), f"it is the half width of the high-pass; here that is {HIGH_PASS_SPAN} px"),
    ("ptv", "grey_scaling"): (
        _is("fixed"),
        "it chooses how 16 bit become 8 bit; docs/file_formats.md describes how this program does it",
    ),
    ("ptv", "grey_range"): (_is(), "it is the range of grey_scaling"),
    ("track", "preset"): (_is("standard_forward"), "it chooses the tracker; here the forward tracker of optv runs, as in PyPTV"),
    ("track", "postprocess"): (
        _is(0, "false", "off", "no"),
        "it revises links after tracking; here links are as tracked",
    ),
    ("track", "stride"): (_is(1), "it tracks every n-th frame; here every frame is tracked"),
}
"""Keys that change results in openptv2: (values with which they do not, their effect there)."""


def foreign_keys(raw: RawParameters) -> list[str]:
    """One line about keys of openptv2 that would change results there, one about unknown keys."""
    openptv2: list[str] = []
    unknown: list[tuple[str, str]] = []
    for section, key, value in _other_keys(raw):
        meaning = _OPENPTV2.get((section, key))
        if meaning is None:
            unknown.append((section, key))
        elif not meaning[0](value):
            openptv2.append(f"{section}.{key} {shown(value)} ({meaning[1]})")
    sharpening = raw.tree.get("unsharp_mask")
    if isinstance(sharpening, dict) and sharpening.get("flag") not in (None, 0, "false", "no", "off"):
        openptv2.append("unsharp_mask (it sharpens images before detection; here they are not sharpened)")
    lines = []
    if openptv2:
        lines.append(
            f"{raw.source}: openptv2 would give other results with these keys, which are not used here: {'; '.join(openptv2)}"
        )
    if unknown:
        named = ", ".join(f"{section}.{key:.40}{_meant(section, key)}" for section, key in unknown[:_MOST_NAMED])
        more = f" and {len(unknown) - _MOST_NAMED} more" if len(unknown) > _MOST_NAMED else ""
        lines.append(f"{raw.source}: unknown keys, which are not used: {named}{more}")
    return lines


def splitting_plugins(raw: RawParameters) -> list[str]:
    """A note that images are split only because of a selected plugin, whose function is built in."""
    if not splits_by_plugin(raw.tree):
        return []
    return [f"{raw.locate('plugins', 'selected_sequence')}: images are split, though ptv.splitter is not set"]


def selected_plugins(raw: RawParameters, *, splitter: bool) -> dict[str, tuple[str, str | None]]:
    """Step -> location and name of the selected plugin of PyPTV; None if its function is built in."""
    plugins = raw.tree.get("plugins")
    built_in = ("default", None, *(_SPLITTER_PLUGINS if splitter else ()))
    found = {}
    for step in ("sequence", "tracking"):
        key = f"selected_{step}"
        name = plugins.get(key) if isinstance(plugins, dict) else None
        found[step] = raw.locate("plugins", key), None if name in built_in else str(name)
    return found


def named_hooks(raw: RawParameters) -> tuple[str, ...]:
    """The hooks that a YAML file lists under ``hooks``.

    Raises:
        FormatError: another value was found there.
    """
    listed = raw.tree.get("hooks") or []
    if not isinstance(listed, list) or not all(isinstance(item, str) for item in listed):
        raise FormatError(f"{raw.source}, hooks: found {shown(listed)}, expected a list of texts NAME or NAME:key=value,...")
    return tuple(listed)


def _other_keys(raw: RawParameters) -> Iterator[tuple[str, str, Any]]:
    """(section, key, value) of entries in known sections that are not parameters."""
    for section, kind in SECTIONS.items():
        values = raw.tree.get(section)
        if isinstance(values, dict):
            known = {key_of(field) for field in fields(kind)} | {*_PYPTV_KEYS.get(section, ()), *_EVERYWHERE}
            yield from ((section, key, value) for key, value in values.items() if key not in known)


def _meant(section: str, key: str) -> str:
    close = similar(key, [key_of(field) for field in fields(SECTIONS[section])], 1)
    return f" (similar: {close[0]})" if close else ""
