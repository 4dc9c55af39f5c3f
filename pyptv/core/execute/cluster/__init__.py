"""Tasks on the workers of a Dask scheduler: ``runner`` assigns them, ``node`` and ``child`` run on a worker."""
