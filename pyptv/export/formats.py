"""The formats: name, requirements, and writer module of each."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module

from pyptv.core.base.errors import ProcessingError


@dataclass(frozen=True)
class Format:
    """One export format."""

    name: str
    readers: str
    """Programs that read it, for the help."""
    file_name: str
    """Name of the export in ``res/export``."""
    extra: str
    """The extra to install: ``pip install "pyptv-batch[EXTRA]"``."""
    libraries: tuple[str, ...]
    """The modules needed to write it."""
    writer: str
    """Module of ``writers``, with ``write(dataset, path)``."""
    entries: tuple[str, ...] = ()
    """Patterns of the entries of the written folder, first the entry that always exists; empty: it is a file. A folder that
    contains anything else is not replaced."""

    def require(self) -> None:
        """Load the libraries, so that a missing one is reported before anything is read.

        Raises:
            ProcessingError: one of them is missing.
        """
        for name in self.libraries:
            try:
                import_module(name)
            except ImportError as error:
                package = name.partition(".")[0]
                message = f'{self.name} export needs {package}: pip install "pyptv-batch[{self.extra}]"'
                raise ProcessingError(message) from error


FORMATS = {
    entry.name: entry
    for entry in (
        Format("h5", "flowtracks, h5py", "trajectories.h5", "h5", ("tables",), "hdf5"),
        Format(
            "zarr",
            "flowtracks, zarr, xarray",
            "trajectories.zarr",
            "zarr",
            ("zarr",),
            "zarr_store",
            ("zarr.json", "trajectories"),
        ),
        Format("vtk", "ParaView, pyvista", "trajectories_vtk", "trajectories", ("scipy.signal",), "vtk", ("*.pvd", "*.vtp")),
        Format("parquet", "pandas, polars, R, DuckDB", "trajectories.parquet", "table", ("pandas", "pyarrow"), "parquet"),
        Format("csv", "everything", "trajectories.csv", "trajectories", ("scipy.signal",), "csv_file"),
        Format("mat", "MATLAB, Octave, scipy", "trajectories.mat", "trajectories", ("scipy.io",), "matlab"),
        Format(
            "ptv_is",
            "PyPTV, this program",
            "trajectories_ptv_is",
            "trajectories",
            ("scipy.signal",),
            "links",
            ("export.json", "res", "score.json"),
        ),
    )
}
"""By name, in the order of the help."""
