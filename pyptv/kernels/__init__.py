"""Compiled kernels: correspondence and tracking as optv does them, faster and without its fixed buffers.

Pure functions on arrays, compiled by numba. Who wants them goes through :mod:`pyptv.core.engines.compiled.backend`.
"""
