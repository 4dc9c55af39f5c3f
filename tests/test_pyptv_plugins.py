"""PyPTV's plugins: files with ``Sequence(exp=).do_sequence()`` or ``Tracking(exp=).do_tracking()``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import refusal, results

from pyptv.core.files.formats import TARGETS
from pyptv.pyptv_batch import main
from pyptv.pyptv_batch_parallel import main as parallel_main

Make = Callable[..., Path]

SEQUENCE = """
import numpy as np
from PIL import Image
from optv.correspondences import MatchedCoords, correspondences
from optv.orientation import point_positions
from optv.tracker import default_naming

class Sequence:
    def __init__(self, ptv=None, exp=None):
        from pyptv import ptv as functions
        self.ptv, self.exp = ptv or functions, exp

    def do_sequence(self):
        exp = self.exp
        assert exp.pm.get_parameter("ptv")["imx"] == 320 and exp.num_cams == exp.pm.num_cams == 4
        assert exp.exp1.pm.get_target_filenames() == exp.target_filenames
        print("running")
        for frame in range(exp.spar.get_first(), exp.spar.get_last() + 1):
            targets, flat = [], []
            for camera in range(exp.num_cams):
                image = np.asarray(Image.open(exp.spar.get_img_base_name(camera) % frame))
                found = self.ptv.target_recognition(self.ptv.simple_highpass(image, exp.cpar), exp.tpar, camera, exp.cpar)
                found.sort_y()
                targets.append(found)
                flat.append(MatchedCoords(found, exp.cpar, exp.cals[camera]))
            _, groups, _ = correspondences(targets, flat, exp.cals, exp.vpar, exp.cpar)
            for camera in range(exp.num_cams):
                self.ptv.write_targets(targets[camera], exp.target_filenames[camera], frame)
            numbers = np.concatenate(groups, axis=1)
            points = np.array([flat[camera].get_by_pnrs(numbers[camera]) for camera in range(exp.num_cams)])
            positions, _ = point_positions(points.transpose(1, 0, 2), exp.cpar, exp.cals, exp.vpar)
            with open(f"{default_naming['corres'].decode()}.{frame}", "w") as file:
                file.write(f"{len(positions)}\\n")
                for row, place in enumerate(positions):
                    file.write("%4d %9.3f %9.3f %9.3f %4d %4d %4d %4d\\n" % (row + 1, *place, *numbers[:, row]))
        open("res/mine.csv", "w").write("a table")
"""
TRACKING = """
class Tracking:
    def __init__(self, ptv=None, exp=None):
        from pyptv import ptv as functions
        self.ptv, self.exp = functions, exp

    def do_tracking(self):
        self.ptv.py_trackcorr_init(self.exp).full_forward()
"""


GARBAGE = """for f in range(6):
   [open(f'img/cam{n}.1000{f}_targets', 'w').write('0\\n') for n in (1, 2, 3, 4)]
   open(f'res/rt_is.1000{f}', 'w').write('1\\n   1 a b c 0 0 0 0\\n')
