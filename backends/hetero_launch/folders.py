"""Where compiled kernels are kept."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

FOLDER = "HETERO_CACHE_DIR"


def cache_folder() -> Path:
    """HETERO_CACHE_DIR, or `hetero` in the folder that the platform has for such things."""
    given = os.environ.get(FOLDER)
    return Path(given) if given else platform_folder() / "hetero"


def platform_folder() -> Path:
    """Where programs of this user keep what can be made again."""
    home = Path(os.path.expanduser("~"))
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local")
    if sys.platform == "darwin":
        return home / "Library" / "Caches"
    return Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache")


def writable(folder: Path) -> bool:
    """Whether a file can be made there; the folder is made if need be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"x")
    except OSError:
        return False
    return True
