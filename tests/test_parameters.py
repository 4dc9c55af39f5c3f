"""Checked parameters: every wrong value is named with its place, what was found and what was expected."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from conftest import refusal, sample_tree
from hypothesis import given
from hypothesis import strategies as st

from pyptv.core.base.errors import InvalidExperimentError, ProcessingError
from pyptv.core.experiment.image_names import expand, pattern_problem
from pyptv.core.experiment.parameters.attrdict import AttrDict
from pyptv.core.experiment.parameters.checks import build_parameters
from pyptv.core.experiment.parameters.schema import REQUIRED_SECTIONS, SECTIONS, Parameters


def locate(section: str, key: str) -> str:
    return f"file {section}.{key}"


def build(tree: dict[str, Any]) -> Parameters:
    return build_parameters(AttrDict(tree), locate)


def changed(place: str, value: Any) -> dict[str, Any]:
    """The sample with one value replaced: ``"ptv.imx"``; taken away where the value is ``...``."""
    tree = sample_tree()
    *sections, key = place.split(".")
    target = tree
    for section in sections:
        target = target.setdefault(section, {})
    if value is ...:
        del target[key]
    else:
        target[key] = value
    return tree


def problems_of(tree: dict[str, Any]) -> tuple[str, ...]:
    with pytest.raises(InvalidExperimentError) as caught:
        build(tree)
    return caught.value.problems


class TestValid:
    def test_every_value_arrives(self):
        parameters = build(sample_tree())
        assert parameters.num_cams == 4
        assert parameters.ptv.calibration_images == ("cal/cam1.tif", "cal/cam2.tif", "cal/cam3.tif", "cal/cam4.tif")
        assert (parameters.ptv.imx, parameters.ptv.imy, parameters.ptv.mmp_n2) == (1280, 1024, 1.49)
        assert parameters.sequence.base_name[3] == "img/cam4.%d"
        assert parameters.criteria.Zmin_lay == (-20.0, -21.0)
        assert parameters.targ_rec.gvthres == (9, 10, 11, 12)
        assert parameters.track.add is True
        assert parameters.pft_version.existing_target is False
        assert parameters.masking.enabled is False

    def test_they_cannot_be_changed(self):
        with pytest.raises(dataclasses.FrozenInstanceError):
            build(sample_tree()).ptv.imx = 1

    @pytest.mark.parametrize("section", SECTIONS.values(), ids=lambda section: section.__name__)
    def test_every_field_says_what_it_means(self, section):
        for field in dataclasses.fields(section):
            assert field.metadata["meaning"], field.name

    def test_the_tree_of_checked_parameters_gives_them_again(self):
        parameters = build(sample_tree())
        tree = parameters.as_tree()
        assert tree["track"]["flagNewParticles"] is True
        assert tree["ptv"]["img_cal"][0] == "cal/cam1.tif"
        assert build(tree) == parameters

    @pytest.mark.parametrize(
        ("place", "value", "read"),
        [
            ("ptv.imx", "1280", 1280),
            ("ptv.imx", 1280.0, 1280),
            ("criteria.eps0", "2e-1", 0.2),
            ("criteria.corrmin", -1, -1.0),
            ("ptv.allcam_flag", 1, True),
            ("ptv.allcam_flag", "0", False),
        ],
    )
    def test_forms_of_a_number(self, place, value, read):
        section, key = place.split(".")
        found = build(changed(place, value)).as_tree()[section][key]
        assert found == read
        assert type(found) is type(read)

    def test_optional_values_have_defaults(self):
        tree = changed("targ_rec.cr_sz", ...)
        del tree["pft_version"], tree["ptv"]["hp_flag"]
        parameters = build(tree)
        assert parameters.targ_rec.cr_sz == 2
        assert parameters.ptv.high_pass is True
        assert parameters.pft_version.existing_target is False

    @pytest.mark.parametrize("key", ["negative", "inverse"])
    def test_two_names_of_negative(self, key):
        assert build(changed(f"ptv.{key}", value=True)).ptv.negative is True

    def test_lists_padded_with_nulls(self):
        names = [*sample_tree()["sequence"]["base_name"], None, None]
        assert len(build(changed("sequence.base_name", names)).sequence.base_name) == 4

    @pytest.mark.parametrize("n", [1, 2, 3, 4])
    def test_one_to_four_cameras(self, n):
        assert build(changed("num_cams", n)).num_cams == n


class TestProblems:
    @pytest.mark.parametrize(
        ("place", "value", "message"),
        [
            ("num_cams", 0, "file .num_cams: found 0, expected 1 to 4 cameras"),
            ("num_cams", 5, "file .num_cams: found 5, expected 1 to 4 cameras"),
            ("num_cams", True, "file .num_cams: found True, expected 1 to 4 cameras"),
            ("num_cams", "4 cameras", "file .num_cams: found '4 cameras', expected 1 to 4 cameras"),
            ("num_cams", ..., "file .num_cams: is missing, expected 1 to 4 cameras"),
            ("ptv.imx", ..., "file ptv.imx: is missing, expected image width [px]"),
            ("ptv.imx", "wide", "file ptv.imx: found 'wide', expected a whole number: image width [px]"),
            ("ptv.imx", 1280.5, "file ptv.imx: found 1280.5, expected a whole number: image width [px]"),
            ("ptv.imx", True, "file ptv.imx: found True, expected a whole number: image width [px]"),
            ("ptv.imx", [1280], "file ptv.imx: found [1280], expected a whole number: image width [px]"),
            ("ptv.imx", float("nan"), "file ptv.imx: found nan, expected a whole number: image width [px]"),
            ("ptv.imx", 50, "file ptv.imx: found 50, expected at least 51: image width [px]"),
            ("ptv.imy", 32768, "file ptv.imy: found 32768, expected at most 32767: image height [px]"),
            ("ptv.pix_x", 0, "file ptv.pix_x: found 0, expected more than 0: pixel width [mm]"),
            ("ptv.mmp_d", -1, "file ptv.mmp_d: found -1, expected at least 0: thickness of the glass [mm]"),
            ("ptv.chfield", 3, "file ptv.chfield: found 3, expected at most 2"),
            ("ptv.allcam_flag", "maybe", "file ptv.allcam_flag: found 'maybe', expected true or false (1 or 0)"),
            ("ptv.img_cal", "cal/cam1.tif", "file ptv.img_cal: found 'cal/cam1.tif', expected a list"),
            ("ptv.img_cal", ["a", "b"], "file ptv.img_cal: found 2 values, expected one for each of 4 cameras"),
            ("ptv.img_cal", ["a", None, "c", "d"], "file ptv.img_cal, item 2: found None, expected a text: calibration image"),
            ("ptv.img_cal", ["a", "b", "c", 4], "file ptv.img_cal, item 4: found 4, expected a text"),
            ("ptv.img_cal", ["a", "b", "c\0", "d"], "file ptv.img_cal, item 3: found 'c\\x00', expected a text"),
            ("sequence.first", -1, "file sequence.first: found -1, expected at least 0: first frame"),
            ("sequence.base_name", ["a%d"], "file sequence.base_name: found 1 values, expected one for each of 4 cameras"),
            ("criteria.eps0", 0, "file criteria.eps0: found 0, expected more than 0: width of the epipolar band"),
            ("criteria.eps0", "wide", "file criteria.eps0: found 'wide', expected a number"),
            ("criteria.X_lay", [1], "file criteria.X_lay: found 1 values, expected 2: x where the Z limits are given"),
            ("criteria.X_lay", [1, None], "file criteria.X_lay, item 2: found None, expected a number"),
            ("criteria.X_lay", [3, 3], "file criteria.X_lay, item 2: found twice 3.0, expected two different x"),
            ("criteria.Zmin_lay", [25.5, -21], "file criteria.Zmin_lay, item 1: found Zmin_lay 25.5 and Zmax_lay 25.0, expected"),
            ("criteria", ..., "file criteria.: found nothing, expected the section 'criteria'"),
            ("criteria", 7, "file criteria.: found 7, expected the section 'criteria'"),
            ("targ_rec.gvthres", [9, 10, 11, 256], "file targ_rec.gvthres, item 4: found 256, expected at most 255"),
            ("targ_rec.gvthres", [9, 10, 11, -1], "file targ_rec.gvthres, item 4: found -1, expected at least 0"),
            ("targ_rec.nnmin", 501, "file targ_rec.nnmin: found 501, expected at most nnmax = 500"),
            ("track.dvxmin", 16, "file track.dvxmin: found 16.0, expected at most dvxmax = 15.5"),
            ("track.dacc", 1e16, "file track.dacc: found 1e+16, expected a number"),
            ("track.flagNewParticles", ..., "file track.flagNewParticles: is missing, expected add particles"),
        ],
    )  # fmt: skip
    def test_message(self, place, value, message):
        problems = problems_of(changed(place, value))
        assert any(problem.startswith(message) for problem in problems), problems

    def test_all_are_listed_at_once(self):
        tree = changed("ptv.imx", "wide")
        tree["track"]["dacc"] = "far"
        del tree["criteria"]
        problems = problems_of(tree)
        assert len(problems) == 3
        with pytest.raises(InvalidExperimentError, match=r"^3 problems:\n  - file ptv\.imx: .*\n  - .*\n  - .*$"):
            build(tree)

    @pytest.mark.parametrize("section", REQUIRED_SECTIONS)
    def test_each_section_is_needed(self, section):
        assert problems_of(changed(section, ...)) == (f"file {section}.: found nothing, expected the section {section!r}",)

    def test_a_split_image_has_four_views(self):
        tree = changed("ptv.splitter", value=True)
        tree["num_cams"] = 3
        assert problems_of(tree) == ("file ptv.splitter: found 3 cameras, a split image holds 4 views",)

    def test_a_split_image_has_one_name(self):
        tree = changed("ptv.splitter", value=True)
        tree["sequence"]["base_name"] = ["img/views.%d"]
        assert build(tree).sequence.base_name == ("img/views.%d",)

    def test_the_name_of_a_mask(self):
        tree = changed("masking", {"mask_flag": True, "mask_base_name": "img/mask.tif"})
        assert problems_of(tree)[0].startswith(
            "file masking.mask_base_name: found 'img/mask.tif', expected a name with exactly one"
        )
        tree["masking"]["mask_flag"] = False
        assert build(tree).masking.enabled is False

    def test_a_number_too_long_to_be_written(self):
        huge = 1 << 90_000
        for place in ("num_cams", "ptv.imx", "criteria.eps0"):
            assert "a number of 90001 bits" in problems_of(changed(place, huge))[0]

    @given(
        st.sampled_from([(section, key) for section, values in sample_tree().items() if section != "num_cams" for key in values]),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
            lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
            max_leaves=5,
        ),
    )
    def test_any_value_anywhere(self, place, value):
        tree = sample_tree()
        tree[place[0]][place[1]] = value
        reason = refusal(build, tree)
        if reason is None:
            assert build(build(tree).as_tree()) == build(tree)
        else:
            assert "expected" in reason

    @given(st.dictionaries(st.sampled_from(["num_cams", *SECTIONS]), st.none() | st.integers() | st.text() | st.lists(st.none())))
    def test_any_tree(self, tree):
        with pytest.raises(ProcessingError):
            build(tree)


class TestPatterns:
    @pytest.mark.parametrize(
        ("pattern", "name"),
        [
            ("img/cam1.%d", "img/cam1.7"),
            ("img/cam1.%04d", "img/cam1.0007"),
            ("img/cam1_%5d.tif", "img/cam1_    7.tif"),
            ("img/100%%/cam.%d", "img/100%/cam.7"),
            ("img/%i", "img/7"),
        ],
    )
    def test_good(self, pattern, name):
        assert pattern_problem(pattern) is None
        assert expand(pattern, 7) == name

    @pytest.mark.parametrize(
        "pattern",
        ["img/cam1", "%d%d", "%s", "%%d", "%", "img/%d%", "%(x)d", "%0%%d", "%*d", "%-d", "%ld", "%123d", "%d\0", "%d\n", ""],
    )
    def test_bad(self, pattern):
        assert "expected" in pattern_problem(pattern)

    @given(st.text(alphabet="%d0i5sxa.", max_size=8))
    def test_what_is_accepted_can_be_filled_in(self, pattern):
        if pattern_problem(pattern) is None:
            assert "12" in expand(pattern, 12)
