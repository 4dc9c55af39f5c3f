"""PyPTV's plugins in a run: choosing them, running them over its frames, and publishing their files."""

from __future__ import annotations

import logging
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np

from pyptv.core.base.errors import InvalidExperimentError, ProcessingError
from pyptv.core.base.events import NO_RUN, Event, FrameDone, ImageStamp, StepDone
from pyptv.core.base.frames import FrameRange
from pyptv.core.base.options import Options
from pyptv.core.base.regular_files import read_regular
from pyptv.core.execute.earlier import Earlier
from pyptv.core.execute.plugin_process import run_plugin
from pyptv.core.experiment.folder import Experiment
from pyptv.core.files.atomic import digest, frame_digest, write_atomic
from pyptv.core.files.formats import PARTICLES, TARGET_COLUMNS, count_links, row_count
from pyptv.core.files.plugin_stage import make_stage, other_files, put_inputs, sequence_results, tracked, tracking_results
from pyptv.core.files.scratch import remove_scratch, scratch_folder
from pyptv.core.files.store import Store
from pyptv.core.history.journal import Journal, Writer
from pyptv.core.plugins.plugin_specs import Kind, PluginSpec, plugin_spec
from pyptv.core.stages.tasks import Job, Past

logger = logging.getLogger(__name__)


def chosen_plugins(experiment: Experiment, options: Options) -> tuple[tuple[PluginSpec, ...], list[str], list[str]]:
    """The plugins of a run, problems, and hints about plugins that the parameters select and that do not run."""
    specs: list[PluginSpec] = []
    problems: list[str] = []
    hints: list[str] = []
    kinds: tuple[tuple[Kind, bool, str | None], ...] = (
        ("sequence", options.processes and options.mode != "match", options.sequence_plugin),
        ("tracking", options.tracks, options.tracking_plugin),
    )
    for kind, does, asked in kinds:
        place, selected = experiment.selected_plugins.get(kind, ("", None))
        name = asked or (selected if options.allow_plugins and does else None)
        if name is None and selected is not None:
            hints.append(
                f"{place}: found the plugin {selected!r:.100}; it runs only with --allow-plugins or --{kind}-plugin: "
                "the default method is used"
            )
        if name is None:
            continue
        try:
            specs.append(plugin_spec(kind, name, experiment.folder))
        except InvalidExperimentError as error:
            problems += error.problems
    if any(spec.kind == "tracking" for spec in specs) and options.tracking == "both":
        problems.append("--tracking both needs the tracker of this program: leave the tracking plugin out")
    return tuple(specs), problems, hints


