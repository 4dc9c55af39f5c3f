"""Compiled kernels: correspondence and tracking as in optv, faster and without its fixed buffers.

Pure functions on arrays, compiled by numba. Use them through :mod:`pyptv.core.engines.compiled.backend`.
"""
