"""Tensors from sizes, numbers, lists, buffers and other libraries. `device` is the one in use unless given."""

from __future__ import annotations

import operator
from typing import Any, Literal, TypeAlias

import numpy as np

from hetero import dtype as dt
from hetero.array_api.dtypes import copied
from hetero.array_api.manipulation import broadcast_to
from hetero.dim import Dim
from hetero.dtype import DType
from hetero.eager import place
from hetero.errors import AttributeValueError, BackendError, DTypeError, ShapeError
from hetero.op import OPS, Array
from hetero.select import device_of
from hetero.spi import Device
from hetero.tensor import Scalar, Tensor, apply

Where: TypeAlias = "Device | str | None"
Sizes: TypeAlias = "int | tuple[int, ...]"
Kind: TypeAlias = "DType | type[Any] | str | None"


def _shape(shape: Sizes) -> tuple[int, ...]:
    """`shape` as a tuple of sizes that are 0 or more."""
    sizes = shape if isinstance(shape, tuple | list) else (shape,)
    try:
        out = tuple(operator.index(n) for n in sizes)
    except TypeError:
        raise ShapeError(f"a shape is an int or a tuple of ints, got {shape!r}") from None
    if any(n < 0 for n in out):
        raise ShapeError(f"sizes are 0 or more, got {shape!r}")
    return out


def _made(array: Array, device: Where) -> Tensor:
    return place(array, device_of(device))


def _named(dtype: Kind) -> DType | None:
    return None if dtype is None else dt.of(dtype)


def asarray(obj: Any, /, *, dtype: Kind = None, device: Where = None, copy: bool | None = None) -> Tensor:
    """A tensor of a scalar, nested lists, a tensor, a NumPy array or anything with a buffer, `__array__` or DLPack.

    `copy=None` copies memory that somebody else may write to, as every upload to a device does; `copy=False` shares
    it, or is an error where that cannot be; `copy=True` always copies.
    """
    to = _named(dtype)
    if isinstance(obj, Tensor):
        return _from_tensor(obj, to, device, copy)
    where = device_of(device)
    array = _as_array(obj, to)
    shared = isinstance(obj, np.ndarray) and np.may_share_memory(array, obj)
    if copy is False and not (shared and where.host):
        raise AttributeValueError(
            f"asarray of {type(obj).__name__} to {where} wants a copy, and copy=False forbids it",
            hint="leave copy out; only a NumPy array of the same dtype is shared, on the host",
        )
    if copy or (copy is None and where.host and array.flags.writeable and _borrowed(obj)):
        array = np.array(array)
    return place(array, where)


def _borrowed(obj: Any) -> bool:
    """Whether NumPy may have taken memory of `obj` rather than made its own."""
    return not isinstance(obj, bool | int | float | complex | list | tuple | np.generic)


def _from_tensor(x: Tensor, to: DType | None, device: Where, copy: bool | None) -> Tensor:
    moved = x if device is None else x.to_device(device)
    out = moved if to is None else moved.astype(to)
    if out is x:
        return copied(x) if copy else x
    if copy is False:
        raise AttributeValueError(f"{x._type} on {x.device} becomes {to or x.dtype} on {moved.device} by copy only")
    return out


def _as_array(obj: Any, to: DType | None) -> Array:
    """Whatever holds numbers as an array of a dtype that tensors can have."""
    if isinstance(obj, list | tuple) and _holds_tensors(obj):  # pyright: ignore[reportUnknownArgumentType]
        obj = _plain_lists(obj)
    try:
        array = np.asarray(obj, to) if to is not None else np.asarray(obj)
    except (TypeError, ValueError, OverflowError) as e:
        raise DTypeError(f"{type(obj).__name__} to a tensor{f' of {to.name}' if to else ''}: {e}") from e
    if array.dtype == object and not isinstance(obj, np.ndarray):
        raise DTypeError(
            f"{obj!r:.60} is no array of numbers", hint="ints must fit int64 or uint64, lists must be rectangular"
        )
    return array if dt.check(array.dtype) == array.dtype else array.astype(dt.check(array.dtype))


def _holds_tensors(obj: Any) -> bool:
    return any(isinstance(x, Tensor) or (isinstance(x, list | tuple) and _holds_tensors(x)) for x in obj)


def _plain_lists(obj: Any) -> Any:
    if isinstance(obj, Tensor):
        return obj._array
    return [_plain_lists(x) for x in obj] if isinstance(obj, list | tuple) else obj  # pyright: ignore[reportUnknownVariableType]


def arange(
    start: float, /, stop: float | None = None, step: float = 1, *, dtype: Kind = None, device: Where = None
) -> Tensor:
    """start, start + step, ... before stop, or 0 .. start - 1; (n,)"""
    first, last = (0, start) if stop is None else (start, stop)
    to = _named(dtype)
    if to is None:
        to = dt.int64 if all(isinstance(x, int) for x in (first, last, step)) else dt.float64
    if step == 0:
        raise AttributeValueError("arange wants a step that is not 0")
    return _made(np.arange(first, last, step, dtype=to), device)


def empty(shape: Sizes, *, dtype: Kind = None, device: Where = None) -> Tensor:
    """A tensor of any values: zeros here, so that runs repeat."""
    return zeros(shape, dtype=dtype, device=device)


def empty_like(x: Tensor, /, *, dtype: Kind = None, device: Where = None) -> Tensor:
    """As `empty`, of the shape, dtype and device of `x`."""
    return zeros_like(x, dtype=dtype, device=device)


