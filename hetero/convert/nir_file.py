"""What stands in a NIR graph, as plain data: read from an HDF5 file, or taken from the objects of the package `nir`.

A file is read with limits and not trusted: no object is made from it, nothing in it is executed, and no other file that
it names (external links, external or virtual data) is opened.
"""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike, fspath
from pathlib import Path
from typing import Any

import numpy as np

from hetero.errors import ModelError

MAX_BYTES = (1 << 31) - 1  # of a file, and of all that it unpacks to
MAX_OBJECTS = 200_000  # groups and arrays
MAX_DEPTH = 24  # graphs within graphs
MAX_RATIO = 1100  # bytes that one stored byte may unpack to; deflate's own limit is 1032
FILTERS = frozenset((1, 2, 3, 4, 5, 6, 32000))  # deflate, shuffle, fletcher32, szip, nbit, scale-offset, lzf
INSTALL = "pip install 'hetero[nir]'"


def read_file(source: str | PathLike[str]) -> dict[str, Any]:
    """The fields of the file's graph by name: arrays, texts, and dicts of the same."""
    path = Path(fspath(source))
    try:
        size = path.stat().st_size
        with path.open("rb"):
            pass
    except OSError as e:
        raise ModelError(f"cannot read {path}: {e.strerror}", hint="give the path of a .nir file") from e
    except ValueError as e:  # a zero byte in the name
        raise ModelError(f"cannot read {path!r}: {e}") from e
    if size > MAX_BYTES:
        raise ModelError(f"{path} has {size} bytes; a model file has at most {MAX_BYTES}")
    try:
        import h5py
    except ImportError as e:
        raise ModelError("reading NIR wants the packages nir and h5py", hint=INSTALL) from e
    try:
        with h5py.File(path, "r") as file:
            return _File(h5py, str(path)).graph(file)
    except ModelError:
        raise
    except Exception as e:  # h5py says what is wrong in exceptions of many classes
        raise ModelError(f"{path} is no NIR file, or is damaged: {type(e).__name__}: {_line(e)}") from e


def _line(e: Exception) -> str:
    return " ".join(str(e).split())[:200]


class _File:
    """One open file, being read."""

    def __init__(self, h5py: Any, called: str) -> None:
        self.h5py, self.called = h5py, called
        self.bytes = 0
        self.seen: set[Any] = set()

    def graph(self, file: Any) -> dict[str, Any]:
        if not isinstance(self._member(file, "node"), self.h5py.Group):
            raise ModelError(f"{self.called} holds no NIR graph: it has no group 'node'")
        return self._group(file["node"], "node", 0)

    def _member(self, group: Any, name: str) -> Any:
        link = group.get(name, getlink=True)
        if link is not None and not isinstance(link, self.h5py.HardLink):
            raise ModelError(f"{self.called}: {name!r} is a link to elsewhere, which is not followed")
        return None if link is None else group[name]

    def _group(self, group: Any, at: str, depth: int) -> dict[str, Any]:
        if depth > 3 * MAX_DEPTH:
            raise ModelError(f"{self.called}: {at[:60]}... is nested too deeply")
        found: dict[str, Any] = {}
        for name in group:
            member = self._member(group, name)
            key = self.h5py.h5o.get_info(member.id).addr
            if key in self.seen or len(self.seen) >= MAX_OBJECTS:
                what = "stands in it twice" if key in self.seen else f"is one of more than {MAX_OBJECTS} objects"
                raise ModelError(f"{self.called}: {at}/{name} {what}")
            self.seen.add(key)
            if isinstance(member, self.h5py.Dataset):
                found[name] = self._array(member, f"{at}/{name}")
            elif name != "metadata":
                found[name] = self._group(member, f"{at}/{name}", depth + 1)
        return found

    def _array(self, data: Any, at: str) -> Any:
        """The array, as numbers or as text."""
        where = f"{self.called}: {at}"
        if data.shape is None:
            raise ModelError(f"{where} is empty")
        plist = data.id.get_create_plist()
        if plist.get_external_count() or data.is_virtual:
            raise ModelError(f"{where} keeps its values in another file, which is not opened")
        strange = {plist.get_filter(k)[0] for k in range(plist.get_nfilters())} - FILTERS
        if strange:
            raise ModelError(f"{where} is packed by filter {min(strange)}, which is not covered")
        text = self.h5py.check_string_dtype(data.dtype)
        if text is None and data.dtype.kind not in "fiub":
            raise ModelError(f"{where} holds {data.dtype}; numbers and texts are covered")
        self.bytes += data.nbytes
        if self.bytes > MAX_BYTES or data.nbytes > MAX_RATIO * data.id.get_storage_size() + 4096:
            raise ModelError(
                f"{where}, {data.dtype}{list(data.shape)}, unpacks to {data.nbytes} bytes from "
                f"{data.id.get_storage_size()}, which is too much to be true"
            )
        value = data[()]
        return value if text is None else _text(value, where)


def _text(value: Any, where: str) -> Any:
    """bytes, or an array of them, as str"""
    try:
        if isinstance(value, bytes):
            return value.decode()
        return np.array([v.decode() for v in value.reshape(-1)], object).reshape(value.shape)
    except UnicodeDecodeError as e:
        raise ModelError(f"{where} is not UTF-8") from e


def read_object(source: Any, depth: int = 0) -> dict[str, Any]:
    """As `read_file`, of a NIRGraph."""
    if depth > MAX_DEPTH:
        raise ModelError(f"a NIRGraph with more than {MAX_DEPTH} graphs within each other", hint="does it hold itself?")
    fields: dict[str, Any] = {k: v for k, v in vars(source).items() if k != "metadata"}
    nodes: Any = fields.get("nodes")
    if isinstance(nodes, Mapping):
        fields["nodes"] = {k: read_object(v, depth + 1) if hasattr(v, "__dict__") else v for k, v in nodes.items()}
    return fields | {"type": type(source).__name__}
