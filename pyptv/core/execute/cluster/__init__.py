"""Tasks on the workers of a Dask scheduler: who hands them out (``runner``), and what runs on a worker (``node``, ``child``)."""
