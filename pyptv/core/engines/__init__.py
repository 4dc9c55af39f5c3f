"""Engines for detection, matching and linking: optv's C code, or compiled kernels."""
