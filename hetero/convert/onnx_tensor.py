"""ONNX tensors as arrays: dtypes, packed and external data, every length checked before anything is allocated."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from hetero import dtype as dt
from hetero.errors import ModelError
from hetero.op import Array

# ONNX's numbers for dtypes (TensorProto.DataType). 8 is string; 27 and 28 are six-bit floats, which NumPy lacks.
DTYPES: dict[int, str] = {
    1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64", 9: "bool", 10: "float16",
    11: "float64", 12: "uint32", 13: "uint64", 14: "complex64", 15: "complex128", 16: "bfloat16",
    17: "float8_e4m3fn", 18: "float8_e4m3fnuz", 19: "float8_e5m2", 20: "float8_e5m2fnuz", 21: "uint4", 22: "int4",
    23: "float4_e2m1fn", 24: "float8_e8m0fnu", 25: "uint2", 26: "int2",
}  # fmt: skip
UNKNOWN = {0: "no dtype", 8: "strings", 27: "float6_e2m3", 28: "float6_e3m2"}
NUMBERS = {name: number for number, name in DTYPES.items()}
_BITS = {"uint4": 4, "int4": 4, "float4_e2m1fn": 4, "uint2": 2, "int2": 2}  # several to a byte, lowest first
_FIELD = {"float32": "float_data", "complex64": "float_data", "float64": "double_data", "complex128": "double_data",
          "int64": "int64_data", "uint32": "uint64_data", "uint64": "uint64_data"}  # fmt: skip

MAX_ELEMENTS = 1 << 48  # more than any machine holds: a damaged or hostile size


def dtype_of(number: int, what: str) -> dt.DType:
    """The dtype that ONNX gives this number."""
    name = DTYPES.get(number)
    if name is None:
        raise ModelError(f"{what} holds {UNKNOWN.get(number, f'dtype number {number}')}, which hetero does not have")
    return dt.of(name)


def sizes_of(dims: Any, what: str) -> tuple[int, ...]:
    """Sizes from a file, checked."""
    sizes = tuple(int(n) for n in dims)
    if any(n < 0 for n in sizes):
        raise ModelError(f"{what} has a negative size: {sizes}")
    if len(sizes) > 64 or prod(max(n, 1) for n in sizes) > MAX_ELEMENTS:
        raise ModelError(f"{what} has the absurd shape {sizes}")
    return sizes


@dataclass(frozen=True, slots=True)
class Folder:
    """Where external data may lie: the model's folder, and nothing outside it."""

    path: Path | None = None

    def read(self, entries: dict[str, str], nbytes: int, what: str) -> bytes:
        """The `nbytes` that `entries` (location, offset, length) point at."""
        file = self._file(entries.get("location", ""), what)
        offset = _number(entries.get("offset", "0"), what)
        length = _number(entries.get("length", str(nbytes)), what)
        if length != nbytes:
            raise ModelError(f"{what} wants {nbytes} bytes, its external data has length {length}")
        try:
            if offset + length > file.stat().st_size:
                raise ModelError(f"{what}: {file.name} ends before byte {offset + length}")
            with file.open("rb") as f:
                f.seek(offset)
                return f.read(length)
        except OSError as e:
            raise ModelError(f"{what}: cannot read {file.name}: {e.strerror}") from e

    def _file(self, location: str, what: str) -> Path:
        if self.path is None:
            raise ModelError(
                f"{what} lies in another file, and a model given as bytes has no folder",
                hint="give the path of the model, or from_onnx(..., folder=...)",
            )
        if not location or "\0" in location or Path(location).is_absolute() or "\\" in location or ":" in location:
            raise ModelError(f"{what} lies at {location!r}, which is no path inside the model's folder")
        root = self.path.resolve()
        file = root / location
        resolved = file.resolve()  # follows symbolic links
        if ".." in Path(location).parts or not resolved.is_relative_to(root) or not resolved.is_file():
            raise ModelError(
                f"{what} lies at {location!r}, which is no file inside the model's folder {root}",
                hint="put the data beside the model; links that lead outside are not followed",
            )
        return resolved


