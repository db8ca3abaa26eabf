"""How hetero and the worker talk: a header in JSON, then arrays as .npy, over a socket. Nothing is ever unpickled.

message  = size of the header (8 bytes, little-endian), header, arrays
header   = what is wanted or found, and `arrays`: [name, bytes] of each array that follows
"""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

Header = dict[str, Any]
Arrays = dict[str, Any]  # name -> NumPy array

MOST_HEADER = 1 << 26


def pack(header: Header, arrays: Mapping[str, Any]) -> bytes:
    """A message."""
    parts = {name: _npy(a) for name, a in arrays.items()}
    head = json.dumps({**header, "arrays": [[name, len(part)] for name, part in parts.items()]}).encode()
    return b"".join([struct.pack("<Q", len(head)), head, *parts.values()])


def unpack(read: Callable[[int], bytes]) -> tuple[Header, Arrays]:
    """The next message; `read(n)` gives the next n bytes."""
    (size,) = struct.unpack("<Q", read(8))
    if size > MOST_HEADER:
        raise ValueError(f"a header of {size} bytes: this is no message")
    header = json.loads(read(size))
    return header, {name: np.load(io.BytesIO(read(n)), allow_pickle=False) for name, n in header.pop("arrays")}


def _npy(array: Any) -> bytes:
    out = io.BytesIO()
    np.save(out, np.ascontiguousarray(array) if np.ndim(array) else np.asarray(array), allow_pickle=False)
    return out.getvalue()
