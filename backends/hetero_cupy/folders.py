"""Where CuPy keeps compiled kernels.

CuPy compiles a kernel by NVRTC for the GPU at hand and keeps it on disk by source, options, architecture and version
of NVRTC, written whole or not at all. That cache serves here as it is: what is decided is only where it lies.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from hetero.config import CACHE_DIR, cache_dir
from hetero_launch.folders import writable

CUPY = "CUPY_CACHE_DIR"  # read by CuPy whenever it compiles
IN_MEMORY = "CUPY_CACHE_IN_MEMORY"  # likewise; then nothing is kept on disk


@contextmanager
def prepared() -> Generator[None]:
    """Import cupy inside this. Where its folder cannot be written, a first kernel would fail: then none is kept."""
    if "cupy" not in sys.modules and CUPY not in os.environ and IN_MEMORY not in os.environ:
        if os.environ.get(CACHE_DIR):
            os.environ[CUPY] = str(cache_dir() / "cupy")
        if not writable(Path(os.environ.get(CUPY) or os.path.expanduser("~/.cupy/kernel_cache"))):
            os.environ.pop(CUPY, None)
            os.environ[IN_MEMORY] = "1"
    yield
