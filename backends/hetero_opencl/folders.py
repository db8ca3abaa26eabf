"""Where compiled kernels are kept, and what to do where nothing can be kept.

PoCL offers no device at all without a folder that it can write to, and pyopencl fails at its first kernel. So before
pyopencl is imported, both are pointed to a folder that works.
"""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

FOLDER = "HETERO_CACHE_DIR"
POCL = "POCL_CACHE_DIR"  # read by PoCL when it starts
NO_CACHE = "PYOPENCL_NO_CACHE"  # read by pyopencl when it is imported


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


@contextmanager
def prepared() -> Generator[None]:
    """Import pyopencl inside this. The environment keeps a folder for PoCL, and nothing else of it."""
    if "pyopencl" in sys.modules:
        yield
        return
    if POCL not in os.environ:
        if os.environ.get(FOLDER) and writable(cache_folder() / "pocl"):
            os.environ[POCL] = str(cache_folder() / "pocl")
        elif not writable(platform_folder() / "pocl"):
            os.environ[POCL] = _temporary()
    held = NO_CACHE not in os.environ and not writable(platform_folder())
    if held:
        os.environ[NO_CACHE] = "1"
    try:
        yield
    finally:
        if held:
            del os.environ[NO_CACHE]


def _temporary() -> str:
    """A folder that is gone when the process is."""
    folder = tempfile.mkdtemp(prefix="hetero-pocl-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
