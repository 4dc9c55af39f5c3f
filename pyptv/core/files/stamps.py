"""Whether an input file is unchanged."""

from __future__ import annotations

import zlib
from pathlib import Path

from pyptv.core.base.events import ImageStamp
from pyptv.core.base.regular_files import read_regular


def is_same(path: Path, stamp: ImageStamp) -> bool:
    """Whether a file is unchanged; if only its time differs (it was copied), its bytes decide."""
    try:
        status = path.stat()
        if (status.st_size, status.st_mtime_ns) == stamp[:2]:
            return True
        return status.st_size == stamp[0] and zlib.crc32(read_regular(path)) == stamp[2]
    except OSError:
        return False
