"""When two tracker runs have reached the same state, so that all that follows is equal.

The tracker forgets: what it carries from one step to the next is the particle lists of four frames. Where these can be told
by a fingerprint, one equal fingerprint is the proof. optv's tracker keeps them to itself; there equal files prove it: after
the step of frame f its state is frames f to f + 2. Of these f and f + 1 are as they will be written but for links yet to
come; f + 2 may get more particles at the next step, which count there. So equal files at three frames in succession, with
equal numbers of added particles, are an equal state; one more frame is asked for to be safe.
"""

from __future__ import annotations

from collections.abc import Mapping

from pyptv.core.base.events import StepDone
from pyptv.core.files.atomic import digest
from pyptv.core.stages.tasks import Known

EQUAL_FRAMES = 4
"""Equal frames in succession that prove an equal state."""


def known(step: StepDone) -> Known:
    """What of a step is compared."""
    return Known(step.state, step.digest, step.added)


def same_state(one: Mapping[int, Known], other: Mapping[int, Known], frame: int) -> bool:
    """Whether two runs are proven to have the same state after the step of a frame."""
    if frame not in one or frame not in other:
        return False
    if one[frame].state and other[frame].state:
        return one[frame].state == other[frame].state
    frames = range(frame - EQUAL_FRAMES + 1, frame + 1)
    return all(f in one and f in other and one[f][1:] == other[f][1:] for f in frames)


def state_tag(steps: Mapping[int, Known], stretch: int, frame: int) -> str | None:
    """What a saved state is recognised by: the files that prove it. None where the steps that do are not all there."""
    frames = range(max(stretch, frame - EQUAL_FRAMES + 1), frame + 1)
    if not all(f in steps for f in frames):
        return None
    return digest(" ".join(f"{f} {steps[f].digest} {steps[f].added}" for f in frames).encode())[:16]
