"""Which OpenCL devices there are, and in what order they are offered.

Several runtimes may drive the same processor, and two copies of one runtime may stand side by side under the same
name (pyopencl's wheel brings its own PoCL). So the order follows the kind of device and the version, never a name
alone, and exact doubles are left out.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from hetero.errors import BackendError
from hetero_opencl.folders import prepared
from hetero_opencl.workers import pin

SELECT = "HETERO_OPENCL_DEVICE"  # a part of a version, platform or device name: only such devices are offered
FIX = "pip install 'hetero[opencl]'"


@dataclass(frozen=True, slots=True)
class Record:
    """What a driver says of one device; `handle` is its own object."""

    platform: str
    version: str
    device: str
    driver: str
    kind: str = "cpu"  # cpu, gpu, accelerator
    memory_bytes: int = 0
    largest_bytes: int = 0  # that one buffer may have
    doubles: bool = True
    shared: bool = True  # host and device see the same memory
    native_floats: int = 8  # float32 that a register of the device holds
    local_bytes: int = 1 << 15  # that a group may use: what every device has at the least
    correct_division: bool = False  # the option for correctly rounded float32 division and roots is there
    handle: Any = None

    @property
    def description(self) -> str:
        return f"{self.device}, {self.platform} {self.version}, driver {self.driver}"


def pocl_version(record: Record) -> tuple[int, int] | None:
    """(major, minor) of PoCL, from the platform's version string; None for other runtimes."""
    found = re.search(r"\bpocl\s+v?(\d+)\.(\d+)", record.version, re.IGNORECASE)
    return (int(found[1]), int(found[2])) if found else None


def _preference(record: Record) -> tuple[int, int, int]:
    """Smaller is better: accelerators, then Intel's processor runtime, then PoCL, the newest first."""
    pocl = pocl_version(record)
    if record.kind != "cpu":
        return (0, 0, 0)
    if pocl is None:
        return (1 if "intel" in record.platform.lower() else 2, 0, 0)
    return (3, -pocl[0], -pocl[1])


def choose(records: Iterable[Record], wanted: str = "") -> list[Record]:
    """The devices to offer, best first: without doubles, and only those that say `wanted` somewhere."""
    seen: dict[tuple[str, str, str, str], Record] = {}
    for record in records:
        seen.setdefault((record.platform, record.version, record.device, record.driver), record)
    fitting = [r for r in seen.values() if wanted.lower() in r.description.lower()]
    return sorted(fitting, key=_preference)


def warnings_of(record: Record) -> tuple[str, ...]:
    """What a person should know about the runtime that was chosen."""
    pocl = pocl_version(record)
    if pocl is None or pocl >= (3, 1):
        return ()
    return (
        f"PoCL {pocl[0]}.{pocl[1]} compiles for AVX2 on processors that are newer than it; PoCL 3.1 or Intel's runtime "
        "may be faster (try: apt install pocl-opencl-icd, or pip install intel-opencl-rt intel-cmplr-lib-rt)",
    )


def find() -> list[Record]:
    """The devices on this machine, best first; a BackendError with the remedy when there is none."""
    cl = driver()
    try:
        records = [_record(cl, p, d) for p in cl.get_platforms() for d in _devices(cl, p)]
    except cl.Error as e:
        raise BackendError(f"the OpenCL loader finds no platform: {e}", hint=FIX) from e
    if not records:
        raise BackendError("OpenCL is installed but offers no device", hint=FIX)
    wanted = os.environ.get(SELECT, "")
    chosen = choose(records, wanted)
    if not chosen:
        found = "; ".join(dict.fromkeys(r.description for r in records))
        raise BackendError(f"{SELECT}={wanted!r} fits no device; found {found}", hint=f"unset {SELECT}")
    return chosen


def driver() -> Any:
    """The module pyopencl, imported when it is first wanted; a BackendError with the remedy when it is not there."""
    pin()
    try:
        with prepared():
            pyopencl = import_module("pyopencl")
    except Exception as e:  # a half-installed package fails in every way there is
        raise BackendError(f"pyopencl does not import: {e}", hint=FIX) from e
    if not hasattr(pyopencl, "get_platforms"):
        raise BackendError("pyopencl is only partly installed", hint=FIX)
    return pyopencl


def _devices(cl: Any, platform: Any) -> list[Any]:
    try:
        return list(platform.get_devices())
    except cl.Error:  # a platform without devices says so by an error
        return []


_KINDS = (("GPU", "gpu"), ("ACCELERATOR", "accelerator"), ("CPU", "cpu"))


def _record(cl: Any, platform: Any, device: Any) -> Record:
    kind = next((name for flag, name in _KINDS if device.type & getattr(cl.device_type, flag)), "cpu")
    rounding = cl.device_fp_config.CORRECTLY_ROUNDED_DIVIDE_SQRT
    return Record(
        platform=platform.name.strip(),
        version=platform.version.strip(),
        device=device.name.strip(),
        driver=device.driver_version.strip(),
        kind=kind,
        memory_bytes=int(device.global_mem_size),
        largest_bytes=int(device.max_mem_alloc_size),
        doubles="cl_khr_fp64" in device.extensions,
        shared=bool(device.host_unified_memory) and kind == "cpu",
        native_floats=int(device.native_vector_width_float),
        local_bytes=int(device.local_mem_size),
        correct_division=bool(device.single_fp_config & rounding),
        handle=device,
    )
