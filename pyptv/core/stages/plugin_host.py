"""The process in which a plugin of PyPTV runs: ``python -m pyptv.core.stages.plugin_host``, with its task on standard input.

It works in a folder that looks like the experiment. The plugin can import ``pyptv.ptv``. The exit code states
success or failure; the output goes to the log of the run.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pyptv
from pyptv.core.base.frames import FrameRange
from pyptv.core.engines.optv.plugin_objects import PluginExperiment, ptv_module
from pyptv.core.experiment.folder import Experiment, load_experiment, read_parameters
from pyptv.core.experiment.output import parameters_named
from pyptv.core.files.atomic import digest
from pyptv.core.plugins.hook_specs import read_code
from pyptv.core.plugins.plugin_specs import PluginSpec

FAILED = 70
"""The exit code of a plugin that raised an error."""
ERROR_MARK = "pyptv-plugin-error: "
"""Prefix of the line with the error."""
BEGINS = "pyptv-plugin-begins"
"""The line printed before the plugin's code runs."""

_LOOK_FOR_PARENT = 0.5


def request(spec: PluginSpec, experiment: Experiment, frames: FrameRange) -> bytes:
    """The standard input of the process."""
    tree = {"spec": asdict(spec), "source": str(parameters_named(experiment.source)), "frames": frames}
    return json.dumps(tree).encode() + b"\n"


def main() -> int:
    """Run the plugin that standard input names."""
    told = json.loads(sys.stdin.buffer.readline())
    threading.Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True).start()
    spec = PluginSpec(**told["spec"])
    try:
        _run(spec, Path(told["source"]), tuple(told["frames"]))
    except (Exception, SystemExit) as error:  # the run must be informed of every error
        text = " ".join(str(error).split())[:500]
        sys.stdout.flush()
        sys.stdout.write(f"\n{ERROR_MARK}{type(error).__name__}: {text}\n")
        return FAILED
    finally:
        sys.stdout.flush()
    return 0


def _run(spec: PluginSpec, source: Path, frames: FrameRange) -> None:
    experiment = load_experiment(source)
    raw = read_parameters(source)
    exp = PluginExperiment(experiment, raw.tree, frames)
    ptv = ptv_module()
    sys.modules["pyptv.ptv"] = ptv
    setattr(pyptv, "ptv", ptv)  # noqa: B010 -- it is not ours
    sys.path.insert(0, str(experiment.folder / "plugins"))
    name, method = ("Sequence", "do_sequence") if spec.kind == "sequence" else ("Tracking", "do_tracking")
    sys.stdout.write(f"{BEGINS}\n")
    sys.stdout.flush()
    made: Any = _code_of(spec)
    if isinstance(made, ModuleType):
        if not hasattr(made, name):
            raise ValueError(f"{spec.origin}: found no class {name}")
        made = getattr(made, name)
    getattr(made(exp=exp), method)()


def _code_of(spec: PluginSpec) -> Any:
    """The module of a file, or the object of an entry point."""
    if not spec.file:
        module, _, attribute = spec.target.partition(":")
        loaded = import_module(module)
        return getattr(loaded, attribute) if attribute else loaded
    data = read_code(Path(spec.file))
    if digest(data) != spec.digest:
        raise ValueError(f"{spec.file} has changed since the run began")
    module_of_file = ModuleType(spec.name)
    module_of_file.__file__ = spec.file
    sys.modules[spec.name] = module_of_file
    exec(compile(data, spec.file, "exec"), module_of_file.__dict__)  # noqa: S102 -- the user has asked for it
    return module_of_file


def _end_with_parent(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_LOOK_FOR_PARENT)
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