def eye(n_rows: int, n_cols: int | None = None, /, *, k: int = 0, dtype: Kind = None, device: Where = None) -> Tensor:
    """(n_rows, n_cols) with ones on diagonal `k` and zeros elsewhere"""
    shape = _shape((n_rows, n_rows if n_cols is None else n_cols))
    return _made(np.eye(*shape, k=k, dtype=_named(dtype) or dt.float64), device)


def from_dlpack(x: Any, /, *, device: Where = None, copy: bool | None = None) -> Tensor:
    """The array of another library, shared on the host and copied to any other device.

    Memory of another device is asked for on the host, which is a copy by its owner.
    """
    if isinstance(x, Tensor):
        return _from_tensor(x, None, device, copy)
    if not hasattr(x, "__dlpack__") or not hasattr(x, "__dlpack_device__"):
        raise DTypeError(f"{type(x).__name__} does not speak DLPack", hint="hetero.asarray(x)")
    kind, _ = x.__dlpack_device__()
    where = device_of("numpy" if device is None else device)
    if (int(kind) != 1 or not where.host) and copy is False:
        raise BackendError(f"DLPack device {kind} to {where} wants a copy, and copy=False forbids it")
    source = x if int(kind) == 1 else _OnHost(x)
    array = np.from_dlpack(source)
    return place(np.array(array) if copy or not array.dtype.isnative else array, where)


class _OnHost:
    """Another device's array that exports itself as a copy on the host."""

    def __init__(self, x: Any) -> None:
        self._x = x

    def __dlpack_device__(self) -> tuple[int, int]:
        return 1, 0

    def __dlpack__(self, **_: Any) -> Any:
        try:
            return self._x.__dlpack__(dl_device=(1, 0), copy=True, max_version=(1, 0))
        except TypeError as e:
            raise BackendError(
                f"{type(self._x).__name__} cannot export to the host", hint="copy it there with its own library first"
            ) from e


def full(shape: Sizes, fill_value: Scalar, *, dtype: Kind = None, device: Where = None) -> Tensor:
    """A tensor that is `fill_value` everywhere."""
    return _made(np.full(_shape(shape), fill_value, dtype=_named(dtype)), device)


def full_like(x: Tensor, /, fill_value: Scalar, *, dtype: Kind = None, device: Where = None) -> Tensor:
    """As `full`, of the shape, dtype and device of `x`."""
    return _like(x, np.asarray(fill_value, _named(dtype) or x.dtype), device)


def linspace(
    start: complex, stop: complex, /, num: int, *, dtype: Kind = None, device: Where = None, endpoint: bool = True
) -> Tensor:
    """`num` numbers evenly from start to stop, which is left out without `endpoint`; (num,)"""
    if num < 0:
        raise AttributeValueError(f"linspace wants 0 numbers or more, got {num}")
    return _made(np.linspace(start, stop, num, dtype=_named(dtype), endpoint=endpoint), device)


def meshgrid(*arrays: Tensor, indexing: Literal["xy", "ij"] = "xy") -> list[Tensor]:
    """(m,), (n,) -> (n, m), (n, m); with "ij" (m, n), (m, n)"""
    if indexing not in ("xy", "ij"):
        raise AttributeValueError(f"meshgrid has no indexing {indexing!r}", hint="xy or ij")
    if any(a.ndim > 1 for a in arrays):
        raise ShapeError("meshgrid wants vectors")
    rank = len(arrays)
    order = [1, 0, *range(2, rank)] if indexing == "xy" and rank > 1 else list(range(rank))
    sizes = [a.size for a in arrays]
    shape = tuple(sizes[i] for i in order)
    lifted = (apply("reshape", a, shape=tuple(a.size if j == i else 1 for j in order)) for i, a in enumerate(arrays))
    return [broadcast_to(a, shape) for a in lifted]


def ones(shape: Sizes, *, dtype: Kind = None, device: Where = None) -> Tensor:
    """A tensor of ones."""
    return _made(np.ones(_shape(shape), _named(dtype) or dt.float64), device)


def ones_like(x: Tensor, /, *, dtype: Kind = None, device: Where = None) -> Tensor:
    """As `ones`, of the shape, dtype and device of `x`."""
    return _like(x, np.ones((), _named(dtype) or x.dtype), device)


def zeros(shape: Sizes, *, dtype: Kind = None, device: Where = None) -> Tensor:
    """A tensor of zeros."""
    return _made(np.zeros(_shape(shape), _named(dtype) or dt.float64), device)


def zeros_like(x: Tensor, /, *, dtype: Kind = None, device: Where = None) -> Tensor:
    """As `zeros`, of the shape, dtype and device of `x`."""
    return _like(x, np.zeros((), _named(dtype) or x.dtype), device)


def _like(x: Tensor, value: Array, device: Where) -> Tensor:
    """One value stretched to the shape of `x`: no memory is filled where the device can broadcast."""
    one = place(value, x.device if device is None else device_of(device))
    if one._rank < x._rank and any(isinstance(n, Dim) for n in x.shape):  # traced and open: the graph stretches it
        return type(x)._apply(OPS["broadcast_to"], (one,), {"shape": x.shape})
    return broadcast_to(one, x.shape)


def tril(x: Tensor, /, *, k: int = 0) -> Tensor:
    """(..., m, n) -> (..., m, n): zero above diagonal `k`"""
    return apply("tril", x, k=k)


def triu(x: Tensor, /, *, k: int = 0) -> Tensor:
    """(..., m, n) -> (..., m, n): zero below diagonal `k`"""
    return apply("triu", x, k=k)


__all__ = [
    "arange", "asarray", "empty", "empty_like", "eye", "from_dlpack", "full", "full_like", "linspace", "meshgrid",
    "ones", "ones_like", "tril", "triu", "zeros", "zeros_like",
]  # fmt: skip
