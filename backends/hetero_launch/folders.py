"""Folders of the platform, where the libraries that hetero uses keep what they compile."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path


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