"""


def with_plugins(folder: Path, **code: str) -> Path:
    (folder / "plugins").mkdir(exist_ok=True)
    for name, text in code.items():
        (folder / "plugins" / f"{name}.py").write_text(text)
    return folder


def test_the_files_of_the_default_method(small_experiment: Make, caplog: pytest.LogCaptureFixture) -> None:
    """Plugins that do what PyPTV does give its files; a resumed run does not run them again; ours tracks what they leave."""
    caplog.set_level("DEBUG", "pyptv")
    plain, ours = small_experiment("plain"), with_plugins(small_experiment("ours"), seq=SEQUENCE, track=TRACKING)
    main(plain, engine="optv")
    main(ours, sequence_plugin="seq", tracking_plugin="track")
    assert results(ours) == results(plain)
    assert (ours / "res" / "mine.csv").read_text() == "a table"
    assert "Sequence plugin seq: " in caplog.text
    assert "plugins/seq.py, digest " in caplog.text
    assert "Plugin seq: running" in caplog.text
    assert "Tracking: 6 frames" in caplog.text

    caplog.clear()
    parallel_main(ours, sequence_plugin="seq", resume=True, n_processes=2, engine="optv")
    assert results(ours) == results(plain)
    assert "Running the sequence plugin" not in caplog.text
    assert "Resumed: 6 frames" in caplog.text
    with_plugins(ours, seq=SEQUENCE + "\n# another version\n")
    assert "plugin.digest" in (refusal(lambda: main(ours, sequence_plugin="seq", resume=True)) or "")


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("raise ValueError('no such\\nthing')", "sequence plugin bad: ValueError: no such thing"),
        ("import os; os._exit(0)", "sequence plugin bad: wrote no img/cam1.10000_targets for frame 10000"),
        ("import os; print('last words'); os._exit(3)", "its process ended with exit status 3: last words"),
        ("import os; os.kill(os.getpid(), 11)", "its process was killed by signal 11 (SIGSEGV)"),
        ("raise SystemExit", "sequence plugin bad: SystemExit"),
        ("import time; time.sleep(60)", "made no progress for 1 s (--frame-timeout allows more)"),
        (
            GARBAGE,
            "sequence plugin bad: frame 10000: rt_is, line 2, column x: found 'a', expected a finite number",
        ),
    ],
    ids=["raises", "nothing", "exits", "crashes", "quits", "hangs", "garbage"],
)
def test_a_plugin_that_fails(body: str, says: str, small_experiment: Make) -> None:
    """The run fails with one line, and what was there stays."""
    code = f"class Sequence:\n def __init__(self, exp): pass\n def do_sequence(self):\n  {body}\n"
    folder = with_plugins(small_experiment(), bad=code)
    (folder / "res").mkdir()
    (folder / "res" / "rt_is.10000").write_text("0\n")
    said = refusal(lambda: main(folder, sequence_plugin="bad", frame_timeout=1 if "sleep" in body else 60))
    assert said is not None
    assert says in said
    assert "\n" not in said
    assert results(folder) == {"res/rt_is.10000": b"0\n"}


def test_links_to_nowhere(small_experiment: Make) -> None:
    code = TRACKING + "\n        path = 'res/ptv_is.10001'\n        text = open(path).read().split(chr(10))\n"
    code += "        text[1] = '   0 9999' + text[1][9:]\n        open(path, 'w').write(chr(10).join(text))\n"
    folder = with_plugins(small_experiment(), wild=code)
    main(folder, engine="optv", mode="sequence")
    before = results(folder)
    said = refusal(lambda: main(folder, mode="tracking", tracking_plugin="wild"))
    assert "tracking plugin wild: frame 10001: ptv_is, column next, line 2: found 9999" in (said or "")
    assert results(folder) == before


def test_chosen_by_the_parameters(small_experiment: Make, caplog: pytest.LogCaptureFixture) -> None:
    """Only where that is allowed."""
    folder = with_plugins(
        small_experiment(dialect="yaml"), mine="class Sequence:\n def __init__(self, exp): raise OSError('it ran')\n"
    )
    parameters = folder / "parameters_synthetic.yaml"
    parameters.write_text(parameters.read_text() + "\nplugins: {selected_sequence: mine, selected_tracking: default}\n")
    main(folder, 10000, 10001, mode="sequence", engine="optv")
    assert "found the plugin 'mine'; it runs only with --allow-plugins or --sequence-plugin" in caplog.text
    assert "it ran" in (refusal(lambda: main(folder, allow_plugins=True)) or "")
    for other, says in (
        ({"part": "1/2"}, "mine: found --part as well"),
        ({"method": "dense"}, "hooks and plugins: found"),
    ):
        assert says in (refusal(lambda other=other: main(folder, allow_plugins=True, **other)) or "")
    assert "found neither" in (refusal(lambda: main(folder, sequence_plugin="other")) or "")
    with pytest.raises(ValueError, match="is not used in mode 'tracking'"):
        main(folder, mode="tracking", sequence_plugin="mine")


HOOK = """
class Reach:
    def __init__(self, left=0.0):
        self.left = left

    def filter_targets(self, targets, view):
        return targets[targets["x"] >= self.left]
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installed package that offers plugins and a hook: what pip leaves behind in a folder of the path."""
    site = tmp_path / "site-packages"
    (site / "their_ptv").mkdir(parents=True)
    for name, code in (("__init__", ""), ("seq", SEQUENCE), ("track", TRACKING), ("hooks", HOOK)):
        (site / "their_ptv" / f"{name}.py").write_text(code)
    info = site / "their_ptv-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: their-ptv\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text(
        "[pyptv.plugins]\ntheir_sequence = their_ptv.seq:Sequence\ntheir_tracking = their_ptv.track\n"
        "[pyptv.hooks]\nright_part = their_ptv.hooks:Reach\n"
    )
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setenv("PYTHONPATH", str(site))
    return site


def test_of_an_installed_package(small_experiment: Make, package: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Plugins by their entry points give the files of the default method; the log says which package; so does a hook's."""
    caplog.set_level("INFO", "pyptv")
    plain, ours = small_experiment("plain"), small_experiment("ours")
    main(plain, engine="optv")
    main(ours, sequence_plugin="their_sequence", tracking_plugin="their_tracking")
    assert results(ours) == results(plain)
    assert "Sequence plugin their_sequence: their_ptv.seq:Sequence of their-ptv 1.2, digest " in caplog.text
    assert "Tracking plugin their_tracking: their_ptv.track of their-ptv 1.2, digest " in caplog.text
    assert "(similar: their_sequence)" in (refusal(lambda: main(ours, sequence_plugin="their_sequense")) or "")

    parallel_main(ours, hooks=["right_part:left=100"], n_processes=2, engine="optv", mode="sequence")
    assert "Hook right_part:left=100: their_ptv.hooks:Reach of their-ptv 1.2, digest " in caplog.text
    found = [TARGETS.read(path)["x"] for path in (ours / "img").glob("*_targets")]
    assert all((x >= 100).all() for x in found)
    assert sum(map(len, found)) > 100
    (package / "their_ptv" / "hooks.py").write_text(HOOK + "\n# another version\n")
    options = {"hooks": ["right_part:left=100"], "mode": "sequence", "resume": True}
    assert "hook 1.digest" in (refusal(lambda: main(ours, **options)) or "")
