"""Kernels of the dense method: reconstruction of a frame, and links by prediction."""