def _number(text: str, what: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise ModelError(f"{what} has the offset or length {text[:40]!r}, which is no number")
    return int(text)


def to_array(tensor: Any, folder: Folder, what: str = "") -> Array:
    """The TensorProto as a read-only array."""
    what = what or f"tensor {tensor.name!r}"
    dtype = dtype_of(tensor.data_type, what)
    shape = sizes_of(tensor.dims, what)
    if tensor.HasField("segment"):
        raise ModelError(f"{what} is stored in segments, which is not covered")
    count = prod(shape)
    if tensor.data_location == 1:
        entries = {e.key: e.value for e in tensor.external_data}
        flat = _from_bytes(folder.read(entries, _byte_count(count, dtype), what), dtype, count, what)
    elif tensor.HasField("raw_data"):
        flat = _from_bytes(tensor.raw_data, dtype, count, what)
    else:
        flat = _from_field(tensor, dtype, count, what)
    array = flat.reshape(shape)
    array.setflags(write=False)
    return array


def _byte_count(count: int, dtype: dt.DType) -> int:
    bits = _BITS.get(dtype.name)
    return -(-count * bits // 8) if bits else count * dtype.itemsize


def _check_count(found: int, wanted: int, unit: str, what: str) -> None:
    if found != wanted:
        raise ModelError(f"{what} wants {wanted} {unit} of data, the file has {found}")


def _from_bytes(raw: bytes, dtype: dt.DType, count: int, what: str) -> Array:
    _check_count(len(raw), _byte_count(count, dtype), "bytes", what)
    if dtype.name in _BITS:
        return _unpack(np.frombuffer(raw, np.uint8), dtype, count)
    array = np.frombuffer(raw, dtype)
    if sys.byteorder == "big":
        array = array.byteswap()
    return array.astype(np.bool_) if dtype == dt.bool_ else array


def _unpack(packed: Array, dtype: dt.DType, count: int) -> Array:
    """Two or four elements of each byte, the first in the lowest bits; ml_dtypes keeps one to a byte."""
    bits = _BITS[dtype.name]
    shifts = np.arange(0, 8, bits, dtype=np.uint8)
    small = ((packed[:, None] >> shifts) & ((1 << bits) - 1)).astype(np.uint8).ravel()[:count]
    if dtype.name.startswith("int"):  # spread the sign over the byte
        sign = np.uint8(1 << (bits - 1))
        return ((small ^ sign).astype(np.int8) - np.int8(sign)).astype(dtype)
    return small.astype(dtype) if dtype.name.startswith("uint") else small.view(dtype)


def _from_field(tensor: Any, dtype: dt.DType, count: int, what: str) -> Array:
    """From the typed lists; what has no list of its own is kept as bit patterns in `int32_data`."""
    name = dtype.name
    field = getattr(tensor, _FIELD.get(name, "int32_data"))
    if name in _BITS:
        _check_count(len(field), _byte_count(count, dtype), "bytes", what)
        return _unpack(np.asarray([v & 0xFF for v in field], np.uint8), dtype, count)
    parts = 2 if dtype.kind == "c" else 1
    _check_count(len(field), count * parts, "elements", what)
    if name in ("float16", "bfloat16") or name.startswith("float8"):
        unsigned = np.uint16 if dtype.itemsize == 2 else np.uint8
        return np.asarray(field, np.int64).astype(unsigned).view(dtype)
    if parts == 2:
        return np.asarray(field, dt.real_of(dtype)).view(dtype)
    wide = np.asarray(field, np.uint64 if field is not None and name in ("uint32", "uint64") else None)
    return wide.astype(dtype) if wide.size else np.zeros(0, dtype)


def string(raw: bytes | str, what: str) -> str:
    """Text from a file, which must be UTF-8."""
    try:
        return raw.decode() if isinstance(raw, bytes) else raw
    except UnicodeDecodeError as e:
        raise ModelError(f"{what} is not UTF-8") from e
