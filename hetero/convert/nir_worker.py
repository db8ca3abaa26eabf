"""A process that reads HDF5 files for `nir_file`, since a damaged one makes the HDF5 library loop for ever, or crash.

Run by its path, without hetero. A request is a line with a path in JSON; an answer is a line of JSON, then raw bytes: a
tree of groups, in which an array is {"": [dtype, shape, place in the bytes]} and a text is itself, or {"error": why}.
Nothing is executed, no other file that the file names (external links, external or virtual data) is opened.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

MAX_BYTES = (1 << 31) - 1  # of all that a file unpacks to
MAX_OBJECTS = 200_000  # groups and arrays
MAX_DEPTH = 72  # groups within groups
MAX_RATIO = 1100  # bytes that one stored byte may unpack to; deflate's own limit is 1032
FILTERS = frozenset((1, 2, 3, 4, 5, 6, 32000))  # deflate, shuffle, fletcher32, szip, nbit, scale-offset, lzf


class RefusedError(Exception):
    """What the file must not be."""


class Reader:
    """One open file, being read."""

    def __init__(self, h5py: Any) -> None:
        self.h5py = h5py
        self.size = 0
        self.blob: list[bytes] = []
        self.seen: set[Any] = set()

    def graph(self, file: Any) -> dict[str, Any]:
        root = self._member(file, "node")
        if not isinstance(root, self.h5py.Group):
            raise RefusedError("it has no group 'node'")
        return self._group(root, "node", 0)

    def _member(self, group: Any, name: str) -> Any:
        link = group.get(name, getlink=True)
        if link is not None and not isinstance(link, self.h5py.HardLink):
            raise RefusedError(f"{name!r} is a link to elsewhere, which is not followed")
        return None if link is None else group[name]

    def _group(self, group: Any, at: str, depth: int) -> dict[str, Any]:
        if depth > MAX_DEPTH:
            raise RefusedError(f"{at[:60]}... is nested too deeply")
        found: dict[str, Any] = {}
        for name in group:
            member = self._member(group, name)
            key = self.h5py.h5o.get_info(member.id).addr
            if key in self.seen or len(self.seen) >= MAX_OBJECTS:
                what = "stands in it twice" if key in self.seen else f"is one of more than {MAX_OBJECTS} objects"
                raise RefusedError(f"{at}/{name} {what}")
            self.seen.add(key)
            if isinstance(member, self.h5py.Dataset):
                found[name] = self._array(member, f"{at}/{name}")
            elif name != "metadata":
                found[name] = self._group(member, f"{at}/{name}", depth + 1)
        return found

    def _array(self, data: Any, at: str) -> Any:
        if data.shape is None:
            raise RefusedError(f"{at} is empty")
        plist = data.id.get_create_plist()
        if plist.get_external_count() or data.is_virtual:
            raise RefusedError(f"{at} keeps its values in another file, which is not opened")
        strange = {plist.get_filter(k)[0] for k in range(plist.get_nfilters())} - FILTERS
        if strange:
            raise RefusedError(f"{at} is packed by filter {min(strange)}, which is not covered")
        text = self.h5py.check_string_dtype(data.dtype)
        if text is None and data.dtype.kind not in "fiub":
            raise RefusedError(f"{at} holds {data.dtype}; numbers and texts are covered")
        stored = data.id.get_storage_size()
        if self.size + data.nbytes > MAX_BYTES or data.nbytes > MAX_RATIO * stored + 4096:
            raise RefusedError(
                f"{at}, {data.dtype}{list(data.shape)}, unpacks to {data.nbytes} bytes from {stored}, "
                "which is too much to be true"
            )
        value = data[()]
        if text is not None:
            return value.decode() if isinstance(value, bytes) else _decoded(value.tolist())
        raw = value.tobytes()
        self.blob.append(raw)
        self.size += len(raw)
        return {"": [data.dtype.str, list(data.shape), self.size - len(raw)]}


def _decoded(value: Any) -> Any:
    return [_decoded(v) for v in value] if isinstance(value, list) else value.decode()


def answer(h5py: Any, path: str) -> tuple[dict[str, Any], list[bytes]]:
    try:
        reader = Reader(h5py)
        with h5py.File(path, "r") as file:
            return {"tree": reader.graph(file)}, reader.blob
    except RefusedError as e:
        return {"error": str(e)}, []
    except Exception as e:  # h5py says what is wrong in exceptions of many classes
        return {"error": f"{type(e).__name__}: {' '.join(str(e).split())[:200]}"}, []


def main() -> None:
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever the library prints is no answer
    import h5py

    out.write(b"ready\n")
    out.flush()
    for line in sys.stdin.buffer:
        head, blob = answer(h5py, json.loads(line))
        head["bytes"] = sum(map(len, blob))
        out.write(json.dumps(head).encode() + b"\n")
        out.writelines(blob)
        out.flush()


if __name__ == "__main__":
    main()
