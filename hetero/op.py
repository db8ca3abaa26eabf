"""The op: one record with everything the library knows about one operation.

Shape rules, the NumPy meaning, the decomposition, the cost, the ONNX name and the test samples of an op stand
in one `Op`. Backends, the importer, the docs, the cost model and the tests are all made from this table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, partial
from importlib import import_module
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hetero import dtype as dt
from hetero.dim import Shape, Size, prod, show
from hetero.dtype import DType
from hetero.errors import FOREIGN, AttributeValueError, GraphError, HeteroError, from_foreign

Array: TypeAlias = "NDArray[Any]"
Attrs: TypeAlias = Mapping[str, Any]

Kind = Literal["elementwise", "reduction", "movement", "indexing", "compute", "random", "control", "late"]
Arithmetic = Literal["", "same", "float"]


@dataclass(frozen=True, slots=True)
class TensorType:
    """Shape and dtype. A shape of None is not known until the graph is specialised or has run so far."""

    shape: Shape | None
    dtype: DType

    @property
    def known(self) -> Shape:
        """The shape, which must be known here."""
        if self.shape is None:
            raise GraphError("a shape is used before it is known")
        return self.shape

    @property
    def rank(self) -> int:
        return len(self.known)

    @property
    def size(self) -> Size:
        """Number of elements."""
        return prod(self.known)

    @property
    def static(self) -> bool:
        """Every size is a plain int."""
        return self.shape is not None and all(isinstance(n, int) for n in self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of a static type, without padding."""
        size = self.size
        assert isinstance(size, int)
        return size * self.dtype.itemsize

    def with_shape(self, shape: Shape) -> TensorType:
        return TensorType(shape, self.dtype)

    def with_dtype(self, dtype: DType) -> TensorType:
        return TensorType(self.shape, dtype)

    def __str__(self) -> str:
        return f"{self.dtype.name}{show(self.shape)}"


Types: TypeAlias = tuple[TensorType, ...]


@dataclass(frozen=True, slots=True)
class Cost:
    """Work of one call. Counts elements, not bytes, so it holds for every dtype."""

    flop: int  # arithmetic operations
    read: int  # elements read
    write: int  # elements written


@dataclass(frozen=True, slots=True)
class Arg:
    """How to make one input of a sample: uniform in [low, high), or integers where the dtype is one."""

    shape: tuple[int, ...]
    low: float = -1.0
    high: float = 1.0
    dtype: str = ""  # empty: the dtype under test


@dataclass(frozen=True, slots=True)
class Sample:
    """One call that the tests make on every backend."""

    args: tuple[Arg, ...]
    attrs: Attrs = field(default_factory=dict[str, Any])


class _Required:
    def __repr__(self) -> str:
        return "required"


REQUIRED = _Required()  # the default of an attribute that must be given


class Value(Protocol):
    """A handle to one tensor of a graph that is being built."""

    @property
    def type(self) -> TensorType: ...


class Emit(Protocol):
    """What a decomposition or a gradient rule is written against: emits a node, gives its value."""

    def __call__(self, op: str, *inputs: Any, **attrs: Any) -> Any: ...


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Op:
    """One operation. The importer, passes, backends, scheduler and tests read nothing else."""

    name: str
    kind: Kind
    infer: Callable[..., TensorType | Types]  # (*types, **attrs) -> type(s), or a HeteroError
    reference: Callable[..., Any]  # (*arrays, **attrs) -> array(s): what the op means, in NumPy
    cost: Callable[..., Cost]  # (types in, types out, attrs) -> Cost
    samples: tuple[Sample, ...] = ()
    dtypes: str = "fiubc"  # kinds of the dtype under test, as in `dtype.kind`
    attrs: Attrs = field(default_factory=dict[str, Any])  # name -> default, or REQUIRED
    arithmetic: Arithmetic = ""  # inputs are promoted to one dtype ("same"), to a float one ("float"), or not
    decompose: Callable[..., Any] | None = None  # (emit, *values, **attrs): present on a composite op
    vjp: Callable[..., Any] | None = None  # (emit, g, *values, **attrs) -> a cotangent for each input
    onnx: str = ""  # the ONNX operator of the same meaning
    pure: bool = True  # equal inputs give equal outputs, so equal nodes are one node

    @property
    def composite(self) -> bool:
        return self.decompose is not None

    @property
    def elementwise(self) -> bool:
        return self.kind == "elementwise"

    def complete(self, attrs: Attrs) -> dict[str, Any]:
        """`attrs` with defaults filled in; an unknown or missing name is an error."""
        unknown = sorted(set(attrs) - set(self.attrs))
        missing = sorted(k for k, v in self.attrs.items() if v is REQUIRED and k not in attrs)
        if unknown or missing:
            said = [f"unknown {', '.join(unknown)}"] * bool(unknown) + [f"missing {', '.join(missing)}"] * bool(missing)
            raise AttributeValueError(
                f"{self.name}: {'; '.join(said)}", hint=f"it takes {', '.join(self.attrs) or 'no attributes'}"
            )
        return {k: attrs.get(k, default) for k, default in self.attrs.items()}

    def infer_types(self, types: Types, attrs: Attrs) -> Types:
        """`infer` as a tuple; another number of inputs than the op takes is an error."""
        least, most = arity(self)
        if not least <= len(types) <= most:
            takes = f"{least}" if least == most else f"{least} or more" if most == MANY else f"{least} to {most}"
            raise GraphError(f"{self.name} takes {takes} inputs, got {len(types)}")
        out = self.infer(*types, **attrs)
        return out if isinstance(out, tuple) else (out,)

    def evaluate(self, arrays: tuple[Array, ...], attrs: Attrs) -> tuple[Array, ...]:
        """`reference` as a tuple of arrays (NumPy gives scalars for 0-d results); its errors as ours."""
        try:
            with np.errstate(all="ignore"):
                out = self.reference(*arrays, **attrs)
        except HeteroError:
            raise
        except FOREIGN as e:
            raise from_foreign(self.name, e) from e
        if isinstance(out, tuple):
            return tuple(np.asarray(a) for a in out)  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
        return (np.asarray(out),)

    def __repr__(self) -> str:
        return f"<op {self.name}>"


