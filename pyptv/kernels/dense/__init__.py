"""Compiled kernels of the dense method: iterative particle reconstruction on arrays.

Images are (n_cams, height, width) float32 grey values above the background. Places in images are in px as optv counts them:
the middle of the first pixel is at (0.5, 0.5). Positions are in mm. Who wants the method goes through
:mod:`pyptv.core.engines.dense`.
"""
