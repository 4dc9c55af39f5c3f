"""Scores of a processed synthetic experiment against its truth.

    from pyptv.evaluate import evaluate
    print(evaluate("demo"))

or ``python -m pyptv.evaluate demo``. Needs scipy: ``pip install "pyptv-batch[evaluate]"``.
"""

from pyptv.evaluate.compare import evaluate, truth_folder
from pyptv.evaluate.scores import FrameScore, Score

__all__ = ["FrameScore", "Score", "evaluate", "truth_folder"]
