"""Reports the differences of an unused ``parameters/`` folder beside the YAML file that is used."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from pyptv.core.experiment.parameters.dialects import RawParameters
from pyptv.core.experiment.parameters.schema import SECTIONS, Parameters, key_of

_MOST_NAMED = 5
_WITHOUT_USE = (("ptv", "hp_flag"), ("targ_rec", "cr_sz"))


def stale_notes(used: str, stale: RawParameters, parameters: Parameters, others: Parameters) -> list[str]:
    """One line with the values that differ, or none.

    Args:
        used: name of the file that is used.
        stale: the unused folder; only the values in it are compared.
        parameters: those that are used.
        others: those of the folder.
    """
    if parameters.num_cams != others.num_cams:
        differing = [f"num_cams {parameters.num_cams}, there {others.num_cams}"]
    else:
        differing = _differences(stale, parameters, others)
    if not differing:
        return []
    more = f" and {len(differing) - _MOST_NAMED} more" if len(differing) > _MOST_NAMED else ""
    values = "; ".join(differing[:_MOST_NAMED])
    return [f"{used} is used; {stale.source.parent.name}/ beside it is not used, and has other values: {values}{more}"]


def _differences(stale: RawParameters, parameters: Parameters, others: Parameters) -> list[str]:
    differing = []
    for section in SECTIONS:
        mine, theirs = getattr(parameters, section), getattr(others, section)
        for parameter in fields(mine):
            key, value, other = key_of(parameter), getattr(mine, parameter.name), getattr(theirs, parameter.name)
            stated = key in stale.tree.get(section, {}) and (section, key) not in _WITHOUT_USE
            if stated and value != other:
                differing.append(f"{section}.{key} {_plain(value)}, there {_plain(other)}")
    return differing


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
