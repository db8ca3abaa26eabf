"""NVRTC by itself: CUDA C to PTX and to machine code for any architecture, without a driver and without CuPy."""

from __future__ import annotations

import ctypes
import importlib.util
from functools import cache
from pathlib import Path
from typing import Any

from hetero_cupy.opened import options

ARCHS = ("75", "80", "86", "89", "90", "100", "120")  # Turing, Ampere twice, Ada, Hopper, Blackwell twice


class Refused(Exception):  # noqa: N818
    """What the compiler says."""


@cache
def library() -> Any:
    """libnvrtc of the package nvidia-cuda-nvrtc-cu12 or nvidia-cuda-nvrtc; None without one."""
    spec = importlib.util.find_spec("nvidia")
    for folder in (spec and spec.submodule_search_locations) or ():
        found = sorted(Path(folder).glob("*/lib/libnvrtc.so.1[0-9]"))
        if found:
            return ctypes.CDLL(str(found[-1]))
    return None


def version() -> str:
    major, minor = ctypes.c_int(), ctypes.c_int()
    _check(library().nvrtcVersion(ctypes.byref(major), ctypes.byref(minor)))
    return f"{major.value}.{minor.value}"


def compiled(text: str, arch: str) -> tuple[bytes, bytes]:
    """PTX and machine code for sm_`arch`. Raises `Refused` with the log."""
    nvrtc = library()
    program = ctypes.c_void_p()
    _check(nvrtc.nvrtcCreateProgram(ctypes.byref(program), text.encode(), b"kernel.cu", 0, None, None))
    try:
        wanted = (f"--gpu-architecture=sm_{arch}", *options(text))
        given = (ctypes.c_char_p * len(wanted))(*(o.encode() for o in wanted))
        if nvrtc.nvrtcCompileProgram(program, len(wanted), given):
            raise Refused(_read(program, "ProgramLog").decode())
        return _read(program, "PTX"), _read(program, "CUBIN")
    finally:
        nvrtc.nvrtcDestroyProgram(ctypes.byref(program))


def _read(program: ctypes.c_void_p, what: str) -> bytes:
    size = ctypes.c_size_t()
    _check(getattr(library(), f"nvrtcGet{what}Size")(program, ctypes.byref(size)))
    made = ctypes.create_string_buffer(size.value)
    _check(getattr(library(), f"nvrtcGet{what}")(program, made))
    return made.raw


def _check(code: int) -> None:
    assert code == 0, f"NVRTC error {code}"
