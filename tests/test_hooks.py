"""Hooks: code of others in the sequence step, and background subtraction."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import refusal, results

from pyptv.core.base.errors import InvalidExperimentError, ProcessingError
from pyptv.core.files.formats import TARGETS
from pyptv.hooks.background import MedianBackground, MinimumBackground, RollingBall
from pyptv.pyptv_batch import main
from pyptv.pyptv_batch_parallel import main as parallel_main

Make = Callable[..., Path]

HALF = """
class Hook:
    def __init__(self, share=0.5):
        self.share = share

    def filter_image(self, image, view):
        made = image.copy()
        made[: int(self.share * len(made))] = 0
        return made
"""
BRIGHTEST = """
class Hook:
    def filter_targets(self, targets, view):
        return targets[targets["sumg"] > 300]
"""
FINDER = """
import numpy as np
from pyptv.hooks import no_targets

class Hook:
    def find_targets(self, image, view):
        rows, columns = np.nonzero(image > 100)
        targets = no_targets(len(rows))
        targets["x"], targets["y"] = columns + 0.5, rows + 0.5
        targets["n"] = targets["nx"] = targets["ny"] = 1
        targets["sumg"] = image[rows, columns]
        return targets
"""


def with_hooks(folder: Path, **code: str) -> Path:
    (folder / "plugins").mkdir(exist_ok=True)
    for name, text in code.items():
        (folder / "plugins" / f"{name}.py").write_text(text)
    return folder


def targets(folder: Path) -> np.ndarray:
    return np.concatenate([TARGETS.read(path) for path in sorted((folder / "img").glob("*_targets"))])


@pytest.mark.parametrize(
    ("hooks", "check"),
    [
        (["half:share=0.5"], lambda found: found["y"].min() > 100),
        (["brightest"], lambda found: found["sumg"].min() > 300),
        (["half", "finder", "brightest"], lambda found: len(found) == 0),
        (["finder"], lambda found: (found["n"] == 1).all() and len(found) > 10),
    ],
    ids=["image", "targets", "chain", "finder"],
)
def test_each_kind(hooks: list[str], check: Callable[[np.ndarray], bool], small_experiment: Make) -> None:
    one, two = (with_hooks(small_experiment(n), half=HALF, brightest=BRIGHTEST, finder=FINDER) for n in ("one", "two"))
    main(one, hooks=hooks, allow_plugins=True, engine="optv", mode="sequence")
    assert check(targets(one))
    parallel_main(two, hooks=hooks, allow_plugins=True, n_processes=2, mode="sequence")
    assert results(one) == results(two)


def test_the_examples_of_the_documents(small_experiment: Make) -> None:
    text = (Path(__file__).parents[1] / "docs" / "plugins.md").read_text(encoding="utf-8")
    code = dict(re.findall(r"<!-- hook: (\w+) -->\n```python\n(.*?)```", text, re.DOTALL))
    assert set(code) == {"gamma", "blobs", "window"}
    folder = with_hooks(small_experiment(), **code)
    main(folder, 10000, 10001, hooks=["gamma:exponent=0.9", "blobs", "window:left=50"], allow_plugins=True, mode="sequence")
    found = targets(folder)
    assert len(found) > 50
    assert found["x"].min() >= 50


def test_refusals(small_experiment: Make) -> None:
    folder = with_hooks(small_experiment(dialect="yaml"), mine=HALF)
    parameters = folder / "parameters_synthetic.yaml"

    def said(**options: object) -> str:
        with pytest.raises((InvalidExperimentError, ValueError)) as caught:
            main(folder, **options)
        return str(caught.value)

    assert "plugins/mine.py: --allow-plugins lets it run" in said(hooks=["mine"])
    assert "(similar: mine)" in said(hooks=["mime"])
    assert "expected key=value" in said(hooks=["mine:3"], allow_plugins=True)
    assert "window: found 4, expected an odd number of frames" in said(hooks=["background_median:window=4"])
    assert "hooks work in the sequence step, got mode 'tracking'" in said(hooks=["mine"], mode="tracking")
    parameters.write_text(parameters.read_text() + "\nhooks: [mine]\n")
    assert "which the parameters name: --allow-plugins" in said()
    assert not (folder / "res").exists()
    main(folder, 10000, 10001, mode="sequence", hooks="none", engine="optv")
    plain = results(folder)
    main(folder, 10000, 10001, mode="sequence", allow_plugins=True, engine="optv")
    assert results(folder) != plain
    assert "it would change the stored targets" in said(mode="match", allow_plugins=True)
    assert "hooks and plugins: found with --method dense" in said(method="dense", allow_plugins=True)


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("class Hook:\n def filter_image(self, image, view): raise KeyError('no\\nline')", "hook bad: KeyError: 'no\\nline'"),
        ("class Hook:\n def filter_image(self, image, view): return image[1:]", "gave back (255, 320) uint8"),
        ("class Hook:\n def filter_image(self, image, view): image[0] = 1", "ValueError: assignment destination is read-only"),
        ("class Hook:\n def filter_targets(self, targets, view): return [1]", "gave back list, expected targets"),
        ("class Hook: pass", "found none of the methods filter_image, find_targets, filter_targets"),
        ("import nothing_of_that_name", "ModuleNotFoundError"),
        (
            "class Hook:\n def filter_image(self, image, view): return view.image(view.frame + 1)",
            "expected at most 0 frames away",
        ),
        ("raise SystemExit(0)", "hook bad: SystemExit: 0"),
    ],
)
def test_a_hook_that_fails(code: str, says: str, small_experiment: Make) -> None:
    folder = with_hooks(small_experiment(), bad=code)
    said = refusal(lambda: main(folder, hooks=["bad"], allow_plugins=True, engine="optv"))
    assert said is not None
    assert says in said
    assert "\n" not in said
    assert not list((folder / "res").glob("rt_is.*"))


def test_a_changed_hook(small_experiment: Make, caplog: pytest.LogCaptureFixture) -> None:
    """A resumed run keeps nothing that another version of it has made."""
    caplog.set_level("INFO", "pyptv")
    folder = with_hooks(small_experiment(), mine=HALF)
    options = {"hooks": ["mine"], "allow_plugins": True, "engine": "optv", "mode": "sequence"}
    main(folder, **options)
    main(folder, resume=True, **options)
    assert "Resumed: 6 frames" in caplog.text
    with_hooks(folder, mine=HALF.replace("0.5", "0.25"))
    with pytest.raises(ProcessingError, match=r"Cannot resume, the inputs have changed since: hook 1\.digest"):
        main(folder, resume=True, **options)
    before = results(folder)
    main(folder, **options)
    assert results(folder) != before


def test_background(small_experiment: Make, caplog: pytest.LogCaptureFixture) -> None:
    """A frame's background depends on images, not on the range; one of these that changes costs the frames around it."""
    caplog.set_level("INFO", "pyptv")
    whole, part = small_experiment("whole"), small_experiment("part")
    options = {"hooks": ["background_median:window=3"], "engine": "optv", "mode": "sequence"}
    main(whole, **options)
    main(part, 10002, 10003, **options)
    made = results(part)
    assert made
    assert made == {name: data for name, data in results(whole).items() if name in made}
    parallel_main(part, n_processes=2, resume=True, **options)  # the other frames, in parallel
    assert "Resumed: 2 frames" in caplog.text
    assert results(part) == results(whole)
    image = whole / "img" / "cam1.10005.tif"
    image.write_bytes(image.read_bytes() + b" ")
    main(whole, resume=True, **options)
    assert "frame 10003: processed again, an image at most 2 frames away has changed since" in caplog.text
    assert "Resumed: 3 frames" in caplog.text


