"""The dense method: iterative particle reconstruction (Wieneke 2013), in NumPy around compiled kernels.

What others call is :func:`~pyptv.core.engines.dense.reconstruct.reconstruct` for a frame and
:func:`~pyptv.core.engines.dense.calibrate.self_calibrate` before the first one. Needs the extra ``fast``.
"""
