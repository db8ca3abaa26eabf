"""Tensors that hold a value: on the host, where an op is its NumPy reference, and on any other device."""

from __future__ import annotations

import sys
from functools import lru_cache
from types import ModuleType
from typing import Any, ClassVar

import numpy as np

from hetero import counters, operators_device, subscript
from hetero import dtype as dt
from hetero.dtype import DType, weak
from hetero.errors import AxisError, BackendError, ShapeError
from hetero.op import Array, Op, TensorType
from hetero.operators import HOST, install
from hetero.operators_device import kind_of
from hetero.select import device_of, on_host
from hetero.spi import Buffer, Device
from hetero.tensor import Operand, Tensor, apply

_ALONE = 2  # references to a buffer that nobody else holds: the slot, and the argument of getrefcount


def _execute() -> ModuleType:
    """hetero.execute, which brings the compiler and is not needed for eager work on the host."""
    from hetero import execute

    return execute


@lru_cache(maxsize=1)
def _host() -> Device:
    return device_of(HOST)


def place(array: Array, device: Device) -> Tensor:
    """A tensor of `array` on `device`. A host tensor shares the array, which must not be written to afterwards."""
    if on_host(device):
        return HostTensor.of(array)
    type = kind_of(TensorType(array.shape, dt.check(array.dtype)))
    return DeviceTensor(_execute().upload(array, device), type, device)


def move(x: Tensor, device: Device | str) -> Tensor:
    """`x` on `device`."""
    to = device_of(device)
    return x if to == x.device else place(x._array, to)


def restore(array: Array, device: str) -> Tensor:
    """For pickle."""
    return place(array, device_of(device))


def _dtypes(op: Op, operands: tuple[Any, ...]) -> tuple[list[Any], DType | None]:
    """For each operand its dtype, a scalar's being weak; and the one that all are cast to, if the op wants that."""
    strong = [x.dtype for x in operands if isinstance(x, Tensor)]
    like = dt.promote(*strong)
    each = [x.dtype if isinstance(x, Tensor) else weak(x, like) for x in operands]
    if not op.arithmetic:
        return each, None
    to = dt.promote(*(d for d in each if d is not None))
    return each, dt.to_float(to) if op.arithmetic == "float" else to


def _arrays(op: Op, operands: tuple[Any, ...]) -> tuple[Array, ...]:
    """The operands of a host op as arrays of the dtypes that it runs in."""
    if all(isinstance(x, HostTensor) for x in operands):
        arrays = tuple(x._array for x in operands)
        dtype = arrays[0].dtype
        if not op.arithmetic or (
            (op.arithmetic == "same" or dtype.kind in "fc") and all(a.dtype == dtype for a in arrays)
        ):
            return arrays
    each, to = _dtypes(op, operands)
    return tuple(
        x._array.astype(to or own, copy=False) if isinstance(x, HostTensor) else np.asarray(x, to or own)
        for x, own in zip(operands, each, strict=True)
    )


_counts = counters.OPS[HOST]
_checked: set[Any] = set()  # calls that the shape rule has let pass


def _refuse_misfits(op: Op, arrays: tuple[Array, ...], attrs: dict[str, Any]) -> None:
    """Ask the op's shape rule, once for each combination of shapes, dtypes and attributes."""
    key = (op.name, *[(a.shape, a.dtype) for a in arrays], *attrs.items())
    if key in _checked:
        return
    op.infer_types(tuple(TensorType(a.shape, dt.check(a.dtype)) for a in arrays), attrs)
    if len(_checked) > 4096:
        _checked.clear()
    _checked.add(key)


