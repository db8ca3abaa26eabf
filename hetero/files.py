"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import tempfile
from os import PathLike, fspath
from pathlib import Path


def write_whole(path: str | PathLike[str], data: bytes | str) -> None:
    """Put `data` (text as UTF-8) into the file at once; an OSError leaves what was there before, and nothing beside it.

    The folder must exist. A reader meets the old file or the new one, also when the process dies in between.
    """
    target = Path(fspath(path))
    handle, scratch = tempfile.mkstemp(dir=target.absolute().parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data.encode() if isinstance(data, str) else data)
        os.replace(scratch, target)
    except BaseException:
        Path(scratch).unlink(missing_ok=True)
        raise