class PluginRun:
    """Runs the plugins of a run."""

    def __init__(self, job: Job, store: Store, frames: FrameRange, timeout: float | None) -> None:
        self._job = job
        self._store = store
        self._frames = frames
        self._timeout = timeout

    def has(self, kind: Kind) -> bool:
        """Whether a plugin replaces a step."""
        return self._spec(kind) is not None

    def sequence(self, journal: Journal | None) -> bool:
        """Do the sequence step, unless an earlier run has done all of it.

        Returns:
            Whether it was done.

        Raises:
            ProcessingError: the plugin failed, or did not leave valid results of all frames. Nothing is changed then.
        """
        spec = self._spec("sequence")
        if spec is None or self._kept(journal):
            return False
        with self._stage() as stage:
            logger.info("Running the sequence plugin %s", spec.name)
            run_plugin(spec, self._job.experiment, self._frames, stage, self._timeout)
            for frame in self._all():
                sequence_results(stage, frame, _named(spec))
            writer = self._writer()
            for frame in self._all():
                files = sequence_results(stage, frame, _named(spec))
                self._store.publish_sequence(frame, files)
                writer.note(self._frame_done(frame, files))
            writer.close()
            self._publish_others(stage)
        return True

    def tracking(self) -> Iterator[Event]:
        """Link the frames; yields a step for each.

        Raises:
            ProcessingError: the plugin failed, or left something else than links of all frames. Nothing is changed then.
        """
        spec = self._spec("tracking")
        if spec is None:
            return
        with self._stage() as stage:
            for frame in self._all():
                put_inputs(stage, frame, self._store.sequence_input(frame))
            logger.info("Running the tracking plugin %s", spec.name)
            run_plugin(spec, self._job.experiment, self._frames, stage, self._timeout)
            tracking_results(stage, self._frames, _named(spec))
            for frame in self._all():
                written = tracked(stage, frame, _named(spec))
                pristine = self._store.sequence_input(frame)
                self._store.put_tracked(None, frame, pristine, written)
                yield self._step_done(frame, pristine, written)
            self._publish_others(stage)

    # -- inside --------------------------------------------------------------------------------------------------------

    def _spec(self, kind: Kind) -> PluginSpec | None:
        return next((spec for spec in self._job.plugins if spec.kind == kind), None)

    def _all(self) -> range:
        return range(self._frames[0], self._frames[1] + 1)

    @contextmanager
    def _stage(self) -> Iterator[Experiment]:
        folder = scratch_folder()
        try:
            yield make_stage(self._job.experiment, folder)
        finally:
            remove_scratch(folder)

    def _writer(self) -> Writer:
        if self._job.journal is None:
            raise LookupError("the run has no journal")
        return Writer(self._job.journal, self._job.serial, self._job.fingerprints)

    def _kept(self, journal: Journal | None) -> bool:
        """Whether an earlier run did the sequence step of every frame with this plugin, and nothing has changed since."""
        if journal is None:
            return False
        earlier = Earlier(replace(self._job, tracks=False), self._store)
        for frame in self._all():
            past = journal.past(frame)
            if past is None or past.frame is None or earlier.look(frame, Past(past.frame), None)[0] is None:
                return False
        return True

    def _frame_done(self, frame: int, files: dict[str, bytes]) -> FrameDone:
        particles = PARTICLES.parse(files["rt_is"], "rt_is")
        n_cams = self._job.experiment.num_cams
        views = sum((particles[column] >= 0).astype(int) for column in TARGET_COLUMNS[:n_cams])
        return FrameDone(
            frame=frame,
            targets=tuple(row_count(data) for name, data in files.items() if name != "rt_is"),
            counts=tuple(int(np.sum(views == n)) for n in range(n_cams, min(n_cams, 2) - 1, -1)),
            particles=len(particles),
            digest=frame_digest(files),
            particles_digest=digest(files["rt_is"]),
            images=tuple(self._stamps(frame)),
        )

    def _stamps(self, frame: int) -> Iterator[ImageStamp]:
        for which in range(self._job.experiment.images_per_frame):
            path = self._job.experiment.input_path(which, frame)
            try:
                status, data = path.stat(), read_regular(path)
            except OSError as error:
                raise ProcessingError(f"frame {frame}: {path}: cannot be read: {error.strerror or error}") from error
            yield status.st_size, status.st_mtime_ns, zlib.crc32(data)

    def _step_done(self, frame: int, pristine: dict[str, bytes], written: dict[str, bytes]) -> StepDone:
        particles, links = count_links(written["ptv_is"])
        particles = max(0, particles)
        return StepDone(
            run=NO_RUN,
            frame=frame,
            digest=frame_digest(written),
            current=particles,
            links=links,
            lost=0 if frame == self._frames[1] else particles - links,
            added=max(0, row_count(written["rt_is"])) - max(0, row_count(pristine["rt_is"])),
            stretch=self._frames[0],
            last=self._frames[1],
            published=True,
        )

    def _publish_others(self, stage: Experiment) -> None:
        """Publish other files that the plugin wrote to ``res/``, such as tables."""
        for path in other_files(stage, self._frames):
            write_atomic(self._job.experiment.results / path.name, read_regular(path))
            logger.info("The plugin has written %s", self._job.experiment.results / path.name)


def _named(spec: PluginSpec) -> str:
    return f"{spec.kind} plugin {spec.name}"
