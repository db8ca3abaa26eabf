"""Kernel texts compiled by g++, each once on a machine."""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import subprocess
import tempfile
from functools import cache
from hashlib import sha256
from pathlib import Path

COMPILER = shutil.which("g++")
HEADER = Path(__file__).parent / "cuda.h"
FLAGS = ("-std=c++17", "-O0", "-w", "-fPIC", "-shared", "-ffp-contract=off", "-fno-strict-aliasing")


@cache
def folder() -> Path:
    """Where compiled texts stay: of this user, and of this header."""
    key = sha256(" ".join(FLAGS).encode() + HEADER.read_bytes()).hexdigest()[:16]
    made = Path(tempfile.gettempdir()) / f"hetero-pretend-cuda-{os.getuid()}" / key
    made.mkdir(parents=True, exist_ok=True, mode=0o700)
    return made


@cache
def built(text: str) -> ctypes.CDLL:
    """The text as a library with `pretend_launch_NAME` and `pretend_sizes_NAME` for each kernel."""
    path = folder() / f"{sha256(text.encode()).hexdigest()}.so"
    if not path.exists():
        names = re.findall(r"^KERNEL (\w+)\(", text, re.MULTILINE)
        whole = f'#include "{HEADER}"\n{text}\n' + "\n".join(f"PRETEND({n})" for n in names) + "\n"
        with tempfile.TemporaryDirectory(dir=folder()) as place:
            source, made = Path(place) / "kernel.cc", Path(place) / "kernel.so"
            source.write_text(whole, encoding="utf-8")
            assert COMPILER
            said = subprocess.run([COMPILER, *FLAGS, "-o", made, source], capture_output=True, text=True, check=False)
            if said.returncode:
                raise ValueError(said.stderr[:2000])
            os.replace(made, path)
    return ctypes.CDLL(str(path))