class HostTensor(Tensor):
    """A tensor in host memory. `_a` is its ndarray or, as a ufunc gave it, a NumPy scalar; `_array` is the ndarray."""

    __slots__ = ("_a",)
    _a: Any

    @classmethod
    def of(cls, array: Array) -> HostTensor:
        """Around `array`, shared."""
        out = cls()
        out._a = array
        return out

    @classmethod
    def _apply(cls, op: Op, operands: tuple[Any, ...], attrs: dict[str, Any]) -> Any:
        full = attrs if attrs.keys() == op.attrs.keys() else op.complete(attrs)
        arrays = _arrays(op, operands)
        _refuse_misfits(op, arrays, full)
        made = op.reference(*arrays, **full)
        _counts[op.name] += 1
        return tuple(map(cls.of, made)) if isinstance(made, tuple) else cls.of(made)  # pyright: ignore[reportUnknownArgumentType]

    @property
    def _array(self) -> Array:
        array = self._a
        if array.__class__ is not np.ndarray:
            self._a = array = np.asarray(array)
        return array

    @property
    def _type(self) -> TensorType:
        return TensorType(self._a.shape, self._a.dtype)

    @property
    def shape(self) -> tuple[int, ...]:
        return self._a.shape

    @property
    def dtype(self) -> DType:
        return self._a.dtype

    @property
    def ndim(self) -> int:
        return self._a.ndim

    @property
    def size(self) -> int:
        return self._a.size

    @property
    def device(self) -> Device:
        return _host()

    def _become(self, other: HostTensor) -> None:
        self._a = other._a

    def __getitem__(self, key: Any, /) -> Tensor:
        kind = key.__class__
        items = key if kind is int or kind is slice else _plain(key)
        if items is NotImplemented:
            return super().__getitem__(key)
        out = HostTensor()
        try:
            out._a = self._array[items]
        except IndexError as e:
            raise AxisError(f"{e}, in a tensor of shape {self.shape}") from None
        return out

    def __setitem__(self, key: Any, value: Operand, /) -> None:
        items = _plain(key)
        if items is NotImplemented or (isinstance(value, Tensor) and not isinstance(value, HostTensor)):
            self._become(subscript.put(apply, self, key, subscript.fitting(self, value)))
            return
        subscript.check_fits(self.dtype, value)
        new = value._array if isinstance(value, HostTensor) else value
        array, self._a = self._array, None
        try:
            mine = sys.getrefcount(array) <= _ALONE and array.base is None and array.flags.writeable
            target = array if mine else array.copy()
            target[items] = new
            array = target
        except IndexError as e:
            raise AxisError(f"{e}, in a tensor of shape {array.shape}") from None
        except ValueError as e:
            raise ShapeError(str(e)) from None
        finally:
            self._a = array


install(HostTensor)


def _plain(key: Any) -> Any:
    """A key with tensors as arrays; NotImplemented when one of them is not on the host."""
    if isinstance(key, tuple):
        items = tuple(_plain(item) for item in key)  # pyright: ignore[reportUnknownVariableType]
        return NotImplemented if any(item is NotImplemented for item in items) else items
    if isinstance(key, HostTensor):
        return key._array
    return NotImplemented if isinstance(key, Tensor) else key


class DeviceTensor(Tensor):
    """A tensor in the memory of a device; its buffer is the backend's own."""

    __slots__ = ("_buffer", "_device", "_kind")
    _rank: ClassVar[int] = 1

    def __init__(self, buffer: Buffer, type: TensorType, device: Device) -> None:
        self._buffer, self._kind, self._device = buffer, type, device

    @classmethod
    def _apply(cls, op: Op, operands: tuple[Any, ...], attrs: dict[str, Any]) -> Any:
        device = _one_device(op, operands)
        each, to = _dtypes(op, operands)
        given = [_as_device(x, to or own, device) for x, own in zip(operands, each, strict=True)]
        kinds = tuple(x._kind for x in given)
        buffers, types = _execute().call(op, [x._buffer for x in given], kinds, attrs, device)
        made = tuple(cls(b, kind_of(t), device) for b, t in zip(buffers, types, strict=True))
        if not attrs and all(x is y for x, y in zip(given, operands, strict=True)):
            direct = _execute().direct(op, kinds, device)
            if direct is not None:
                operators_device.learn(op.name, kinds, device, direct, made[0]._kind)
        return made[0] if len(made) == 1 else made

    @property
    def _array(self) -> Array:
        return _execute().download(self._buffer, self._kind, self._device)

    @property
    def _type(self) -> TensorType:
        return self._kind

    @property
    def device(self) -> Device:
        return self._device

    def _become(self, other: DeviceTensor) -> None:
        self._buffer = other._buffer


operators_device.install(DeviceTensor)


def _one_device(op: Op, operands: tuple[Any, ...]) -> Device:
    found = {x.device for x in operands if isinstance(x, Tensor)}
    if len(found) > 1:
        raise BackendError(
            f"{op.name} wants tensors of one device, got {' and '.join(sorted(map(str, found)))}",
            hint="move one: x.to_device(y.device)",
        )
    return found.pop()


def _as_device(x: Any, dtype: DType, device: Device) -> DeviceTensor:
    if not isinstance(x, DeviceTensor):
        return _constant(np.asarray(x, dtype).tobytes(), dtype.name, device)
    return x if x.dtype == dtype else x.astype(dtype)  # pyright: ignore[reportReturnType]


@lru_cache(maxsize=512)
def _constant(value: bytes, dtype: str, device: Device) -> DeviceTensor:
    """A scalar on a device, sent once. Its bytes are the key: -0.0 equals 0.0, and no NaN equals itself."""
    array = np.frombuffer(value, dt.of(dtype)).reshape(())
    return DeviceTensor(_execute().upload(array, device), TensorType((), array.dtype), device)
