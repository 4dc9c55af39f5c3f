"""The hooks of a run, and the checks of them before it."""

from __future__ import annotations

from pyptv.core.base.errors import FrameError, InvalidExperimentError
from pyptv.core.base.options import Options
from pyptv.core.experiment.folder import Experiment
from pyptv.core.plugins.hook_specs import HookSpec, hook_specs
from pyptv.hooks import BUILT_IN


def chosen_hooks(experiment: Experiment, options: Options) -> tuple[tuple[HookSpec, ...], list[str]]:
    """The hooks of a run, and problems with them. External code is not executed here: it runs in the workers."""
    try:
        specs = hook_specs(options.hooks, experiment.hooks, experiment.folder, allow=options.allow_plugins)
    except InvalidExperimentError as error:
        return (), list(error.problems)
    problems = []
    if specs and experiment.overwrites_input:
        problems.append(
            f"hook {specs[0].name}: it would change the stored targets that frames are made from: name a folder with --output"
        )
    for spec in specs:
        if spec.target in BUILT_IN.values():
            problems += _problems_of(spec, stored_targets=experiment.parameters.pft_version.existing_target)
    return specs, problems


def _problems_of(spec: HookSpec, *, stored_targets: bool) -> list[str]:
    """Problems with a built-in hook."""
    from pyptv.core.plugins.hook_chain import make_hook, reach_of  # numpy: not for a bad command line

    try:
        reach_of(spec.name, make_hook(spec))
    except FrameError as error:
        return [str(error)]
    return [f"hook {spec.name}: it works on images, and frames are made from stored targets here"] if stored_targets else []
