"""``pyptv-report``: the page for good, failed, empty and partial runs; what it says; what a browser makes of it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from html import escape, unescape
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import SMALL, refusal, results, run_python

from pyptv.core.base.errors import ProcessingError
from pyptv.core.experiment.folder import load_experiment
from pyptv.core.files.formats import LINKS, PARTICLES, TARGETS
from pyptv.core.record.run_report import FILE_NAME as RUN_REPORT
from pyptv.pyptv_batch import main as run_batch
from pyptv.report import require, write_report
from pyptv.report.__main__ import main
from pyptv.report.charts.motion import lengths as of_lengths
from pyptv.report.charts.sampled import whole_bins
from pyptv.report.charts.timelines import MOST_POINTS
from pyptv.report.motion import Motion
from pyptv.report.record import MOST_FRAMES_READ, read_record
from pyptv.report.rules.evidence import Evidence
from pyptv.report.rules.verdict import changed_parameters
from pyptv.synthetic import make_experiment
from pyptv.trajectories import read_trajectories

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FIRST, LAST = 10000, 10005
HOSTILE = "<script>alert(1)<"  # with the folder "script>" in it: a whole element
WIDTHS = (360, 1600)
VOID = {"meta", "img", "br", "link", "hr", "input"}


# -- experiments, each made and processed once --------------------------------------------------------------------------


def good(folder: Path) -> None:
    run_batch(make_experiment(folder, **SMALL))


def failed(folder: Path) -> None:
    """Two frames cannot be read."""
    make_experiment(folder, **SMALL)
    for frame in (10001, 10002):
        image = folder / "img" / f"cam2.{frame}.tif"
        image.write_bytes(image.read_bytes()[:100])
    run_batch(folder, on_error="skip")


def empty(folder: Path) -> None:
    """Images without a single target."""
    run_batch(make_experiment(folder, **(SMALL | {"n_particles": 0, "hot_pixels": 0})))


def untouched(folder: Path) -> None:
    """Results whose links all end: tracked, and nothing linked; no run report."""
    make_experiment(folder, **(SMALL | {"n_frames": 3}), n_cameras=1)
    run_batch(folder, mode="sequence")
    for frame in range(FIRST, FIRST + 3):
        rows = PARTICLES.read(folder / "res" / f"rt_is.{frame}")
        alone = [(-1, -2, *(float(row[axis]) for axis in "xyz")) for row in rows]
        (folder / "res" / f"ptv_is.{frame}").write_bytes(LINKS.render(alone))
    without_record(folder)


def one_camera(folder: Path) -> None:
    run_batch(make_experiment(folder, **SMALL, n_cameras=1))


def two_cameras(folder: Path) -> None:
    """From targets alone: there are no images."""
    run_batch(make_experiment(folder, **SMALL, n_cameras=2, images=False))


def three_cameras(folder: Path) -> None:
    """Sequence step only, and the images are gone."""
    run_batch(make_experiment(folder, **SMALL, n_cameras=3), mode="sequence")
    for image in folder.glob("img/*.tif"):
        image.unlink()


def splitter(folder: Path) -> None:
    run_batch(make_experiment(folder, **SMALL, splitter=True, mask=True))


def reference(folder: Path) -> None:
    """What PyPTV leaves: results and nothing else; one frame is missing."""
    good(folder)
    without_record(folder)
    for path in (*folder.glob("res/*.10003"), *folder.glob("img/*.10003_targets")):
        path.unlink()


def without_record(folder: Path) -> None:
    (folder / "res" / RUN_REPORT).unlink()
    shutil.rmtree(folder / "res" / ".pyptv")


CASES = (good, failed, empty, untouched, one_camera, two_cameras, three_cameras, splitter, reference)


@pytest.fixture(scope="module")
def processed(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    made: dict[str, Path] = {}

    def one(name: str) -> Path:
        if name not in made:
            folder = tmp_path_factory.mktemp("report") / f"{name} ünd"
            next(case for case in CASES if case.__name__ == name)(folder)
            made[name] = folder
        return made[name]

    return one


@pytest.fixture
def copied(processed: Callable[[str], Path], tmp_path: Path) -> Callable[..., Path]:
    """A copy to change."""
    return lambda name, to="copy": Path(shutil.copytree(processed(name), tmp_path / to))


@pytest.fixture(scope="module")
def page(processed: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Page]:
    folder = tmp_path_factory.mktemp("pages")
    pages: dict[str, Page] = {}

    def one(name: str) -> Page:
        if name not in pages:
            pages[name] = Page.read(write_report(processed(name), output=folder / f"{name}.html"))
        return pages[name]

    return one


# -- a page, taken apart ------------------------------------------------------------------------------------------------


@dataclass
class Page(HTMLParser):
    """What the tests ask of a page. An end tag that fits no start tag is an error."""

    text: str
    tags: list[tuple[str, dict[str, str | None]]] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    open: list[str] = field(default_factory=list)

    @classmethod
    def read(cls, path: Path) -> Page:
        page = cls(path.read_text(encoding="utf-8"))
        HTMLParser.__init__(page)
        page.feed(page.text)
        page.close()
        assert page.open == []
        return page

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.words.append(data)

    @property
    def said(self) -> str:
        return re.sub(r"[\s\u00a0]+", " ", " ".join(self.words)).replace("\u202f", " ")

    @property
    def findings(self) -> list[str]:
        return re.findall(r"<strong>(.*?)</strong>", self.text)

    @property
    def verdict(self) -> str:
        return re.search(r'<p class="verdict \w+">(.*?)</p>', self.text)[1]

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]

    def with_id(self, name: str) -> list[str]:
        return [tag for tag, attributes in self.tags if attributes.get("id") == name]


# -- every page ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [case.__name__ for case in CASES])
def test_a_page_stands_alone_and_can_be_read_without_eyes(name: str, page: Callable[[str], Page]) -> None:
    made = page(name)
    assert len(made.text) < 3_000_000
    assert made.all("script") == made.all("link") == made.all("iframe") == []
    refers = [v for _, tag in made.tags for k, v in tag.items() if k in {"src", "href", "xlink:href", "action"}]
    assert [value for value in refers if not value.startswith(("data:image/", "#"))] == []
    assert re.findall(r"url\((?!#)|@import", made.text) == []
    assert "default-src 'none'" in made.text
    ids = [tag["id"] for _, tag in made.tags if "id" in tag]
    assert len(ids) == len(set(ids))
    assert [value for value in refers if value.startswith("#") and value[1:] not in ids] == []
    assert re.findall(r"#0102\w\w", made.text) == []  # every colour has its name
    assert [tag for tag in made.all("img") if len(tag["alt"] or "") < 20] == []
    for drawing in (tag for tag in made.all("div") if tag.get("role") == "img"):
        assert made.with_id(drawing["aria-describedby"]) == ["figcaption"]
        assert made.with_id(drawing["aria-labelledby"]) == ["h3"]
    assert len(made.all("figcaption")) == len(made.all("figure"))
    assert all(re.search(r"\d", caption) for caption in re.findall(r"<figcaption.*?</figcaption>", made.text))
    assert len(made.all("caption")) == len(made.all("table")) > 0
    assert {tag.get("scope") for tag in made.all("th")} == {"row", "col"}
    assert [tag["lang"] for tag in made.all("html")] == ["en"]
    assert len(made.all("h1")) == len(made.all("main")) == len(made.all("nav")) == 1
    levels = [int(tag[1]) for tag, _ in made.tags if re.fullmatch(r"h\d", tag)]
    assert all(after - before <= 1 for before, after in pairwise(levels))


OVER_TIME, MOTION = ["targets", "kinds", "links"], ["lengths", "velocities", "turns", "space"]
SAMPLED = ["errors", "maps", "sizes", "volume"]
CHARTS = [*OVER_TIME, *MOTION, *SAMPLED]


@pytest.mark.parametrize(
    ("name", "charts", "views", "images"),
    [
        ("good", CHARTS, 4, 8),
        ("failed", CHARTS, 4, 8),
        ("empty", ["targets", "kinds"], 4, 8),
        ("untouched", ["targets", "links", "sizes", "volume"], 1, 2),
        ("one_camera", ["targets", "links", *MOTION, "sizes", "volume"], 1, 2),
        ("two_cameras", CHARTS, 2, 0),
        ("three_cameras", ["targets", "kinds", *SAMPLED], 3, 0),
        ("splitter", CHARTS, 4, 8),
        ("reference", CHARTS, 4, 8),
    ],
)
def test_figures_are_those_that_there_is_data_for(
    name: str, charts: list[str], views: int, images: int, page: Callable[[str], Page]
) -> None:
    made = page(name)
    assert [tag["aria-describedby"].removesuffix("-caption") for tag in made.all("div") if tag.get("role") == "img"] == charts
    assert len(made.all("img")) == images
    assert made.text.count('class="card view"') == views + images // 2


# -- what they say ------------------------------------------------------------------------------------------------------


def test_a_good_run(page: Callable[[str], Page], processed: Callable[[str], Path]) -> None:
    made = page("good")
    folder = processed("good")
    assert made.verdict == "Good run"
    record = json.loads((folder / "res" / RUN_REPORT).read_text())
    targets = record["sequence"]["targets"][0]
    assert f"camera 1 mean {np.mean(targets):.3g}" in made.said
    assert f"from {min(targets)} to {max(targets)}" in made.said
    links, lost = sum(record["tracking"]["links"]), sum(record["tracking"]["lost"])
    assert f"Link ratio {links / (links + lost):.3g}" in made.said
    assert "Frames 6 of 6 10000 to 10005" in made.said
    assert record["versions"]["optv"] in made.said
    assert record["inputs"]["parameters"]["sha256"][:16] in made.said
    assert "Worker 1 (6 frames, 6 tracking steps)" in made.said
    assert re.search(r"tracking [\d.]+ s \(\d+ %\)", made.said)
    assert f"eps0 {record['inputs']['values']['criteria']['eps0']:g} mm on the sensor width of the epipolar band" in made.said
    assert "omega, phi, kappa [rad]" in made.said


def test_the_marks_are_where_targets_are(page: Callable[[str], Page], processed: Callable[[str], Path]) -> None:
    made, folder = page("good"), processed("good")
    frame = int(re.search(r"Frame (\d+) in the cameras", made.said)[1])
    rows = TARGETS.read(folder / "img" / f"cam1.{frame}_targets")
    path = next(tag["d"] for tag in made.all("path") if tag.get("class") == "target")
    radius = 4 * 320 / 1000
    ringed = [(float(x) + radius, float(y)) for x, y in re.findall(r"M([\d.-]+) ([\d.-]+)a", path)]
    assert np.abs(np.array(ringed) - np.column_stack([rows["x"], rows["y"]])).max() < 0.11
    particles = PARTICLES.read(folder / "res" / f"rt_is.{frame}")
    path = next(tag["d"] for tag in made.all("path") if tag.get("class") == "particle")
    crossed = [(float(x) + radius, float(y)) for x, y in re.findall(r"M([\d.-]+) ([\d.-]+)h", path)]
    of_particles = particles["target1"][particles["target1"] >= 0]
    where = np.column_stack([rows["x"], rows["y"]])[of_particles]
    assert np.median(np.abs(np.array(crossed) - where)) < 0.3
    assert f"{len(rows)} targets, {len(of_particles)} of them in particles; reprojection error 0." in made.said


def test_failed_frames_are_named_with_their_reasons(page: Callable[[str], Page]) -> None:
    made = page("failed")
    assert made.verdict == "Not a good run"
    assert made.findings[0] == "2 of 6 frames failed."
    assert re.search(r"10002 sequence frame 10002, camera 2: .*cam2\.10002\.tif", made.said)
    assert made.said.count("2 failed frames marked in red on the axis.") == 3


def test_an_empty_run(page: Callable[[str], Page]) -> None:
    assert page("empty").findings == ["No particle in any frame."]
    assert "There are no particles to link." in page("empty").said


def test_a_run_that_linked_nothing(page: Callable[[str], Page]) -> None:
    assert "linked no particle to another frame" in page("untouched").said
    assert "No particle was linked." in page("untouched").findings


def test_one_camera_has_no_particles_to_project(page: Callable[[str], Page]) -> None:
    assert "with one camera particles have no depth" in page("one_camera").said
    assert [tag for tag in page("one_camera").all("path") if tag.get("class") == "particle"] == []


def test_missing_images_are_named(page: Callable[[str], Page]) -> None:
    assert re.search(r"No image: .*cam3\.\d+\.tif: image does not exist", page("three_cameras").said)
    assert "Not tracked: there are no links." in page("three_cameras").findings
    assert "No image: " in page("two_cameras").said


def test_results_alone_are_enough(page: Callable[[str], Page]) -> None:
    made = page("reference")
    assert "1 of 6 frames has no results: 10003." in made.findings
    assert "Program not recorded" in made.said
    assert "Times Not recorded." in made.said
    assert "Targets of each camera in 5 frames: camera 1 mean" in made.said
    assert "The number of particles added by the tracker was not recorded." in made.said


@pytest.mark.parametrize("name", ["three_cameras", "one_camera"])
def test_result_files_say_what_the_run_recorded(name: str, copied: Callable[..., Path]) -> None:
    folder = copied(name)
    experiment = load_experiment(folder)
    recorded = read_record(experiment)
    without_record(folder)
    derived = read_record(experiment)
    assert (recorded.run is None, derived.run) == (False, None)
    for part in ("frame", "targets", "particles"):
        np.testing.assert_array_equal(getattr(derived.sequence, part), getattr(recorded.sequence, part))
    assert derived.sequence.kinds.keys() == recorded.sequence.kinds.keys()
    for kind, values in derived.sequence.kinds.items():
        np.testing.assert_array_equal(values, recorded.sequence.kinds[kind])
    np.testing.assert_array_equal(derived.tracking.frame, recorded.tracking.frame)
    np.testing.assert_array_equal(derived.tracking.particles, recorded.tracking.particles)


# -- hostile and damaged input ------------------------------------------------------------------------------------------


def test_hostile_names_are_text(copied: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / HOSTILE).mkdir()
    folder = copied("good", f"{HOSTILE}/script>")
    path = folder / "res" / RUN_REPORT
    record = json.loads(path.read_text())
    image = "<img src=x onerror=alert(1)>"
    record["frames"]["failed"] = [{"frame": 10001, "step": "sequence", "reason": f"{image}</table>\u2028"}]
    record["inputs"]["parameters"]["sha256"] = "0" * 64
    record["inputs"]["values"] = {"ptv": {"imx": f"{image}{{{{ 7 * 7 }}}}", "imy": [image]}, "track": image}
    record["run"] |= {"outcome": "failed", "error": f'"{image}', "exit_code": 1}
    record["command"]["argv"] = ["x", f"'{image}"]
    path.write_text(json.dumps(record))
    made = Page.read(write_report(folder))
    assert made.all("script") == []
    assert [tag for tag in made.all("img") if tag.get("src") == "x" or "onerror" in tag] == []
    assert f"{HOSTILE}/script>" in made.said
    assert f"{image}{{{{ 7 * 7 }}}}" in made.said
    assert made.findings[0].startswith("The run ended early (failed): ")
    assert "The parameter files have changed since the run." in made.findings


def test_other_defaults_do_not_change_a_parameter_file(copied: Callable[..., Path]) -> None:
    """A report by a version with other defaults than that of the run: only what the files say counts."""
    folder = copied("good")
    path = folder / "res" / RUN_REPORT
    record = json.loads(path.read_text())
    record["inputs"]["values"]["dense"]["passes"] = 9
    path.write_text(json.dumps(record))
    assert _parameters_are(folder) == "unchanged"
    file = folder / record["inputs"]["parameters"]["file"]
    file.write_bytes(file.read_bytes() + b"# changed\n")
    assert _parameters_are(folder) == "changed"


def _parameters_are(folder: Path) -> str:
    return changed_parameters.judge(Evidence(read_record(load_experiment(folder)), None, None)).value


@pytest.mark.parametrize("high", [0, 9, 560])
def test_each_bar_of_sizes_holds_equally_many(high: int) -> None:
    """Numbers of pixels are whole: the last bar once held two of them."""
    edges = whole_bins(high)
    counts = np.histogram(np.arange(edges[-1]), edges)[0]
    assert edges[-1] > high
    assert len(counts) < 60
    assert set(counts) == {edges[1]}


def test_damaged_results_are_said(copied: Callable[..., Path]) -> None:
    folder = copied("reference")
    (folder / "res" / "rt_is.10001").write_bytes(b"3\ngarbage\n")
    (folder / "res" / "ptv_is.10004").write_bytes(b"")
    (folder / "img" / "cam1.10000_targets").write_bytes(b"many\n")
    made = Page.read(write_report(folder, frame=10001))
    assert made.findings[0].startswith("Damaged result file: ")
    assert "rt_is.10001, line 1: 3 rows announced" in made.said
    (folder / "img" / "cam2.10000_targets").unlink()
    again = Page.read(write_report(folder, frame=10000))
    assert "targets unknown" in again.text
    assert again.text.count("The targets of this frame cannot be read") == 2


def test_positions_may_be_any_number(copied: Callable[..., Path]) -> None:
    """Their squares overflow, which would be a warning, and here an error."""
    folder = copied("reference")
    for table, name in ((PARTICLES, "res/rt_is.10001"), (LINKS, "res/ptv_is.10001"), (TARGETS, "img/cam1.10001_targets")):
        rows = table.read(folder / name)
        rows["x"][:2], rows["y"][:2] = (1e300, -1e300), (-1e300, 1e9)
        lines = [" ".join(map(repr, row)) for row in rows.tolist()]
        (folder / name).write_text("\n".join([str(len(rows)), *lines, ""]))
    made = Page.read(write_report(folder, frame=10001))
    assert len(made.text) < 1_500_000
    assert "1 000 000" in made.said


def test_rays_that_do_not_meet_leave_no_position(copied: Callable[..., Path]) -> None:
    folder = copied("reference")
    every = (*folder.glob("res/rt_is.*"), *folder.glob("res/ptv_is.*"))
    for missing in (slice(2), slice(None)):
        for path in every:
            table = PARTICLES if path.name.startswith("rt_is") else LINKS
            rows = table.read(path)
            rows["x"][missing] = rows["y"][missing] = rows["z"][missing] = np.nan
            path.write_bytes(table.render(rows))
        made = Page.read(write_report(folder))
        assert "nan" not in made.said
        assert len(made.all("div")) > 0
    assert "Velocities and dv limits" not in made.said


def change_record(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    path = folder / "res" / RUN_REPORT
    record = json.loads(path.read_text())
    change(record)
    path.write_text(json.dumps(record))


def drop_columns(record: dict[str, Any]) -> None:
    for step in ("sequence", "tracking"):
        record[step] = {name: column and [] for name, column in record[step].items()}
    record["sequence"]["targets"] = []


def test_a_record_without_frames_leaves_what_the_files_say(copied: Callable[..., Path]) -> None:
    folder = copied("good")
    change_record(folder, drop_columns)
    made = Page.read(write_report(folder))
    assert "Targets of each camera in 6 frames" in made.said
    assert made.findings == ["Not tracked: there are no links."]
    for path in folder.glob("res/*.100*"):
        path.unlink()
    nothing = Page.read(write_report(folder))
    assert nothing.findings == ["No frame has results."]
    assert nothing.all("figure") == []


def test_a_missing_background_image_is_said(copied: Callable[..., Path]) -> None:
    folder = copied("splitter")
    (folder / "img" / "mask2.tif").unlink()
    made = Page.read(write_report(folder))
    assert made.said.count("No image: ") == 1
    assert len(made.all("img")) == 6


def test_a_wide_histogram_is_logarithmic() -> None:
    lengths = np.array([2] * 500 + [3] * 40 + [9])
    tracks = (np.cumsum(np.ones((9, 3)), axis=0),)
    motion = Motion(((1, 9),), whole=True, lengths=lengths, displacement=np.ones((900, 3)), shown=tracks)
    chart = of_lengths(motion)
    assert "541 trajectories: median 2 frames" in chart.caption
    assert re.findall(r">(\d+)</text>", chart.svg)[-3:] == ["1", "10", "100"]


REFUSED = {
    "frame": lambda folder: change_record(folder, lambda record: record["tracking"]["frame"].__setitem__(-1, 10**30)),
    "processed": lambda folder: shutil.rmtree(folder / "res"),
    "unexpected": lambda folder: (folder / "res" / RUN_REPORT).write_text('{"schema": 2}'),
    "calibration": lambda folder: (folder / "cal" / "cam1.tif.ori").unlink(),
}


@pytest.mark.parametrize(("word", "code"), [("processed", 1), ("frame", 2), ("unexpected", 2), ("calibration", 2)])
def test_what_cannot_be_reported(word: str, code: int, copied: Callable[..., Path], capsys: Any) -> None:
    folder = copied("good")
    REFUSED[word](folder)
    assert main([str(folder)]) == code
    assert capsys.readouterr().err.startswith("error: ")
    assert not (folder / "res" / "report.html").exists()


# -- the command --------------------------------------------------------------------------------------------------------


def test_command(copied: Callable[..., Path], capsys: Any) -> None:
    folder = copied("good")
    before = results(folder)
    output = folder / "elsewhere.html"
    assert main([str(folder), "--output", str(output), "--frame", "10004"]) == 0
    assert re.fullmatch(rf"written: {re.escape(str(output))} \(\d\.\d MB\)\n", capsys.readouterr().out)
    assert "Frame 10004 in the cameras" in Page.read(output).said
    assert results(folder) == before
    assert not (folder / "res" / "report.html").exists()
    assert main([str(folder), "--frame", "7"]) == 1
    assert "frame 7 has no results; frames that have: 10000-10005" in capsys.readouterr().err
    assert main([str(folder), "--output", str(folder / "no" / "where.html")]) == 1
    assert "the report cannot be written: No such file" in capsys.readouterr().err


def test_runs_side_by_side(copied: Callable[..., Path], processed: Callable[[str], Path], capsys: Any) -> None:
    one, other = copied("good"), processed("failed")
    parameters = next(one.glob("*.yaml"))
    parameters.write_text(re.sub(r"eps0: .*", "eps0: 0.0123", parameters.read_text()))
    (one / "res" / RUN_REPORT).unlink()
    assert main([str(one), str(other)]) == 0
    made = Page.read(one / "res" / "comparison.html")
    assert str(one) in made.said
    assert str(other) in made.said
    assert "Not a good run: 2 of 6 frames failed" in made.said
    assert re.search(r"criteria\.eps0 0\.0123 [\d.]+ ", made.said)
    assert "track.dvxmax" not in made.said
    assert re.search(r"Particles per frame [\d.]+ [\d.]+ ", made.said)
    drawn = [tag["aria-describedby"] for tag in made.all("div") if tag.get("role") == "img"]
    assert drawn == [f"{name}-caption" for name in ("particles", "lengths", "speeds", "errors")]
    assert made.all("script") == made.all("link") == []
    with pytest.raises(SystemExit, match="2"):
        main([str(one), str(other), "--frame", "10000"])
    assert "--frame, --frame-rate, --statistics and --postprocess are for the report of one run" in capsys.readouterr().err
    assert main([str(one)] * 9) == 2
    assert "a comparison needs 2 to 8 runs, got 9" in capsys.readouterr().err


def test_the_frame_rate_is_stored_once(copied: Callable[..., Path], page: Callable[[str], Page], capsys: Any) -> None:
    """In the parameters: report and trajectories know it, and no frame is processed again for it."""
    folder = copied("good")
    parameters = next(folder.glob("*.yaml"))
    parameters.write_text(parameters.read_text().replace("sequence:\n", "sequence:\n  frame_rate: 250\n"))
    assert "mm/s" not in page("good").said
    made = Page.read(write_report(folder))
    speed = float(re.search(r"Speed ([\d.]+) mm/frame", page("good").said)[1])
    assert float(re.search(r"Speed ([\d.]+) mm/s", made.said)[1]) == pytest.approx(250 * speed, rel=0.01)
    assert "were recorded at 250 frames per second" in made.said
    assert read_trajectories(folder).frame_rate == 250
    assert read_trajectories(folder, frame_rate=10).frame_rate == 10
    run_batch(folder, resume=True)
    assert json.loads((folder / "res" / RUN_REPORT).read_text())["frames"]["kept"] == 6
    assert main([str(folder), "--frame-rate", "500"]) == 0
    assert "at 500 frames per second" in Page.read(folder / "res" / "report.html").said
    with pytest.raises(SystemExit, match="2"):
        main([str(folder), "--frame-rate", "0"])


def test_all_rules_and_the_methods_are_stated(page: Callable[[str], Page], processed: Callable[[str], Path]) -> None:
    made = page("good")
    assert re.search(r"Link ratio 0\.\d+ at least 0\.8 passed", made.said)
    assert "Failed frames none none; failed from 10 % passed" in made.said
    values = json.loads((processed("good") / "res" / RUN_REPORT).read_text())["inputs"]["values"]
    assert f"Images of 4 cameras with {values['ptv']['imx']} x {values['ptv']['imy']} px were recorded; 6 frames" in made.said
    assert re.search(r"Processing used pyptv-batch \S+ \([^)]+\) with the algorithms of OpenPTV\.", made.said)
    assert "Malik, N. A., Dracos, T., Papantoniou, D. A. (1993)." in made.said
    assert len(page("one_camera").all("blockquote")) == 1
    assert "Stereo-correspondences" not in page("one_camera").said
    assert [tag["id"] for tag in made.all("input")] == ["show-targets", "show-particles"]


def test_help_loads_nothing_heavy() -> None:
    code = """
