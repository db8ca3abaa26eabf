"""One ONNX node about to be lowered, and the table of functions that lower them.

A lowering is a function `f(n, *inputs, **attributes)`: its positional parameters are the node's inputs (a default
of None marks an optional one), its keywords the attributes with the defaults of the ONNX specification. What a
signature does not name is not covered, and the importer refuses it before anything runs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from inspect import Parameter, signature
from math import prod
from typing import Any, NoReturn, TypeAlias, TypeVar

import numpy as np

from hetero import dtype as dt
from hetero.dim import Dim, Shape, concrete
from hetero.errors import ModelError
from hetero.graph.build import Builder, Ref
from hetero.op import Array, TensorType

Made: TypeAlias = "Ref | Sequence[Ref | None]"
Symbolic: TypeAlias = "dict[int, Array]"  # value -> its elements as int or Dim, in an object array

CONSTANT_LIMIT = 1 << 28  # bytes; what importing may allocate for one constant that is not in the file


class Wait(Exception):  # noqa: N818 - an answer, not an error
    """Raised inside a lowering: the values at these input positions must be seen first; none: their shapes."""

    def __init__(self, *positions: int) -> None:
        super().__init__(positions)
        self.positions = positions


@dataclass(slots=True, eq=False)
class Call:
    """A node with its inputs as values of `emit`, the builder that it is lowered into."""

    emit: Builder
    op: str
    domain: str
    opset: int
    inputs: tuple[Ref | None, ...]
    outputs: tuple[bool, ...]  # which outputs somebody named
    attrs: dict[str, Any]
    extra: tuple[Ref, ...] = ()  # values that the node's subgraphs read from around them
    captured: dict[str, tuple[int, ...]] = field(default_factory=dict[str, tuple[int, ...]])  # body -> which of extra
    name: str = ""  # the node's name in the file
    symbolic: Symbolic = field(default_factory=dict[int, Array])

    # -- what is known ----------------------------------------------------------------------------------

    def position(self, x: Ref) -> int:
        """Where `x` stands among `refs`."""
        return next(i for i, r in enumerate(self.refs) if r.index == x.index)

    @property
    def refs(self) -> tuple[Ref, ...]:
        """The inputs that are there, then what subgraphs read."""
        return (*(r for r in self.inputs if r is not None), *self.extra)

    def value(self, x: Ref) -> Array:
        """The constant behind an input; the node waits until there is one."""
        known = x.known
        if known is None:
            raise Wait(self.position(x))
        return known

    def ints(self, x: Ref) -> tuple[int, ...]:
        """The constant behind an input, flat, as ints."""
        return tuple(int(v) for v in self.value(x).ravel())

    def scalar(self, x: Ref, what: str) -> Any:
        """The one element of a constant input."""
        known = self.value(x)
        if known.size != 1:
            self.refuse(f"{what} wants one element, got {known.shape}")
        return known.ravel()[0].item()

    def sizes(self, x: Ref) -> Shape:
        """The value of an input that holds a shape; named dimensions may stand in it."""
        if x.index in self.symbolic and x.known is None:
            return tuple(self.symbolic[x.index].ravel())
        return self.ints(x)

    def shape(self, x: Ref) -> tuple[int, ...]:
        """A shape in plain numbers; the node waits while it has named dimensions."""
        if not x.type.static:
            raise Wait
        return concrete(x.type.known)

    def size(self, x: Ref, axis: int) -> int:
        """One size of a shape, in plain numbers."""
        size = x.type.known[axis]
        if isinstance(size, Dim):
            raise Wait
        return size

    def axis(self, axis: int, rank: int) -> int:
        """`axis` counted from the front."""
        if not -rank <= axis < max(rank, 1):
            self.refuse(f"axis {axis} is not in a tensor of {rank} dimensions")
        return axis % max(rank, 1)

    def axes(self, axes: Sequence[int], rank: int) -> tuple[int, ...]:
        """`axes` counted from the front, in their order, each once."""
        out = tuple(self.axis(int(a), rank) for a in axes)
        if len(set(out)) < len(out) or (out and not rank):
            self.refuse(f"axes {tuple(axes)} of a tensor of {rank} dimensions")
        return out

    def wants(self, output: int) -> bool:
        """Whether somebody reads this output."""
        return output < len(self.outputs) and self.outputs[output]

    # -- short words for what lowerings say often -------------------------------------------------------

    def refuse(self, reason: str) -> NoReturn:
        """This node is not covered, or is wrong."""
        raise ModelError(reason)

    def only(self, ok: bool, reason: str) -> None:
        """Refuse unless `ok`."""
        if not ok:
            self.refuse(reason)

    def constant(self, value: Any, dtype: dt.DType | None = None) -> Ref:
        return self.emit.constant(value, dtype)

    def filled(self, shape: Shape, value: Any, dtype: dt.DType) -> Ref:
        """A tensor of one value, never stored whole."""
        return self.emit("broadcast_to", self.constant(np.asarray(value).astype(dtype)), shape=tuple(shape))

    def arange(self, n: int, dtype: dt.DType = dt.int64) -> Ref:
        """0, 1, ... n - 1"""
        self.room(n * dtype.itemsize)
        return self.constant(np.arange(n).astype(dtype))

    def outer(self, body: str) -> tuple[Ref, ...]:
        """What the subgraph in attribute `body` reads from around it, in the order of its last inputs."""
        return tuple(self.extra[i] for i in self.captured.get(body, ()))

    def room(self, nbytes: int) -> None:
        """Refuse to allocate what no honest model needs."""
        if nbytes > CONSTANT_LIMIT:
            self.refuse(f"a constant of {nbytes} bytes would have to be made; the limit is {CONSTANT_LIMIT}")

    def reshape(self, x: Ref, *shape: Any) -> Ref:
        return x if x.type.known == shape else self.emit("reshape", x, shape=shape)

    def permute(self, x: Ref, *axes: int) -> Ref:
        return x if axes == tuple(range(len(axes))) else self.emit("permute", x, axes=axes)

    def cast(self, x: Ref, to: dt.DType) -> Ref:
        return x if x.type.dtype == to else self.emit("cast", x, dtype=to.name)

    def cut(self, x: Ref, axis: int, start: int, stop: Any, step: int = 1) -> Ref:
        """x[start:stop:step] along one axis, indices in range already."""
        rank, shape = x.type.rank, x.type.known
        self.only(axis < rank, f"an input has {rank} dimensions, more are wanted")
        starts = [0] * rank
        stops: list[Any] = list(shape)
        steps = [1] * rank
        starts[axis], stops[axis], steps[axis] = start, stop, step
        return self.emit("slice", x, starts=tuple(starts), stops=tuple(stops), steps=tuple(steps))

    def flip(self, x: Ref, axis: int) -> Ref:
        """x backwards along one axis."""
        return self.cut(x, axis, self.shape(x)[axis] - 1, -1, -1)

    def through_float(self, x: Ref, small: bool = True) -> Ref:
        """x in a float dtype to compute in: integers as float64; small floats as float32, if `small`."""
        kind = dt.kind(x.type.dtype)
        if kind != "f":
            return self.cast(x, dt.float64)
        return self.cast(x, dt.float32) if small and x.type.dtype.itemsize < 4 else x


Lower: TypeAlias = Callable[..., Made]
F = TypeVar("F", bound=Callable[..., Made])


@dataclass(frozen=True, slots=True)
class Entry:
    """How an op is lowered from opset `since` on; without a function it is refused, and `reason` says why."""

    op: str
    domain: str
    since: int
    function: Lower | None
    reason: str = ""
    attrs: frozenset[str] = frozenset()
    open: bool = False  # takes every attribute that the standard has
    note: str = ""


TABLE: dict[tuple[str, str], list[Entry]] = {}


def lowers(*ops: str, since: int = 1, domain: str = "") -> Callable[[F], F]:
    """Enter a function for `ops`, from opset `since` on."""

    def enter(function: F) -> F:
        parameters = signature(function).parameters.values()
        attrs = frozenset(p.name for p in parameters if p.kind is Parameter.KEYWORD_ONLY)
        every = any(p.kind is Parameter.VAR_KEYWORD for p in parameters)
        note = (function.__doc__ or "").strip().splitlines()
        for op in ops:
            _enter(Entry(op, domain, since, function, "", attrs, every, note[0] if note else ""))
        return function

    return enter


def refuses(reason: str, *ops: str, domain: str = "") -> None:
    """Enter ops that are refused, with the reason."""
    for op in ops:
        _enter(Entry(op, domain, 1, None, reason))


def _enter(entry: Entry) -> None:
    versions = TABLE.setdefault((entry.domain, entry.op), [])
    if any(e.since == entry.since for e in versions):
        raise ValueError(f"{entry.op} since {entry.since} is entered twice")
    versions.append(entry)
    versions.sort(key=_since)


def _since(entry: Entry) -> int:
    return entry.since


def find(op: str, domain: str, opset: int) -> Entry | None:
    """The newest entry that is not newer than `opset`."""
    fitting = [e for e in TABLE.get((domain, op), ()) if e.since <= opset]
    return fitting[-1] if fitting else None


def count(shape: Sequence[int]) -> int:
    """Number of elements."""
    return prod(int(n) for n in shape)


def is_symbolic(types: Sequence[TensorType]) -> bool:
    """Some size has no number yet."""
    return any(not t.static for t in types)
