"""Proof that two tracker runs have reached the same state, so that everything that follows is equal.

The state of the tracker between two steps is the particle lists of four frames. If these have a
fingerprint, one equal fingerprint is the proof. optv's tracker does not expose them; there equal files are the proof: after
the step of frame f its state is frames f to f + 2. Of these, f and f + 1 are as they will be written, except for later
links; f + 2 may get more particles in the next step, which are counted there. So equal files at three successive frames, with
equal numbers of added particles, mean equal states; one more frame is required to be safe.
"""

from __future__ import annotations

from collections.abc import Mapping

from pyptv.core.base.events import StepDone
from pyptv.core.files.atomic import digest
from pyptv.core.stages.tasks import Known

EQUAL_FRAMES = 4
"""Number of successive equal frames that prove an equal state."""


def known(step: StepDone) -> Known:
    """The part of a step that is compared."""
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
    """The tag of a saved state: a digest of the files that prove it. None if not all their steps are known."""
    frames = range(max(stretch, frame - EQUAL_FRAMES + 1), frame + 1)
    if not all(f in steps for f in frames):
        return None
    return digest(" ".join(f"{f} {steps[f].digest} {steps[f].added}" for f in frames).encode())[:16]
