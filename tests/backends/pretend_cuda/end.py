"""Something to do when an object's memory is given back, as Cython's `__dealloc__`.

`__del__` comes too early for it: the collector of cycles calls it for all that it has found, also for what another
`__del__` then keeps, as a pool does with the memory of a block.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from itertools import count
from typing import Any

_DESTRUCTOR = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
_API = ctypes.PyDLL(None)
_API.PyCapsule_New.restype = ctypes.py_object
_API.PyCapsule_New.argtypes = [ctypes.c_void_p, ctypes.c_char_p, _DESTRUCTOR]
_API.PyCapsule_GetPointer.restype = ctypes.c_void_p
_API.PyCapsule_GetPointer.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
_NAME = b"pretend_cuda"
_calls: dict[int, Callable[[], object]] = {}
_numbers = count(1)


def at_the_end(call: Callable[[], object]) -> Any:
    """An object that calls `call` when nothing refers to it any more, and not before."""
    number = next(_numbers)
    _calls[number] = call
    return _API.PyCapsule_New(number, _NAME, _destroy)


@_DESTRUCTOR
def _destroy(capsule: int) -> None:
    _calls.pop(_API.PyCapsule_GetPointer(capsule, _NAME))()