import sys
from pyptv.report.__main__ import cli
try:
    cli(["--help"])
except SystemExit:
    pass
print(sorted({name.split(".")[0] for name in sys.modules} & {"numpy", "optv", "matplotlib", "jinja2", "PIL"}), file=sys.stderr)
"""
    run = run_python("-c", code)
    assert "usage: pyptv-report" in run.stdout
    assert run.stderr.strip() == "[]"


def test_a_missing_extra_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("pyptv.report.find_spec", lambda name: None if name == "matplotlib" else object())
    assert refusal(require) == 'a report needs matplotlib: pip install "pyptv-batch[report]"'
    with pytest.raises(ProcessingError, match="a report needs matplotlib"):
        write_report(tmp_path)


# -- long runs ----------------------------------------------------------------------------------------------------------


def test_of_a_long_run_a_part_is_read(copied: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """1600 frames, hard links to the first: of the series every second one is read, of the trajectories a window."""
    folder = copied("reference")
    rows = PARTICLES.read(folder / "res" / f"rt_is.{FIRST}")
    straight = [(row, row, *(float(particle[axis]) for axis in "xyz")) for row, particle in enumerate(rows)]
    (folder / "res" / f"ptv_is.{FIRST}").write_bytes(LINKS.render(straight))
    names = ["res/rt_is.{}", "res/ptv_is.{}", *(f"img/cam{camera}.{{}}_targets" for camera in (1, 2, 3, 4))]
    for frame in range(LAST + 1, FIRST + 1600):
        for name in names:
            (folder / name.format(frame)).hardlink_to(folder / name.format(FIRST))
    monkeypatch.setattr("pyptv.report.motion.MOST_PARTICLES", 1000)
    made = Page.read(write_report(folder))
    assert "Targets of each camera in 800 frames" in made.said
    assert "Of 1 599 frames, one in 2 was read." in made.said
    assert "Drawn: mean, minimum and maximum of each 2 values." in made.said
    assert re.search(r"Only frames 107\d\d to 108\d\d were read", made.said)
    assert MOST_FRAMES_READ == 1000
    assert MOST_POINTS == 400


# -- a browser ----------------------------------------------------------------------------------------------------------

HARNESS = """<!DOCTYPE html><meta charset="utf-8"><body>{frames}<script>
function drawn(image) {{  // decodes it
  if (!image.complete || !image.naturalWidth) return false;
  const canvas = document.createElement("canvas"), pen = canvas.getContext("2d");
  pen.drawImage(image, 0, 0);
  return pen.getImageData(0, 0, 1, 1).data[3] === 255;
}}
function shown(frame, kind) {{  // with the box checked, and without
  const page = frame.contentDocument, mark = page.querySelector(`.marks .${{kind}}`);
  if (!mark) return null;
  const box = page.getElementById(`show-${{kind}}s`), see = () => frame.contentWindow.getComputedStyle(mark).display;
  const before = see(); box.click(); const after = see(); box.click();
  return [before, after];
}}
function look(frame) {{
  const page = frame.contentDocument, view = frame.contentWindow, width = frame.clientWidth, images = [...page.images];
  const out = [...page.querySelectorAll("main *, header *, footer *")].filter(e =>
    !e.closest("svg, .scroll, .skip, #summary-title") && e.getBoundingClientRect().right > width + 1);
  const cut = [...page.querySelectorAll(".scroll")].filter(e => e.scrollWidth > e.clientWidth);
  const text = page.querySelector(".drawing text");
  return {{
    name: frame.name, width, inner: view.innerWidth, scroll: page.documentElement.scrollWidth, out: out.map(e => e.outerHTML),
    cut: cut.map(e => e.querySelector("caption").textContent), images: images.length, drawn: images.filter(drawn).length,
    page: view.getComputedStyle(page.body).backgroundColor, ink: text && view.getComputedStyle(text).fill,
    rings: shown(frame, "target"), crosses: shown(frame, "particle"),
  }};
}}
window.onload = () => {{
  const found = document.createElement("pre");
  found.textContent = JSON.stringify([...document.querySelectorAll("iframe")].map(look));
  document.body.replaceChildren(found);
}};
</script>"""


def browse(folder: Path, pages: dict[str, str], *options: str) -> tuple[list[dict[str, Any]], list[str]]:
    """What the harness finds in pages, each 360 and 1600 px wide, and what the browser's console says."""
    frames = [
        f'<iframe name="{name}" style="border: 0; height: 900px; width: {width}px" srcdoc="{escape(text)}"></iframe>'
        for name, text in pages.items()
        for width in WIDTHS
    ]
    harness = folder / "harness.html"
    harness.write_text(HARNESS.format(frames="".join(frames)), encoding="utf-8")
    command = [BROWSER, "--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1700,1000", "--enable-logging=stderr"]
    command += [f"--user-data-dir={folder / 'profile'}", *options, "--dump-dom", harness.as_uri()]
    run = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    found = re.search(r"<pre>(.*?)</pre>", run.stdout, re.DOTALL)
    assert found, run.stderr[-2000:]
    return json.loads(unescape(found[1])), re.findall(r".*CONSOLE.*", run.stderr)


