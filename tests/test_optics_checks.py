"""Total reflection: an experiment whose cameras cannot see the volume is refused, through the front door; others are not."""

from __future__ import annotations

import re
from functools import partial

import pytest
from conftest import refusal
from yaml import safe_dump, safe_load

from pyptv import pyptv_batch, pyptv_batch_parallel
from pyptv.synthetic.writer import YAML_NAME

ENTRIES = {"serial": pyptv_batch.main, "parallel": partial(pyptv_batch_parallel.main, n_processes=2)}


@pytest.mark.parametrize("entry", ENTRIES)
def test_light_that_finds_no_way(small_experiment, entry):
    """The cameras look through the glass at up to some 25 degrees."""
    folder = small_experiment(images=False, dialect="yaml")
    yaml = folder / YAML_NAME
    tree = safe_load(yaml.read_text())
    for indices, refused in (
        ((1.33, 1.46, 1.0), False),
        ((3.0, 1.46, 1.33), True),
        ((3.0, 3.0, 1.0), True),
        ((10, 10, 10), False),
    ):
        tree["ptv"] |= dict(zip(("mmp_n1", "mmp_n2", "mmp_n3"), indices, strict=True))
        yaml.write_text(safe_dump(tree))
        message = refusal(partial(ENTRIES[entry], engine="optv", mode="sequence"), yaml, 10000, 10000)
        assert (message is not None) == refused, indices
        if message:
            assert message.startswith(f"{yaml}, ptv.mmp_n1: found the refractive indices 3 before the glass, ")
            assert "is totally reflected beyond" in message
            assert "expected indices (and Z limits) that let every camera see the volume" in message


@pytest.mark.parametrize(
    "change", [{"mmp_n1": 0.05}, {"mmp_n3": 1e6}, {"mmp_d": 1e6}, {"Zmax_lay": [1e6, 1e6]}, {"X_lay": [-1e12, 1.0]}]
)
def test_what_no_experiment_has(small_experiment, change):
    folder = small_experiment(images=False, dialect="yaml")
    yaml = folder / YAML_NAME
    tree = safe_load(yaml.read_text())
    ((name, value),) = change.items()
    tree["criteria" if name.endswith("lay") else "ptv"][name] = value
    yaml.write_text(safe_dump(tree))
    for entry in ENTRIES.values():
        message = str(refusal(entry, yaml, 10000, 10000))
        assert re.search(rf"\.{name}(, item \d+)?: found ", message)
        assert "expected at " in message
