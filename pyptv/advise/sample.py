"""The frames that are looked at: read once, detected once for each threshold, matched with any parameters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from pyptv.core.base.errors import FrameError, ProcessingError
from pyptv.core.engines.optv.backend import project
from pyptv.core.experiment.calibration import Calibration
from pyptv.core.experiment.parameters.schema import CriteriaParameters, DetectionParameters
from pyptv.measures.bench import Workbench
from pyptv.measures.chance import Ghosts, expected_ghosts
from pyptv.measures.frames import NX, NY, SUMG, MatchedFrame, N

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Image = NDArray[np.uint8]

Tell = Callable[[str], None]
"""Called with a description of the present step."""

_MOST_TARGETS = 12_000
"""More targets in an image of the sample are noise, not particles: such settings are not matched."""
_ROUNDS, _FINAL_ROUNDS = 1, 6
"""Repetitions of the ghost estimate while settings are compared, and of what is reported."""
_TOGETHER = 2.0
"""[px] Particles nearer than that to another one, or than three quarters of a spot, in all images, are halves of one."""
_LOOSE = {"nnmin": 1, "nnmax": 2**30, "nxmin": 1, "nxmax": 2**30, "nymin": 1, "nymax": 2**30, "sumg_min": 0}


@dataclass(frozen=True)
class Setting:
    """What decides about the particles of a frame."""

    detection: DetectionParameters
    criteria: CriteriaParameters
    calibrations: tuple[Calibration, ...]

    def with_eps0(self, eps0: float) -> Setting:
        """The same with another width of the epipolar band [mm]."""
        return replace(self, criteria=replace(self.criteria, eps0=eps0))


@dataclass(frozen=True)
class Outcome:
    """What a setting makes of the sample's frames."""

    frames: tuple[MatchedFrame, ...]
    ghosts: Ghosts
    split: int
    """Particles that are the second half of another one."""

    @property
    def expected_ghosts(self) -> float:
        """Accidents and second halves."""
        return sum(self.ghosts.expected) + self.split

    @property
    def gain(self) -> float:
        """True particles minus wrong ones: what settings are compared by.

        A kind that is mostly accidents counts for nothing: on dense real images pairs are, whatever the parameters.
        """
        kinds = zip(self.ghosts.found, self.ghosts.expected, strict=True)
        return sum(max(found - 2.0 * expected, 0.0) for found, expected in kinds) - 2.0 * self.split