@pytest.mark.skipif(BROWSER is None, reason="no chromium or google-chrome is installed")
@pytest.mark.parametrize(
    ("dark", "paper", "ink"), [(1, "rgb(245, 246, 248)", "rgb(22, 32, 44)"), (0, "rgb(16, 21, 28)", "rgb(232, 237, 243)")]
)
def test_in_a_browser(dark: int, paper: str, ink: str, page: Callable[[str], Page], tmp_path: Path) -> None:
    pages = {name: page(name).text for name in ("good", "failed", "empty", "one_camera")}
    found, console = browse(tmp_path, pages, f"--blink-settings=preferredColorScheme={dark}")
    assert console == []
    assert [(one["name"], one["width"]) for one in found] == [(name, width) for name in pages for width in WIDTHS]
    for one in found:
        assert one["inner"] == one["width"] >= one["scroll"]
        assert one["out"] == []
        assert set(one["cut"]) <= ({"Calibration of each camera"} if one["width"] < 500 else set())  # three numbers a cell
        assert one["drawn"] == one["images"] > 0
        assert (one["page"], one["ink"]) == (paper, ink)
        assert one["rings"] == (["inline", "none"] if one["name"] != "empty" or one["rings"] else None)
        assert one["crosses"] == (["inline", "none"] if one["name"] != "one_camera" or one["crosses"] else None)


@pytest.mark.skipif(BROWSER is None, reason="no chromium or google-chrome is installed")
def test_the_harness_sees_what_it_looks_for(tmp_path: Path) -> None:
    """A page that is too wide, with an image that is none, and something from outside."""
    policy = '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:">'
    wide = '<p style="width: 2000px">a</p><img src="data:image/png;base64,AAAA"><img src="http://a.invalid/x.png">'
    found, console = browse(tmp_path, {"bad": f"{policy}<body><main>{wide}</main>"})
    assert [(one["drawn"], one["images"]) for one in found] == [(0, 2)] * 2
    assert console != []
    console_only, _ = browse(tmp_path, {"wide": '<body><main><p style="width: 2000px">a</p></main>'})
    assert [one["scroll"] >= 2000 and len(one["out"]) == 1 for one in console_only] == [True, True]
