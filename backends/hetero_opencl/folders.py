"""What PoCL and pyopencl need on a machine where nothing can be kept.

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

from hetero.config import CACHE_DIR, cache_dir
from hetero_launch.folders import platform_folder, writable

POCL = "POCL_CACHE_DIR"  # read by PoCL when it starts
NO_CACHE = "PYOPENCL_NO_CACHE"  # read by pyopencl when it is imported


@contextmanager
def prepared() -> Generator[None]:
    """Import pyopencl inside this. The environment keeps a folder for PoCL, and nothing else of it."""
    if "pyopencl" in sys.modules:
        yield
        return
    if POCL not in os.environ:
        if os.environ.get(CACHE_DIR) and writable(cache_dir() / "pocl"):
            os.environ[POCL] = str(cache_dir() / "pocl")
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
