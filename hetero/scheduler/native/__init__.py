"""The compiled twins of the inner loops, if they were built at install time; without them the Python ones run.

`python hatch_build.py` in a checkout builds them in place. HETERO_NATIVE=0 leaves them unused.
"""

from __future__ import annotations

import ctypes
import hashlib
import sys
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hetero import config

SOURCES = "*.c"
LIBRARY = {"win32": "kernels.dll", "darwin": "kernels.dylib"}.get(sys.platform, "kernels.so")

_INT, _REAL, _POINTER = ctypes.c_int64, ctypes.c_double, ctypes.c_void_p


def _structure(name: str, fields: list[tuple[str, Any]]) -> type[ctypes.Structure]:
    return type(name, (ctypes.Structure,), {"_fields_": fields})


# The structs of kernels.c, field by field.
PROBLEM: tuple[tuple[str, Any], ...] = (
    *((f, _INT) for f in "n count queues tensors links routes grouped timed summed memory limited".split()),
    *((f, _POINTER) for f in "in_start in_tensor producer base out_start out_tensor consumer_start consumer".split()),
    *((f, _POINTER) for f in "route_start route_link link_source link_target link_queue".split()),
    *((f, _POINTER) for f in "group group_start group_member has_route".split()),
    *((f, _POINTER) for f in "tensor_byte seconds joules money resident s_per_byte latency tail shortest".split()),
    *((f, _POINTER) for f in "link_rate link_latency link_joule link_money memory_byte average_w static_each".split()),
    *((f, _REAL) for f in "per_second w_serial w_throughput w_energy w_cost".split()),
    *((f, _REAL) for f in "static_w deadline_s all_average_w slack".split()),
)
ANNEAL: tuple[tuple[str, Any], ...] = (
    *((f, _INT) for f in "steps seed bits span".split()),
    *((f, _REAL) for f in "hot cool penalty deadline".split()),
    *((f, _POINTER) for f in "logs near_start near_split near".split()),
    ("done", _INT),
    ("excess", _REAL),
    ("value", _REAL),
)
Problem = _structure("Problem", list(PROBLEM))
Anneal = _structure("Anneal", list(ANNEAL))

SIGNATURES: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "hetero_decode": (_REAL, (_POINTER, _POINTER, _POINTER, _REAL, *(_POINTER,) * 9)),
    "hetero_tails": (_INT, (_POINTER, _POINTER, _POINTER, _POINTER)),
    "hetero_by_ready": (_INT, (_POINTER, _POINTER, _POINTER)),
    "hetero_list": (_INT, (_POINTER, _POINTER, _POINTER, _INT, _INT, _REAL, _POINTER, _REAL, _POINTER, _POINTER)),
    "hetero_score": (_INT, (_POINTER, _POINTER, _POINTER, _REAL, _POINTER, _POINTER)),
    "hetero_cut": (_REAL, (_INT, _INT, *(_POINTER,) * 6)),
    "hetero_anneal": (_INT, (_POINTER, _POINTER, _POINTER, _POINTER)),
}


class _Found(NamedTuple):
    library: ctypes.CDLL | None
    said: str


def source_hash() -> str:
    """Of the C files that lie here; a library carries that of the files it was made from."""
    files = sorted(Path(__file__).parent.glob(SOURCES))
    return hashlib.sha256(b"".join(f.read_bytes() for f in files)).hexdigest()[:16]


@cache
def _load() -> _Found:
    path = Path(__file__).parent / LIBRARY
    if not path.exists():
        return _Found(None, f"pure Python: {LIBRARY} was not built (no C compiler when hetero was installed)")
    try:
        library = ctypes.CDLL(str(path))
        library.hetero_source.restype = ctypes.c_char_p
        made_from = library.hetero_source().decode()
    except (OSError, AttributeError) as e:
        return _Found(None, f"pure Python: {path} cannot be loaded: {e}")
    if made_from != source_hash():
        return _Found(None, f"pure Python: {path} is older than its sources; build it again: python hatch_build.py")
    for name, (result, arguments) in SIGNATURES.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return _Found(library, f"compiled: {path}")


def library() -> ctypes.CDLL | None:
    """The compiled kernels; None where Python does their work."""
    return _load().library if config.native() else None


def status() -> str:
    """What runs the scheduler's inner loops, and why."""
    return _load().said if config.native() else "pure Python: HETERO_NATIVE=0"


def address(array: NDArray[Any] | None) -> int | None:
    """Of an array's first element, for C."""
    return None if array is None else array.ctypes.data


def contiguous(array: Any, dtype: Any) -> Any:
    """The array as C reads it."""
    return np.ascontiguousarray(array, dtype)
