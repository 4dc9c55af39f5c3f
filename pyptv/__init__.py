"""pyptv-batch: 3-D particle tracking velocimetry of whole image sequences, without a window.

The two entry points are :mod:`pyptv.pyptv_batch` and :mod:`pyptv.pyptv_batch_parallel`.
"""

__version__ = "0.1.0"