@dataclass
class Sample:
    """Some frames of an experiment."""

    bench: Workbench
    numbers: Sequence[int]
    """Frames that settings are compared on: far apart in time."""
    runs: Sequence[range]
    """Consecutive frames, for what needs time."""
    tell: Tell = lambda _: None
    _images: dict[int, list[Image]] = field(default_factory=dict)
    _detected: dict[tuple[int, int, int, int], Floats] = field(default_factory=dict)
    _outcomes: dict[tuple[Setting, bool], Outcome | None] = field(default_factory=dict)
    _last: list[tuple[Setting, Workbench]] = field(default_factory=list)

    @property
    def present(self) -> Setting:
        """What the experiment has."""
        experiment = self.bench.experiment
        return Setting(experiment.parameters.targ_rec, experiment.parameters.criteria, experiment.calibrations)

    @property
    def reads_targets(self) -> bool:
        """Whether there are no images, only targets."""
        return self.bench.experiment.parameters.pft_version.existing_target

    def images(self, frame: int) -> list[Image]:
        """The filtered images of a frame; those of :attr:`numbers` are kept."""
        if frame in self._images:
            return self._images[frame]
        images = self.bench.filtered(frame)
        if frame in self.numbers:
            self._images[frame] = images
        return images

    def targets(self, frame: int, limits: DetectionParameters) -> list[Floats]:
        """Targets (n, 8) of a frame, per camera, within the limits.

        Raises:
            FrameError: an image cannot be read, or not be detected with such a threshold.
        """
        if self.reads_targets:
            return self.bench.existing_targets(frame)
        cameras = range(self.bench.experiment.num_cams)
        return [_within(self._loose(frame, camera, limits), limits) for camera in cameras]

    def _loose(self, frame: int, camera: int, limits: DetectionParameters) -> Floats:
        """All targets of any size."""
        key = frame, camera, threshold_of(limits, camera), limits.disco
        if key not in self._detected:
            bench = self.bench.with_detection(replace(limits, **_LOOSE))  # type: ignore[arg-type]
            found = bench.detect_in(self.images(frame)[camera], camera)
            if frame not in self.numbers:
                return found
            self._detected[key] = found
        return self._detected[key]

    def matched(self, frame: int, setting: Setting) -> MatchedFrame:
        """A frame with a setting.

        Raises:
            FrameError: it cannot be matched so.
        """
        targets = self.targets(frame, setting.detection)
        if max(map(len, targets)) > _MOST_TARGETS and frame in self.numbers:
            raise FrameError(f"frame {frame}: {max(map(len, targets))} targets in an image")
        return self.at(setting).match(targets, frame)

    def at(self, setting: Setting) -> Workbench:
        """The workbench with a setting; the last one is kept, for a workbench takes time to begin."""
        if not self._last or self._last[0][0] != setting:
            bench = self.bench.with_detection(setting.detection).with_criteria(setting.criteria)
            self._last[:] = [(setting, bench.with_calibrations(setting.calibrations))]
        return self._last[0][1]

    def outcome(self, setting: Setting, *, final: bool = False) -> Outcome | None:
        """What a setting makes of the frames that settings are compared on; None where the engine cannot do it.

        Args:
            setting: to match with.
            final: estimate ghosts as exactly as can be, to report them.
        """
        key = setting, final
        if key not in self._outcomes:
            try:
                frames = [self.matched(number, setting) for number in self.numbers]
                ghosts = expected_ghosts(self.at(setting), frames, rounds=_FINAL_ROUNDS if final else _ROUNDS)
                split = max(round(sum(self._halves(frame, setting) for frame in frames)), 0)
                self._outcomes[key] = Outcome(tuple(frames), ghosts, split)
            except ProcessingError:  # for example more candidates than the engine holds: no setting to propose
                self._outcomes[key] = None
        return self._outcomes[key]

    def gain(self, setting: Setting) -> float:
        """:attr:`Outcome.gain`; minus infinity where the engine cannot do it."""
        outcome = self.outcome(setting)
        return -np.inf if outcome is None else outcome.gain

    def run_frames(self, setting: Setting) -> list[list[MatchedFrame]]:
        """The consecutive frames, with a setting.

        Raises:
            FrameError: one cannot be matched so.
        """
        return [[self.matched(number, setting) for number in run] for run in self.runs]

    def _halves(self, frame: MatchedFrame, setting: Setting) -> float:
        """Particles that lie beside another one in all images, above chance: a spot was split in all of them.

        By chance particles are as near as that, too: a seventh of those that are up to twice as far, for there is seven times as
        much space.
        """
        from scipy.spatial import KDTree  # an extra

        position = frame.position[np.isfinite(frame.position).all(axis=1)]
        if len(position) < 2:
            return 0.0
        places = project(position, self.bench.experiment.parameters, setting.calibrations)
        flat = np.concatenate(list(places), axis=1)
        sizes = np.concatenate([rows[:, [NX, NY]] for rows in frame.targets])
        near = max(_TOGETHER, 0.75 * float(sizes.mean()))
        tree = KDTree(flat[np.isfinite(flat).all(axis=1)])
        inner, outer = (len(np.unique(tree.query_pairs(far, p=np.inf, output_type="ndarray")[:, 1])) for far in (near, 2 * near))
        return inner - (outer - inner) / 7


def threshold_of(limits: DetectionParameters, camera: int) -> int:
    """The grey threshold of a camera (0-based); the last one counts for those without."""
    return limits.gvthres[min(camera, len(limits.gvthres) - 1)]


def _within(targets: Floats, limits: DetectionParameters) -> Floats:
    """The targets within the limits of size and brightness, as detection keeps them."""
    kept = (targets[:, N] >= limits.nnmin) & (targets[:, N] <= limits.nnmax) & (targets[:, SUMG] > limits.sumg_min)
    for column, low, high in ((NX, limits.nxmin, limits.nxmax), (NY, limits.nymin, limits.nymax)):
        kept &= (targets[:, column] >= low) & (targets[:, column] <= high)
    return targets[kept]
