"""Which GPUs there are, and what is missing where there is none."""

from __future__ import annotations

import ctypes
import sys
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from hetero.errors import BackendError
from hetero.spi import Probe
from hetero_cupy.folders import prepared

OLDEST = 13  # the first CuPy that is known to have all that is used here
DRIVER = "install NVIDIA's driver, so that nvidia-smi answers"


@dataclass(frozen=True, slots=True)
class Record:
    """What CUDA says of one GPU."""

    index: int
    name: str
    arch: str  # 90: compute capability 9.0
    memory_bytes: int
    units: int  # multiprocessors
    driver: str  # the newest CUDA that the driver runs: 12.4
    cupy: str

    @property
    def description(self) -> str:
        return f"{self.name}, sm_{self.arch}, driver for CUDA {self.driver}, cupy {self.cupy}"


def find() -> list[Record]:
    """The GPUs of this machine; a BackendError with the remedy when there is none."""
    cupy = library()
    runtime = cupy.cuda.runtime
    try:
        count = int(runtime.getDeviceCount())
        newest = int(runtime.driverGetVersion())
    except runtime.CUDARuntimeError as e:
        reason = f"CUDA finds no GPU: {e}" if newest_cuda() else "no NVIDIA driver on this machine"
        raise BackendError(reason, hint=DRIVER if not newest_cuda() else fix()) from e
    if not count:
        raise BackendError(
            "CUDA is installed but offers no GPU", hint="unset CUDA_VISIBLE_DEVICES, or look at nvidia-smi"
        )
    return [_record(cupy, runtime.getDeviceProperties(i), i, newest) for i in range(count)]


def _record(cupy: Any, said: dict[str, Any], index: int, newest: int) -> Record:
    return Record(
        index=index,
        name=said["name"].decode(),
        arch=f"{said['major']}{said['minor']}",
        memory_bytes=int(said["totalGlobalMem"]),
        units=int(said["multiProcessorCount"]),
        driver=f"{newest // 1000}.{newest % 1000 // 10}",
        cupy=cupy.__version__,
    )


def library() -> Any:
    """The module cupy, imported when it is first wanted; a BackendError with the remedy when it is not there."""
    try:
        with prepared():
            cupy = import_module("cupy")
    except Exception as e:  # a half-installed package fails in every way there is
        raise BackendError(f"cupy does not import: {e}{_and_no_driver()}", hint=fix()) from e
    if not hasattr(cupy, "RawModule"):
        raise BackendError("cupy is only partly installed", hint=fix())
    if int(cupy.__version__.split(".")[0]) < OLDEST:
        raise BackendError(f"cupy {cupy.__version__} is older than {OLDEST}", hint=fix())
    if cupy.cuda.runtime.is_hip:
        raise BackendError(
            "this cupy is made for AMD's GPUs, which hetero reaches by OpenCL", hint="HETERO_BACKEND=opencl"
        )
    return cupy


def newest_cuda() -> int:
    """The newest CUDA that the installed driver runs: 12040 for 12.4, 0 where there is no driver. Opens no device."""
    try:
        driver = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
        found = ctypes.c_int(0)
        return found.value if driver.cuDriverGetVersion(ctypes.byref(found)) == 0 else 0
    except (OSError, AttributeError):
        return 0


def fix() -> str:
    """The command that installs the CuPy that fits the driver."""
    newest = newest_cuda()
    command = f"pip install 'hetero[{'cuda13' if newest >= 13000 else 'cuda12'}]'"
    return command if newest else f"{DRIVER}; then {command}"


def _and_no_driver() -> str:
    return "" if newest_cuda() else ", and there is no NVIDIA driver on this machine"


def blas() -> str:
    """Why cuBLAS cannot be used, or nothing."""
    try:
        _ = library().cuda.cublas  # loaded when it is first named
    except ImportError as e:
        return " ".join(str(e).split())
    return ""


def warnings_of() -> tuple[str, ...]:
    """What a person should know about the CuPy that was found."""
    why = blas()
    return (
        (f"cuBLAS is not there, so matrix products run by a kernel that is slower: {why} (try: {fix()})",)
        if why
        else ()
    )


def unexpected(error: Exception) -> Probe:
    """A probe never raises."""
    return Probe(reason=f"CUDA fails: {error!r}", fix=fix())
