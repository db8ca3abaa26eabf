"""The same memory under CuPy's name and ours: through CuPy's arrays every library that speaks DLPack reads it.

Memory is handed over in order: what was handed to one stream before is waited for by the other. An array that is lent
keeps its memory; one that is borrowed is kept by the block.
"""

from __future__ import annotations

from typing import Any

from hetero.errors import DeviceError, DTypeError
from hetero.op import TensorType
from hetero_cupy.opened import CupyDriver
from hetero_launch import Block, Runtime


class Borrowed:
    """A block of another library's memory, which goes back to it when nothing refers to the block."""

    def __init__(self, array: Any) -> None:
        self._array = array
        self.mem = array.data
        self.nbytes: int = array.nbytes


def lent(runtime: Runtime, block: Block, type: TensorType) -> Any:
    """The block as a CuPy array, in order with CuPy's current stream."""
    driver = _driver(runtime)
    cuda = driver.cupy.cuda
    if type.dtype.name == "bfloat16":
        raise DTypeError("CuPy has no bfloat16", hint="cast it to float32, or view it as uint16")
    with driver.lock:
        made = driver.stream.record(cuda.Event(disable_timing=True))
    cuda.get_current_stream(driver.record.index).wait_event(made)
    memory = cuda.UnownedMemory(block.mem.ptr, max(type.nbytes, 1), block, driver.record.index)
    return driver.cupy.ndarray(type.known, type.dtype, cuda.MemoryPointer(memory, 0))


def borrowed(runtime: Runtime, array: Any) -> Borrowed:
    """Another library's array as a block, in order with CuPy's current stream."""
    driver = _driver(runtime)
    cupy = driver.cupy
    taken = cupy.from_dlpack(array)
    if taken.device.id != driver.record.index:
        raise DeviceError(
            f"the array lies on GPU {taken.device.id}, not on cupy:{driver.record.index}", hint="copy it there first"
        )
    with cupy.cuda.Device(driver.record.index):
        plain = cupy.ascontiguousarray(taken)
        driver.stream.wait_event(cupy.cuda.get_current_stream().record(cupy.cuda.Event(disable_timing=True)))
    return Borrowed(plain)


def _driver(runtime: Runtime) -> CupyDriver:
    assert isinstance(runtime.driver, CupyDriver)
    return runtime.driver