class Still:
    """Images with a bright square that stands still, and a particle that moves."""

    frame, camera = 5, 0

    def image(self, frame: int) -> np.ndarray | None:
        if not 0 <= frame < 12:
            return None
        image = np.full((40, 60), 10, np.uint8)
        image[5:15, 5:15] = 200
        image[20, 4 * frame] += 100
        return image


@pytest.mark.parametrize("kind", [MedianBackground, MinimumBackground])
def test_what_stands_still_is_taken_away(kind: type) -> None:
    view = Still()
    for step in (1, 2):
        made = kind(window=5, step=step).filter_image(view.image(5), view)
        assert made[20, 20] == 100
        assert np.count_nonzero(made) == 1


@pytest.mark.parametrize("n", [3, 4, 11, 12])
def test_the_median_is_the_lower_middle_one(n: int) -> None:
    images = np.random.default_rng(n).integers(0, 256, (n, 130, 9), dtype=np.uint8)
    assert np.array_equal(MedianBackground().combine(images), np.sort(images, axis=0)[(n - 1) // 2])


@pytest.mark.parametrize("radius", [8, 20, 50])
def test_rolling_ball(radius: float) -> None:
    """A slope goes, a small spot stays."""
    pytest.importorskip("skimage")
    slope = np.linspace(0, 40, 200).astype(np.uint8)[np.newaxis].repeat(160, axis=0)
    image = slope.copy()
    image[80:82, 100:102] += 60
    made = RollingBall(radius).filter_image(image, Still())
    assert made[80:82, 100:102].min() > 50
    made[78:84, 98:104] = 0
    assert made[20:-20, 20:-20].max() <= 12
