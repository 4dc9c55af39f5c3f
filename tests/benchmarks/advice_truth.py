"""Advice against the truth: synthetic experiments, bad parameters, one round of advice, a fine search with truth beside it.

    python tests/benchmarks/advice_truth.py OUT.jsonl --processes 15 --experiments 60
    python tests/benchmarks/advice_truth.py OUT.jsonl --summary

Each experiment is one line of JSON; those that OUT has already are not repeated. A particle is found where its targets are those
of a true one (2 px, two cameras or more), so that a calibration that is off, and moves all particles together, is not counted
against the matching.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
import traceback
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from itertools import product
from multiprocessing import active_children
from pathlib import Path

from pyptv.core.base.machine import use_one_thread

use_one_thread()  # before numpy: as in the command, and processes side by side must not each take all cores

import numpy as np  # noqa: E402
from advice_summary import rows_of, summary  # noqa: E402
from PIL import Image  # noqa: E402

DV = [f"dv{axis}{end}" for axis in "xyz" for end in ("min", "max")]


def plan(number: int) -> tuple[dict, dict, dict]:
    """Options of an experiment, what is done to a camera's images, and by how much the parameters are wrong."""
    rng = np.random.default_rng(number)
    options = {
        "n_particles": [200, 500, 900, 1500][number % 4],
        "displacement": float(rng.choice([0.05, 0.1, 0.2, 0.3])),
        "intensity": float(rng.choice([150, 90, 60])),
        "noise": float(rng.choice([1.0, 2.0, 3.0])),
        "spot_diameter": float(rng.choice([2.2, 2.6, 3.4])),
        "calibration_error_px": [0.0, 0.2, 0.0, 0.5, 1.0][number % 5],
        "n_frames": 8,
        "image_size": (512, 410),
        "seed": 1000 + number,
    }
    camera = {"kind": ["none", "dim", "none", "blurred"][(number // 4) % 4], "camera": 1}
    wrong = {"gvthres": [0.5, 2.0][number % 2], "eps0": [4.0, 0.25][(number // 2) % 2], "dv": [3.0, 0.5][(number // 4) % 2]}
    return options, camera, wrong


def spoil(folder: Path, camera: dict) -> None:
    """Make a camera's images dim or blurred."""
    from scipy.ndimage import gaussian_filter

    if camera["kind"] == "none":
        return
    for path in (folder / "img").glob(f"cam{camera['camera'] + 1}.*"):
        image = np.asarray(Image.open(path)).astype(np.float64)
        image = image * 0.5 if camera["kind"] == "dim" else gaussian_filter(image, 0.7)
        Image.fromarray(np.clip(np.rint(image), 0, 255).astype(np.uint8)).save(path, format="TIFF", compression="tiff_lzw")


def identify(frame, truth) -> np.ndarray:
    """The true particle of each measured one, or -1; each true one once, by the targets that lie nearest."""
    from scipy.spatial import KDTree

    rows = truth.rows_of(frame.number)
    identity, pixels = truth.identity[rows], truth.pixels[:, rows]
    places = frame.pixels(np.arange(len(frame.position)))
    best, distance = np.full(len(frame.position), -1), np.full(len(frame.position), np.inf)
    for camera in range(frame.n_cams):
        seen = np.flatnonzero(np.isfinite(places[camera, :, 0]))
        if not len(seen):
            continue
        _, near = KDTree(pixels[camera]).query(places[camera, seen], k=3)
        for which in near.T:
            off = np.linalg.norm(places[:, seen] - pixels[:, which], axis=2)
            rms = np.sqrt(np.nanmean(np.minimum(off, 20) ** 2, axis=0))
            rms[np.sum(off < 2.0, axis=0) < 2] = np.inf
            better = rms < distance[seen]
            distance[seen[better]], best[seen[better]] = rms[better], which[better]
    result, taken = np.full(len(best), -1), set()
    for row in np.argsort(distance):
        if distance[row] < 3.0 and best[row] not in taken:
            taken.add(best[row])
            result[row] = identity[best[row]]
    return result


def particles(frames, truth) -> tuple[float, int]:
    """Recall, and ghosts."""
    found = [identify(frame, truth) for frame in frames]
    true = sum(int((one >= 0).sum()) for one in found)
    there = sum(truth.rows_of(frame.number).stop - truth.rows_of(frame.number).start for frame in frames)
    return true / max(there, 1), sum(map(len, found)) - true


def links(bench, frames, truth) -> float:
    """Link recall: true links over those of all particles that are there in both frames. Added particles count as well."""
    from pyptv.measures.frames import MatchedFrame

    tracked = bench.track(frames)
    after = [
        identify(MatchedFrame(frame.number, frame.targets, one.position, one.target), truth)
        for frame, one in zip(frames, tracked, strict=True)
    ]
    true = there = 0
    for index in range(len(frames) - 1):
        following = tracked[index].following
        rows = np.flatnonzero(following >= 0)
        true += int(np.sum((after[index][rows] >= 0) & (after[index][rows] == after[index + 1][following[rows]])))
        numbers = [truth.identity[truth.rows_of(frames[k].number)] for k in (index, index + 1)]
        there += len(np.intersect1d(*numbers))
    return true / max(there, 1)


def one(number: int) -> dict:
    """One experiment."""
    from pyptv.synthetic import make_experiment, read_truth

    options, camera, wrong = plan(number)
    with tempfile.TemporaryDirectory() as place:
        folder = make_experiment(Path(place) / "e", **options)
        spoil(folder, camera)
        return {"number": number, "options": options, "camera": camera, "wrong": wrong} | judge(
            folder, read_truth(folder / "truth.csv"), wrong, options
        )


def judge(folder: Path, truth, wrong: dict, options: dict) -> dict:
    """What advice makes of bad parameters, and what a fine search finds."""
    from pyptv.advise.advice import choose_engine, measure
    from pyptv.advise.sample import Sample, Setting
    from pyptv.core.experiment.folder import load_experiment
    from pyptv.core.images.grey_values import decide
    from pyptv.measures.bench import Workbench

    good = load_experiment(folder)
    p = good.parameters
    detection = replace(p.targ_rec, gvthres=tuple(max(1, round(v * wrong["gvthres"])) for v in p.targ_rec.gvthres), disco=100)
    criteria = replace(p.criteria, eps0=p.criteria.eps0 * wrong["eps0"])
    track = replace(p.track, **{name: getattr(p.track, name) * wrong["dv"] for name in DV})
    bad = replace(good, parameters=replace(p, targ_rec=detection, criteria=criteria, track=track))
    bench = Workbench(good, choose_engine("auto"), decide(good).settings)
    first, last = p.sequence.first, p.sequence.last
    numbers = range(first, last + 1)
    all_frames = Sample(bench, list(numbers), [numbers])

    def scores(setting: Setting, limits) -> dict:
        frames = [all_frames.matched(number, setting) for number in numbers]
        recall, ghosts = particles(frames, truth)
        found = sum(len(frame.position) for frame in frames)
        return {
            "recall": recall,
            "ghosts": ghosts,
            "found": found,
            "links": links(all_frames.at(setting).with_track(limits), frames, truth),
        }

    def safe(setting: Setting, limits) -> dict:
        try:
            return scores(setting, limits)
        except Exception as error:
            return {"recall": 0.0, "ghosts": 0, "found": 0, "links": 0.0, "error": str(error)[:80]}

    result: dict = {"engine": bench.engine, "before": safe(Setting(detection, criteria, good.calibrations), track)}
    for name, fix in (("after", False), *((("fixed", True),) if options["calibration_error_px"] else ())):
        start = time.process_time()
        measured = measure(bad, (first, last), fix_calibration=fix)
        result[name] = safe(measured.proposed, measured.tracked.limits)
        result[name] |= {
            "cpu": time.process_time() - start,
            "expected": measured.after.expected_ghosts / measured.after.ghosts.frames * len(numbers),
            "expected_there": measured.after.expected_ghosts,
            "ghosts_there": particles(measured.after.frames, truth)[1],
            "chains": measured.motion.chains,
            "eps0_px": measured.proposed.criteria.eps0 / p.ptv.pix_x,
            "gvthres": list(measured.proposed.detection.gvthres),
            "disco": measured.proposed.detection.disco,
            "noise": list(measured.motion.noise),
            "noise_settled": list(measured.motion.noise_settled),
            "refined": None if measured.refined is None else [measured.refined.before, measured.refined.after],
            "hints": [] if measured.refined is None else list(measured.refined.hints),
        }
        if not options["calibration_error_px"] or fix:
            result[name]["noise_true"] = noise(all_frames, measured, truth, numbers)
    result["best"] = fine_search(all_frames, Setting(p.targ_rec, p.criteria, good.calibrations), p, truth, numbers)
    return result


def noise(sample, measured, truth, numbers) -> list[float]:
    """The noise of positions along x, y, z: the scatter of steps of the errors, by the median of absolute values.

    A bias that stays with the particle is none.
    """
    errors: dict[int, np.ndarray] = {}
    for index, number in enumerate(numbers):
        frame = sample.matched(number, measured.proposed)
        rows = truth.rows_of(number)
        by_identity = dict(zip(truth.identity[rows].tolist(), truth.position[rows], strict=True))
        for who, place in zip(identify(frame, truth).tolist(), frame.position, strict=True):
            if who >= 0:
                errors.setdefault(who, np.full((len(numbers), 3), np.nan))[index] = place - by_identity[who]
    tracks = np.array(list(errors.values()))
    return (1.4826 * np.nanmedian(np.abs(np.diff(tracks, axis=1)), axis=(0, 1)) / 2**0.5).tolist()


def fine_search(sample, start, p, truth, numbers) -> dict:
    """The best recall and link recall that are found with truth: thresholds, bands, disco; then limits of tracking."""
    few = list(numbers)[1 :: max(1, len(numbers) // 2)]
    tried = {}

    def recall(scale: float, disco: int, band: float) -> float:
        key = scale, disco, band
        if key not in tried:
            limits = replace(
                start.detection, gvthres=tuple(max(2, round(v * scale)) for v in start.detection.gvthres), disco=disco
            )
            setting = replace(start, detection=limits).with_eps0(band * p.ptv.pix_x)
            try:
                tried[key] = particles([sample.matched(number, setting) for number in few], truth)[0], setting
            except Exception:
                tried[key] = 0.0, setting
        return tried[key][0]

    bands = (0.3, 0.45, 0.65, 0.95, 1.4, 2.0, 3.0, 4.5)
    _, scale, band = max((recall(scale, 12, band), scale, band) for scale, band in product((0.5, 0.7, 1.0, 1.5, 2.2), bands))
    _, disco = max((recall(scale, disco, band), disco) for disco in (3, 6, 12, 25, 60))
    for other in (0.7, 1.0, 1.4):
        recall(scale, disco, band * other)
    ranked = sorted(tried.values(), key=lambda item: -item[0])
    best_recall, best_links = 0.0, 0.0
    for _, setting in (ranked[0], ranked[3]):
        frames = [sample.matched(number, setting) for number in numbers]
        best_recall = max(best_recall, particles(frames, truth)[0])
        tried_limits = []
        for dv, dacc in product((0.8, 1.0, 1.6), (0.7, 1.0, 2.0)):
            limits = replace(p.track, dacc=p.track.dacc * dacc, **{name: getattr(p.track, name) * dv for name in DV})
            bench = sample.at(setting).with_track(limits)
            tried_limits.append((links(bench, frames[:4], truth), len(tried_limits), bench))
        for _, _, bench in sorted(tried_limits, key=lambda item: -item[0])[:2]:
            best_links = max(best_links, links(bench, frames, truth))
    return {"recall": best_recall, "links": best_links}


GHOST_EXPERIMENTS = (2, 3, 7, 11, 13, 14, 15, 18, 19, 23)


def ghosts(number: int) -> list[tuple[int, float]]:
    """True and expected ghosts of an experiment with the present calibrations: two thresholds, four bands, three frames."""
    from pyptv.advise.advice import choose_engine
    from pyptv.core.experiment.folder import load_experiment
    from pyptv.core.images.grey_values import decide
    from pyptv.measures.bench import Workbench
    from pyptv.measures.chance import expected_ghosts
    from pyptv.synthetic import make_experiment, read_truth

    options, camera, _ = plan(number)
    pairs = []
    with tempfile.TemporaryDirectory() as place:
        folder = make_experiment(Path(place) / "e", **options)
        spoil(folder, camera)
        experiment, truth = load_experiment(folder), read_truth(folder / "truth.csv")
        p = experiment.parameters
        bench = Workbench(experiment, choose_engine("auto"), decide(experiment).settings)
        for scale in (1.0, 0.6):
            limits = replace(p.targ_rec, gvthres=tuple(max(2, round(v * scale)) for v in p.targ_rec.gvthres))
            targets = {n: bench.with_detection(limits).detect(bench.filtered(n)) for n in (10000, 10003, 10006)}
            for band in (0.6, 1.2, 2.5, 5.0):
                at = bench.with_criteria(replace(p.criteria, eps0=band * p.ptv.pix_x))
                frames = [at.match(rows, n) for n, rows in targets.items()]
                pairs.append((particles(frames, truth)[1], sum(expected_ghosts(at, frames).expected)))
    return pairs


def ghost_table(processes: int) -> None:
    """The figures on ghosts of docs/advice.md."""
    with ProcessPoolExecutor(processes) as pool:
        pairs = np.array([pair for found in pool.map(ghosts, GHOST_EXPERIMENTS) for pair in found])
    for low, high in ((0, 8), (8, 20), (20, 100), (100, np.inf)):
        some = pairs[(pairs[:, 0] > low) & (pairs[:, 0] <= high)]
        ratio = some[:, 1] / some[:, 0]
        print(
            f"true ghosts {low} to {high}: {len(some)} cases, expected / true: percentiles 5 50 95",
            np.round(np.percentile(ratio, (5, 50, 95)), 2).tolist(),
            f"within a factor of 2: {np.mean((ratio >= 0.5) & (ratio <= 2)):.0%}",
        )


def run(out: Path, numbers: Sequence[int], processes: int, seconds: float) -> None:
    """The experiments that OUT does not have, those that take longest first; each is written as soon as it is done."""
    done = {row["number"] for row in rows_of(out)}
    numbers = sorted(set(numbers) - done, key=expected_time, reverse=True)
    start, failed = time.time(), 0
    with out.open("a") as file, ProcessPoolExecutor(processes) as pool:
        waiting = {pool.submit(one, number): number for number in numbers}
        try:
            for future in as_completed(waiting, timeout=seconds):
                if error := future.exception():
                    failed += 1
                    print(f"experiment {waiting[future]} failed:", *traceback.format_exception(error)[-3:], sep="\n")
                    continue
                file.write(json.dumps(future.result()) + "\n")
                file.flush()
        except TimeoutError:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in active_children():
                process.kill()
    print(f"{time.time() - start:.0f} s; {failed} failed")


def expected_time(number: int) -> float:
    """What an experiment takes beside another one: it is advised twice where calibrations are off."""
    options = plan(number)[0]
    return (options["n_particles"] + 500) * (3 if options["calibration_error_px"] else 2)


def main() -> None:
    """Run, or summarise."""
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--experiments", type=int, default=60)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--only", type=int, nargs="+", help="these experiments")
    parser.add_argument("--seconds", type=float, default=1e9, help="then stop: what is in OUT by then stays")
    parser.add_argument("--summary", action="store_true")
    parser.add_argument("--ghosts", action="store_true", help="only the table of ghosts; OUT is not written")
    options = parser.parse_args()
    from pyptv.kernels import build, cache

    if not options.summary and cache.installed() and not cache.ready():
        build.build()
    if options.ghosts:
        ghost_table(options.processes)
        return
    if not options.summary:
        numbers = options.only or range(options.first, options.first + options.experiments)
        run(options.out, numbers, options.processes, options.seconds)
    summary(options.out)


if __name__ == "__main__":
    main()