MANY = 1 << 30  # no bound on the number of inputs


@cache
def arity(op: Op) -> tuple[int, int]:
    """The least and the largest number of inputs: what its rule, its reference and its decomposition all take."""
    each = [_positional(op.infer), _positional(op.reference)]
    if op.decompose is not None:
        least, most = _positional(op.decompose)
        each.append((least - 1, most - 1))  # without `emit`
    return max(least for least, _ in each), min(most for _, most in each)


def _positional(function: Any) -> tuple[int, int]:
    """How many positional arguments `function` takes, at least and at most."""
    if isinstance(function, np.ufunc):
        return function.nin, function.nin
    if isinstance(function, partial):
        least, most = _positional(function.func)
        return least - len(function.args), most - len(function.args)
    function = getattr(function, "__wrapped__", function)  # NumPy's own functions stand behind a dispatcher
    code = getattr(function, "__code__", None)
    if code is None:
        return 0, MANY
    least = code.co_argcount - len(function.__defaults__ or ())
    return least, MANY if code.co_flags & _VARARGS else code.co_argcount


_VARARGS = 0x04  # of a code object: it has *args


class Table(Mapping[str, Op]):
    """The op table. A family is imported when an op is asked for that is not there yet: the elementwise ones, which
    operators on tensors need, before all the others."""

    def __init__(self) -> None:
        self._ops: dict[str, Op] = {}

    def _fill(self) -> dict[str, Op]:
        import_module("hetero.ops.table")
        return self._ops

    def __getitem__(self, name: str) -> Op:
        if name not in self._ops:
            import_module("hetero.ops.elementwise")
        return self._ops[name] if name in self._ops else self._fill()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._fill())

    def __len__(self) -> int:
        return len(self._fill())

    def enter(self, op: Op) -> None:
        if op.name in self._ops:
            raise ValueError(f"op {op.name!r} is defined twice")
        self._ops[op.name] = op


OPS = Table()


def define(op: Op) -> Op:
    """Enter `op` in the table; a name is entered once."""
    OPS.enter(op)
    return op


def arguments(sample: Sample, dtype: DType, seed: int) -> tuple[Array, ...]:
    """Arrays for `sample`, the same for the same seed."""
    rng = np.random.default_rng(seed)
    return tuple(_array(rng, arg, dt.of(arg.dtype) if arg.dtype else dtype) for arg in sample.args)


def _array(rng: np.random.Generator, arg: Arg, dtype: DType) -> Array:
    kind = dt.kind(dtype)
    if kind == "b":
        return rng.integers(0, 2, arg.shape).astype(dtype)
    if kind in "iu":
        low = int(arg.low) if arg.dtype else (0 if kind == "u" else -5)  # a fixed dtype has exact bounds
        high = int(arg.high) if arg.dtype else 6
        return rng.integers(max(low, 0) if kind == "u" else low, high, arg.shape).astype(dtype)
    real = rng.uniform(arg.low, arg.high, arg.shape)
    if kind == "c":
        return np.asarray(real + 1j * rng.uniform(arg.low, arg.high, arg.shape)).astype(dtype)
    return np.asarray(real).astype(dtype)
