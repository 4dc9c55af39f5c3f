"""Connection to a running Dask scheduler."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from pyptv.core.base.errors import InvalidExperimentError, ProcessingError
from pyptv.core.base.options import Options

_PATIENCE = 20
"""Seconds within which a scheduler must answer."""


@contextmanager
def open_client(options: Options) -> Iterator[Any]:
    """The client of a run, None if it needs none. A client of the caller stays open.

    Raises:
        InvalidExperimentError: the extra is not installed, or the scheduler file does not exist.
        ProcessingError: no scheduler answers.
    """
    if not options.on_cluster:
        yield None
        return
    try:
        from distributed import Client  # an extra
    except ImportError as error:
        raise InvalidExperimentError('--scheduler needs Dask: pip install "pyptv-batch[cluster]"') from error
    if options.client is not None:
        if not isinstance(options.client, Client) or options.client.asynchronous:
            raise ValueError(f"client must be an open distributed.Client that is not asynchronous, got {options.client!r:.80}")
        yield options.client
        return
    place = _place(str(options.scheduler))
    try:
        client: Any = Client(  # type: ignore[no-untyped-call]
            **place, timeout=_PATIENCE, set_as_default=False, name="pyptv-batch"
        )
    except (OSError, ValueError, TypeError) as error:
        raise ProcessingError(f"--scheduler {options.scheduler}: no Dask scheduler answers there: {error}") from error
    try:
        yield client
    finally:
        with suppress(Exception):  # the scheduler may have ended
            client.close(timeout=1)


def _place(named: str) -> dict[str, str]:
    if "://" in named:
        return {"address": named}
    if named.endswith(".json") or Path(named).exists():
        if not Path(named).is_file():
            raise InvalidExperimentError(f"--scheduler {named}: no such file: expected the scheduler file of a running scheduler")
        return {"scheduler_file": named}
    return {"address": named}
