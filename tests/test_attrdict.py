"""The raw parameter tree."""

from __future__ import annotations

import pickle

import pytest

from pyptv.core.experiment.parameters.attrdict import AttrDict, shown


def test_keys_are_attributes_at_every_level():
    tree = AttrDict(ptv={"imx": 1280, "layers": {"n1": 1.0}})
    assert tree.ptv.imx == tree["ptv"]["imx"] == 1280
    assert tree.ptv.layers.n1 == 1.0


def test_it_is_a_dictionary():
    tree = AttrDict({"a": 1}, b=2)
    assert tree == {"a": 1, "b": 2}
    assert isinstance(tree, dict)
    assert list(tree.items()) == [("a", 1), ("b", 2)]


def test_attributes_are_set_and_deleted():
    tree = AttrDict()
    tree.section = {"value": 1}
    tree.section.value = 2
    assert tree == {"section": {"value": 2}}
    del tree.section
    assert tree == {}


def test_a_nested_attrdict_is_kept_and_a_plain_one_is_converted():
    inner = AttrDict(x=1)
    assert AttrDict(inner=inner).inner is inner
    assert type(AttrDict(inner={"x": 1}).inner) is AttrDict


def test_a_missing_name_lists_those_that_are_there():
    with pytest.raises(AttributeError, match=r"no entry 'imz'; there are: imx, imy"):
        _ = AttrDict(imx=1, imy=2).imz
    with pytest.raises(AttributeError, match="there are: none"):
        _ = AttrDict().imx
    with pytest.raises(AttributeError, match="no entry 'x' to delete"):
        del AttrDict().x
    with pytest.raises(KeyError):
        _ = AttrDict()["imx"]


def test_it_survives_a_pickle():
    tree = AttrDict(ptv={"imx": 1280})
    again = pickle.loads(pickle.dumps(tree))
    assert again == tree
    assert type(again.ptv) is AttrDict


class TestShown:
    def test_short_values_are_whole(self):
        assert shown("cal/cam1.tif") == "'cal/cam1.tif'"
        assert shown([1, 2]) == "[1, 2]"
        assert shown(AttrDict(a=1)) == "{'a': 1}"

    @pytest.mark.parametrize(
        "value",
        ["x" * 9000, list(range(9000)), {str(i): i for i in range(9000)}, 1 << 90_000],
        ids=["text", "list", "mapping", "number"],
    )
    def test_long_ones_are_cut(self, value):
        assert len(shown(value)) < 150

    def test_a_tree_that_repeats_itself_does_not_explode(self):
        tree = AttrDict(leaf=1)
        for _ in range(20):  # written out: 2 ** 20 leaves
            tree = AttrDict(left=tree, right=tree)
        text = shown(tree)
        del tree  # pytest would write it out for a failure
        assert len(text) < 1000
