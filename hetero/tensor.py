"""The tensor a person holds: what it is, its operators, and the one function that runs an op on tensors.

A Tensor is a handle to an immutable buffer. Operators give new tensors; `x[key] = v` and `x += y` give the
handle a new buffer, so that no other tensor changes with it: views do not alias. Three kinds share this class:
`HostTensor` and `DeviceTensor` (hetero.eager) hold values, a traced one (hetero.tracing) records what is done to it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

import numpy as np

from hetero import dtype as dt
from hetero import subscript
from hetero.dim import show
from hetero.dtype import DType
from hetero.errors import AttributeValueError, DTypeError, GraphError, ShapeError
from hetero.op import OPS, Array, Op, TensorType

if TYPE_CHECKING:
    from typing_extensions import Self

    from hetero.spi import Device

Scalar: TypeAlias = "bool | int | float | complex"
Operand: TypeAlias = "Tensor | Scalar"
Operator: TypeAlias = "Callable[[Tensor, Operand], Tensor]"
Sign: TypeAlias = "Callable[[Tensor], Tensor]"

SCALARS = (bool, int, float, complex)
VERSIONS = ("2021.12", "2022.12", "2023.12", "2024.12")
_DLPACK_TYPE = {"numpy": 1, "cupy": 2, "opencl": 4}  # DLPack's numbers of kinds of device; 12 is "some other"


def apply(op: str | Op, *operands: Any, **attrs: Any) -> Any:
    """Run `op` on tensors and Python scalars, or record it where one of them is traced.

    Gives a tensor, or a tuple of them where the op has several outputs.
    """
    lead = type(operands[0])
    rank = getattr(lead, "_rank", -1)
    for other in operands[1:]:
        if getattr(other, "_rank", -1) > rank:
            lead, rank = type(other), other._rank
    if rank < 0:
        raise DTypeError(
            f"{op} wants a tensor, got {', '.join(type(x).__name__ for x in operands)}",
            hint="wrap one: hetero.asarray(x)",
        )
    return lead._apply(OPS[op] if isinstance(op, str) else op, operands, attrs)


def _binary(name: str) -> tuple[Operator, Operator, Operator]:
    """`x + y`, `y + x` and `x += y` of one op."""
    op = OPS[name]

    def forward(self: Tensor, other: Operand, /) -> Tensor:
        value = self._operand(other)
        return value if value is NotImplemented else apply(op, self, value)

    def reverse(self: Tensor, other: Operand, /) -> Tensor:
        value = self._operand(other)
        return value if value is NotImplemented else apply(op, value, self)

    return forward, reverse, _in_place(name, forward)


def _in_place(name: str, forward: Operator) -> Operator:
    def in_place(self: Tensor, other: Operand, /) -> Tensor:
        made = forward(self, other)
        return made if made is NotImplemented else self._rebind(name, made)

    return in_place


def _compare(name: str) -> Operator:
    return _binary(name)[0]


def _unary(name: str) -> Sign:
    op = OPS[name]

    def operator(self: Tensor, /) -> Tensor:
        return apply(op, self)

    return operator


def matmul(x1: Tensor, x2: Tensor, /) -> Tensor:
    """(..., m, k), (..., k, n) -> (..., m, n); a vector on the left is a row, on the right a column"""
    if not x1.ndim or not x2.ndim:
        raise ShapeError(f"matmul wants 1 dimension or more, got {show(x1.shape)} and {show(x2.shape)}", hint="use *")
    left = x1 if x1.ndim > 1 else apply("reshape", x1, shape=(1, *x1.shape))
    right = x2 if x2.ndim > 1 else apply("reshape", x2, shape=(*x2.shape, 1))
    out = apply("matmul", left, right)
    if x1.ndim > 1 and x2.ndim > 1:
        return out
    shape = out.shape[:-2] + out.shape[-2:-1] * (x1.ndim > 1) + out.shape[-1:] * (x2.ndim > 1)
    return apply("reshape", out, shape=shape)


def _product(self: Tensor, other: Any, /) -> Tensor:
    return matmul(self, other) if isinstance(other, Tensor) else NotImplemented


_equal, _not_equal = _compare("equal"), _compare("not_equal")


class Tensor:
    """An n-d array on one device; see the module's text."""

    __slots__ = ()
    __array_ufunc__ = None  # np.array + Tensor comes to us, not to NumPy element by element
    _rank: ClassVar[int] = 0  # the operand with the highest runs the op: host 0, device 1, traced 2

    # -- what each kind must give ---------------------------------------------------------------------------

    @classmethod
    def _apply(cls, op: Op, operands: tuple[Any, ...], attrs: dict[str, Any]) -> Any:
        """Run or record `op`; operands are tensors of this rank or lower, and Python scalars."""
        raise NotImplementedError

    @property
    def _type(self) -> TensorType:
        """Shape and dtype."""
        raise NotImplementedError

    @property
    def _array(self) -> Array:
        """The value on the host; not to be written to. Copies from a device, counted; a traced tensor has none."""
        raise NotImplementedError

    @property
    def device(self) -> Device:
        """Where the buffer is; prints as `numpy:0`."""
        raise NotImplementedError

    def _become(self, other: Any) -> None:
        """Take the buffer of `other`, a tensor of the same kind, shape and dtype."""
        raise NotImplementedError

    # -- what it is -------------------------------------------------------------------------------------------

    @property
    def shape(self) -> tuple[int, ...]:
        shape = self._type.shape
        if shape is None:
            raise GraphError(
                f"the shape of this {self._type} depends on values, which a trace does not have",
                hint="keep the shape: hetero.where(mask, x, 0); or compute it outside the traced function",
            )
        return shape  # pyright: ignore[reportReturnType]  named dimensions stand in traces only

    @property
    def dtype(self) -> DType:
        return self._type.dtype

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of elements."""
        return self._type.size  # pyright: ignore[reportReturnType]

    @property
    def T(self) -> Tensor:  # noqa: N802  the standard's name
        """(m, n) -> (n, m)"""
        if self.ndim != 2:
            raise ShapeError(f".T wants 2 dimensions, got {show(self.shape)}", hint=".mT turns the last two axes")
        return apply("permute", self, axes=(1, 0))

    @property
    def mT(self) -> Tensor:  # noqa: N802
        """(..., m, n) -> (..., n, m)"""
        n = self.ndim
        if n < 2:
            raise ShapeError(f".mT wants 2 dimensions or more, got {show(self.shape)}")
        return apply("permute", self, axes=(*range(n - 2), n - 1, n - 2))

    def astype(self, dtype: Any, /) -> Tensor:
        """The values converted to `dtype`; the tensor itself if they are already."""
        to = dt.of(dtype)
        return self if to == self.dtype else apply("cast", self, dtype=to.name)

    def reshape(self, *shape: Any) -> Tensor:
        """The same elements in `shape`; one size may be -1."""
        wanted = tuple(shape[0]) if len(shape) == 1 and isinstance(shape[0], tuple | list) else shape
        return apply("reshape", self, shape=subscript.fill_shape(self.shape, wanted))

    # -- operators ----------------------------------------------------------------------------------------------

    def _operand(self, other: Any) -> Any:
        """`other` as the second operand of an operator, or NotImplemented."""
        if isinstance(other, Tensor) or isinstance(other, SCALARS):
            return other
        if isinstance(other, np.generic):
            from hetero.eager import place

            return place(np.asarray(other), self.device)
        if isinstance(other, np.ndarray):
            raise DTypeError("an operator got a Tensor and a NumPy array", hint="hetero.asarray(x, device=...) first")
        return NotImplemented

    def _rebind(self, name: str, made: Tensor) -> Self:
        """`self` with the value of `made`, which must have the same shape and dtype."""
        if made.dtype != self.dtype or made.shape != self.shape:
            error = DTypeError if made.dtype != self.dtype else ShapeError
            raise error(f"{name} in place would turn {self._type} into {made._type}", hint="write x = x ... instead")
        self._become(made)
        return self

    __add__, __radd__, __iadd__ = _binary("add")
    __sub__, __rsub__, __isub__ = _binary("subtract")
    __mul__, __rmul__, __imul__ = _binary("multiply")
    __truediv__, __rtruediv__, __itruediv__ = _binary("divide")
    __floordiv__, __rfloordiv__, __ifloordiv__ = _binary("floor_divide")
    __mod__, __rmod__, __imod__ = _binary("remainder")
    __pow__, __rpow__, __ipow__ = _binary("power")
    __and__, __rand__, __iand__ = _binary("bitwise_and")
    __or__, __ror__, __ior__ = _binary("bitwise_or")
    __xor__, __rxor__, __ixor__ = _binary("bitwise_xor")
    __lshift__, __rlshift__, __ilshift__ = _binary("left_shift")
    __rshift__, __rrshift__, __irshift__ = _binary("right_shift")
    __matmul__ = _product
    __imatmul__ = _in_place("matmul", _product)  # pyright: ignore[reportArgumentType]
    __lt__ = _compare("less")
    __le__ = _compare("less_equal")
    __gt__ = _compare("greater")
    __ge__ = _compare("greater_equal")

    def __eq__(self, other: Operand, /) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        return _equal(self, other)  # a tensor, where other classes give a bool

    def __ne__(self, other: Operand, /) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        return _not_equal(self, other)

    __hash__ = None  # pyright: ignore[reportAssignmentType]  == gives a tensor
    __neg__ = _unary("negative")
    __pos__ = _unary("positive")
    __abs__ = _unary("abs")
    __invert__ = _unary("bitwise_invert")

    # -- elements -------------------------------------------------------------------------------------------------

    def __getitem__(self, key: Any, /) -> Tensor:
        """Elements by ints, slices, None, `...`, integer tensors and bool masks, as in NumPy; never a view."""
        return subscript.get(apply, self, key)

    def __setitem__(self, key: Any, value: Operand, /) -> None:
        """A new buffer with `value` at `key`, unless nothing else can see the old one. The dtype stays."""
        self._become(subscript.put(apply, self, key, subscript.fitting(self, value)))

    def __len__(self) -> int:
        if not self.ndim:
            raise DTypeError("a tensor of no dimensions has no length")
        return self.shape[0]

    def __iter__(self) -> Iterator[Tensor]:
        if not self.ndim:
            raise DTypeError("a tensor of no dimensions cannot be iterated")
        return (self[i] for i in range(self.shape[0]))

    def _item(self, kinds: str, to: str) -> Any:
        """The one element as a Python scalar, or an error that names the type it should become."""
        if self.ndim:
            raise ShapeError(f"only a tensor of shape () becomes {to}, this one has {show(self.shape)}")
        if dt.kind(self.dtype) not in kinds:
            raise DTypeError(f"a {self.dtype.name} does not become {to}", hint="cast it first")
        return self._array.item()

    def __bool__(self) -> bool:
        return bool(self._item("biufc", "a bool"))

    def __int__(self) -> int:
        return int(self._item("biuf", "an int"))

    def __float__(self) -> float:
        return float(self._item("biuf", "a float"))

    def __complex__(self) -> complex:
        return complex(self._item("biufc", "a complex"))

    def __index__(self) -> int:
        return int(self._item("iu", "an index"))

    def item(self) -> Any:
        """The only element as a Python scalar."""
        if self.size != 1:
            raise ShapeError(f"item wants one element, got shape {show(self.shape)}", hint="pick one: x[i].item()")
        return self._array.item()

    def tolist(self) -> Any:
        """Nested lists of Python scalars."""
        return self._array.tolist()

    # -- to and from the outside ---------------------------------------------------------------------------------------

    def numpy(self) -> Array:
        """The value as a NumPy array of its own."""
        return np.array(self._array)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        """For `np.asarray(x)`: a read-only view of a host buffer, or a copy."""
        array = self._array
        if dtype is not None and np.dtype(dtype) != array.dtype:
            if copy is False:
                raise ValueError(f"{array.dtype} to {np.dtype(dtype)} wants a copy")
            return array.astype(dtype)
        if copy:
            return array.copy()
        if copy is False and not self.device.host:
            raise ValueError(f"an array of a tensor on {self.device} is a copy")
        view = array.view()
        view.flags.writeable = False
        return view

    def __array_namespace__(self, *, api_version: str | None = None) -> Any:
        """The module `hetero`."""
        if api_version is not None and api_version not in VERSIONS:
            raise AttributeValueError(f"no array API {api_version!r} here", hint=f"one of {', '.join(VERSIONS)}")
        import hetero

        return hetero

    def to_device(self, device: Device | str, /, *, stream: Any = None) -> Tensor:
        """The tensor on `device`: itself if it is there, else a counted copy."""
        from hetero.eager import move

        if stream is not None:
            raise AttributeValueError("to_device takes no stream", hint="a device runs its work in order by itself")
        return move(self, device)

    def __dlpack_device__(self) -> tuple[int, int]:
        device = self.device
        return (1, 0) if device.host else (_DLPACK_TYPE.get(device.backend, 12), device.index)

    def __dlpack__(
        self,
        *,
        stream: Any = None,
        max_version: tuple[int, int] | None = None,
        dl_device: tuple[int, int] | None = None,
        copy: bool | None = None,
    ) -> Any:
        """A capsule around the host buffer; of a device tensor only as a copy asked for with `dl_device=(1, 0)`."""
        host = self.device.host
        if stream is not None and host:
            raise BufferError("a host buffer has no stream")
        if dl_device is not None and tuple(dl_device) not in ((1, 0), self.__dlpack_device__()):
            raise BufferError(f"{self.device} exports to the host (1, 0) only, not to {dl_device}")
        if not host and (copy is False or dl_device is None or tuple(dl_device) != (1, 0)):
            raise BufferError(f"{self.device} does not lend its memory; x.to_device('numpy') copies it to the host")
        array = self._array
        if copy or (not array.flags.writeable and not copy and max_version is None):
            if copy is False:
                raise BufferError("a read-only buffer is exported as a copy")
            array = array.copy()
        return _capsule(array, max_version)

    def __reduce__(self) -> Any:
        from hetero.eager import restore

        return restore, (np.asarray(self._array), self.device.name)

    def __repr__(self) -> str:
        body = np.array2string(self._array, separator=", ", prefix="tensor(", threshold=200)
        return f"tensor({body}, dtype={self.dtype.name}, device={self.device})"


def _capsule(array: Array, max_version: tuple[int, int] | None) -> Any:
    """NumPy's own capsule; NumPy before 2.1 knows no versions."""
    if max_version is None or tuple(map(int, np.__version__.split(".")[:2])) < (2, 1):
        return array.__dlpack__()
    return array.__dlpack__(max_version=max_version)


__all__ = ["Operand", "Scalar", "Tensor", "apply", "matmul"]
