"""From Python functions to graphs: `trace` records what a function does to tensors, `jit` runs the record.

A traced tensor knows its shape and dtype but has no value. Tensors that the function closes over become constants,
or inputs of a loop's body. Python's own `if` and `for` run while tracing; `cond` and `scan` are recorded.
"""

from __future__ import annotations

import inspect
from collections import OrderedDict
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import update_wrapper
from threading import RLock
from typing import Any, ClassVar, Generic, NoReturn, ParamSpec, TypeVar

import numpy as np

from hetero import counters, tree
from hetero import dtype as dt
from hetero.compile import Program, compile
from hetero.dim import Dim, Size
from hetero.eager import DeviceTensor, HostTensor, place
from hetero.errors import DTypeError, GraphError, ShapeError
from hetero.graph.build import Builder, Ref
from hetero.graph.ir import Graph
from hetero.op import OPS, Array, Op, TensorType
from hetero.select import current_device, on_host
from hetero.spi import Device
from hetero.tensor import Tensor, apply

P = ParamSpec("P")
R = TypeVar("R")

MAX_TRACES = 64  # shapes and dtypes that one jitted function keeps


@dataclass(frozen=True)
class Spec:
    """A tensor to trace with: `spec(("batch", 784), "float32")`. Names in the shape are open dimensions."""

    type: TensorType


def spec(shape: Sequence[int | str | Size], dtype: Any = "float32") -> Spec:
    """Shape and dtype of an input that has no value yet; a string in `shape` names an open dimension."""
    sizes = tuple(Dim.symbol(n) if isinstance(n, str) else n for n in shape)
    return Spec(TensorType(sizes, dt.of(dtype)))


# -- recording ----------------------------------------------------------------------------------------------


@dataclass(eq=False)
class Tracing:
    """One function being recorded. `outside` maps a value of an enclosing trace to the input that carries it in."""

    builder: Builder
    outside: dict[Ref, Ref] = field(default_factory=dict[Ref, Ref])
    shared: dict[int, tuple[Any, Ref]] = field(default_factory=dict[int, "tuple[Any, Ref]"])  # id -> buffer, constant

    def bring(self, value: Any) -> Any:
        """An operand as a value of this trace; Python scalars stay."""
        if isinstance(value, Traced):
            return self._from_trace(value._ref)
        if not isinstance(value, Tensor):
            return value
        buffer = value._array
        if id(buffer) not in self.shared:  # the buffer is kept, so that its id stays its own
            self.shared[id(buffer)] = (buffer, self.builder.constant(buffer))
        return self.shared[id(buffer)][1]

    def _from_trace(self, ref: Ref) -> Ref:
        if ref.owner is self.builder:
            return ref
        if not any(t.builder is ref.owner for t in _active.get()):
            raise GraphError(
                "a traced tensor is used outside the function that made it",
                hint="return it from the function, rather than keep it",
            )
        if ref not in self.outside:
            self.outside[ref] = self.builder.input(f"outer{len(self.outside)}", ref.type)
        return self.outside[ref]


_active: ContextVar[tuple[Tracing, ...]] = ContextVar("hetero_tracing", default=())


@contextmanager
def _recording(tracing: Tracing) -> Generator[None, None, None]:
    token = _active.set((*_active.get(), tracing))
    try:
        yield
    finally:
        _active.reset(token)


class Traced(Tensor):
    """A tensor without a value: what is done to it becomes nodes."""

    __slots__ = ("_ref",)
    _rank: ClassVar[int] = 2

    def __init__(self, ref: Ref) -> None:
        self._ref = ref

    @classmethod
    def _apply(cls, op: Op, operands: tuple[Any, ...], attrs: dict[str, Any]) -> Any:
        active = _active.get()
        if not active:
            raise GraphError("a traced tensor is used after its trace has ended", hint="return it from the function")
        tracing = active[-1]
        refs = tracing.builder._refs([tracing.bring(x) for x in operands])
        made = tuple(cls(r) for r in tracing.builder.emit(op, refs, attrs))
        return made[0] if len(made) == 1 else made

    @property
    def _type(self) -> TensorType:
        return self._ref.type

    @property
    def device(self) -> Device:
        """The device in use: where the graph will run is not part of it."""
        return current_device()

    @property
    def _array(self) -> NoReturn:
        raise GraphError(
            f"a traced {self._type} has no value yet",
            hint="decide on values with hetero.where, hetero.cond or hetero.scan; or compute outside the trace",
        )

    def _become(self, other: Any) -> None:
        self._ref = other._ref

    def __repr__(self) -> str:
        return f"traced({self._type})"


def _record(fn: Callable[..., Any], arguments: Any, name: str) -> tuple[Graph, Any, Tracing]:
    """The graph of `fn(*arguments)`, leaves of which are Spec or static; its result's nesting; the trace."""
    tracing = Tracing(Builder(name))

    def stand_in(path: str, leaf: Any) -> Any:
        return Traced(tracing.builder.input(path, leaf.type)) if isinstance(leaf, Spec) else leaf

    inside = {k: tree.rebuild(v, stand_in, k) for k, v in arguments.items()}
    with _recording(tracing):
        result = fn(*inside.pop("*", ()), **inside) if "*" in inside else fn(**inside)
        prefix = "" if isinstance(result, dict) else "out"  # a dict's keys are names enough
        named = {name: _as_ref(tracing, name, leaf) for name, leaf in tree.leaves(result, prefix)}
    return tracing.builder.build(named), result, tracing


def _as_ref(tracing: Tracing, name: str, leaf: Any) -> Ref:
    if isinstance(leaf, Tensor):
        return tracing.bring(leaf)
    if isinstance(leaf, bool | int | float | complex | np.ndarray | np.generic):
        return tracing.builder.constant(leaf)
    raise GraphError(
        f"{name} of the traced function is a {type(leaf).__name__}", hint="return tensors, in tuples, lists or dicts"
    )


def _arguments(fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Arguments by parameter name; variadic ones by position."""
    try:
        bound = inspect.signature(fn).bind(*args, **kwargs)
    except TypeError as e:
        raise GraphError(f"{getattr(fn, '__name__', 'function')}: {e}") from e
    except ValueError:  # a builtin without a signature
        return {"*": args, **kwargs}
    out: dict[str, Any] = {}
    for key, parameter in inspect.signature(fn).parameters.items():
        if key not in bound.arguments:
            continue
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.POSITIONAL_ONLY):
            return {"*": bound.args, **bound.kwargs}
        out |= bound.arguments[key] if parameter.kind == parameter.VAR_KEYWORD else {key: bound.arguments[key]}
    return out


def trace(fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Graph:
    """The graph of `fn`. Arguments are specs, or tensors and arrays whose shape and dtype are taken.

    Inputs are called like the parameters of `fn`, outputs `out`, or by the keys of the dict that `fn` returns.
    Other arguments (numbers, strings) are part of the graph.
    """
    arguments = tree.rebuild(_arguments(fn, args, kwargs), lambda _, leaf: _as_spec(leaf))
    return _record(fn, arguments, getattr(fn, "__name__", "graph").strip("<>"))[0]


def _as_spec(leaf: Any) -> Any:
    if isinstance(leaf, Tensor):
        return Spec(leaf._type)
    if isinstance(leaf, np.ndarray):
        return Spec(TensorType(leaf.shape, dt.check(leaf.dtype)))
    return leaf


# -- running a record ---------------------------------------------------------------------------------------


class Jitted(Generic[P, R]):
    """A function compiled for each combination of shapes, dtypes, static arguments and device that it meets."""

    def __init__(self, fn: Callable[P, R], max_traces: int) -> None:
        self._fn, self._max = fn, max_traces
        self._programs: OrderedDict[Any, tuple[Program, Any]] = OrderedDict()
        self._lock = RLock()
        update_wrapper(self, fn)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        if _active.get():
            return self._fn(*args, **kwargs)  # inside another trace: part of it
        flat = [leaf for _, leaf in tree.leaves((args, kwargs))]
        tensors = [leaf for leaf in flat if isinstance(leaf, Tensor | np.ndarray)]
        device = _device(tensors)
        key = (_shape_of(args), _shape_of(kwargs), device)
        found = self._programs.get(key)
        if found is None:
            found = self._compile(key, args, kwargs, device)
        program, result = found
        outs = program(*[_buffer(x, device) for x in tensors])
        types = program.graph.output_types.values()
        return tree.refill(result, [_tensor(b, t, device) for b, t in zip(outs, types, strict=True)])

    def _compile(self, key: Any, args: Any, kwargs: Any, device: Device) -> tuple[Program, Any]:
        specs = tree.rebuild(_arguments(self._fn, args, kwargs), lambda _, leaf: _as_spec(leaf))
        graph, result, _ = _record(self._fn, specs, getattr(self._fn, "__name__", "graph").strip("<>"))
        counters.count_event("trace")
        found = compile(graph, device), tree.rebuild(result, lambda *_: None)
        with self._lock:
            self._programs[key] = found
            while len(self._programs) > self._max:
                self._programs.popitem(last=False)
                counters.count_event("trace dropped")
        return found

    def graph(self, *args: P.args, **kwargs: P.kwargs) -> Graph:
        """The graph for these arguments, as recorded."""
        return trace(self._fn, *args, **kwargs)

    def clear(self) -> None:
        """Forget every trace."""
        with self._lock:
            self._programs.clear()


def jit(fn: Callable[P, R], *, max_traces: int = MAX_TRACES) -> Jitted[P, R]:
    """`fn`, traced and compiled when it first meets a shape and dtype, and then run as one graph.

    Arguments that are no tensors are static: each value has a trace of its own. At most `max_traces` are kept, the
    least used one is dropped (`stats().events` counts both).
    """
    return Jitted(fn, max_traces)


def _shape_of(value: Any) -> Any:
    """What decides a trace: nesting, types of tensors, values of everything else."""
    if isinstance(value, Tensor):
        return value.shape, value.dtype
    if isinstance(value, np.ndarray):
        return value.shape, value.dtype
    if isinstance(value, dict):
        return "dict", tuple((k, _shape_of(v)) for k, v in sorted(value.items(), key=lambda item: str(item[0])))  # pyright: ignore[reportUnknownArgumentType, reportUnknownLambdaType]
    if isinstance(value, tuple | list):
        return type(value).__name__, tuple(_shape_of(v) for v in value)  # pyright: ignore[reportUnknownVariableType]
    try:
        hash(value)
    except TypeError:
        raise DTypeError(
            f"jit got a {type(value).__name__}, which is no tensor and has no hash", hint="wrap it: hetero.asarray(x)"
        ) from None
    return type(value), value


def _device(tensors: Sequence[Any]) -> Device:
    found = {x.device for x in tensors if isinstance(x, Tensor)}
    if len(found) > 1:
        raise GraphError(
            f"the arguments are on {' and '.join(sorted(map(str, found)))}", hint="move them to one device"
        )
    if any(d.backend != "numpy" for d in found):
        return found.pop()  # whatever is in use, which is not asked for: that would load its backend
    here = current_device()
    return here if not found or here.backend == "auto" else found.pop()


def _buffer(x: Any, device: Device) -> Any:
    if isinstance(x, HostTensor):
        return x._array
    if isinstance(x, DeviceTensor):
        return x._buffer
    moved = place(np.array(x), device)  # a NumPy array: copied, so that later changes to it do not show
    return moved._array if on_host(device) else moved._buffer  # pyright: ignore[reportAttributeAccessIssue]


def _tensor(buffer: Any, type: TensorType, device: Device) -> Tensor:
    return HostTensor.of(buffer) if on_host(device) else DeviceTensor(buffer, type, device)


# -- control flow -------------------------------------------------------------------------------------------


def scan(body: Callable[[Any, Any], Any], state: Any, xs: Any, *, reverse: bool = False) -> tuple[Any, Any]:
    """A loop over time as one op: `state, y = body(state, x)` for each x along axis 0 of `xs`.

    Gives the last state, and the ys stacked along a new axis 0. `state` and `xs` may be nested; the state keeps its
    shapes and dtypes. Outside a trace it is run as one graph on the device of its tensors.
    """
    states, items = _tensors(state), _tensors(xs)
    if not items:
        raise ShapeError("scan wants at least one tensor to go along", hint="hetero.arange(steps), for a plain count")
    one_step = [Spec(_step_type(x)) for x in items]
    result: list[Any] = []

    def flat(**named: Any) -> list[Any]:
        values = list(named.values())
        out = body(tree.refill(state, values[: len(states)]), tree.refill(xs, values[len(states) :]))
        if not isinstance(out, tuple) or len(out) != 2:
            raise GraphError("scan: the body must return (state, y)")
        result.append(out)
        return [v for part in out for _, v in tree.leaves(part)]

    specs = [Spec(x._type) for x in states] + one_step
    graph, _, tracing = _record(flat, {f"in{i}": s for i, s in enumerate(specs)}, "body")
    out_state, out_y = result[0]
    captured = [Traced(r) for r in tracing.outside]
    made = apply(
        OPS["scan"], *states, *items, *captured, body=graph, carried=len(states), scanned=len(items), reverse=reverse
    )
    made = made if isinstance(made, tuple) else (made,)
    return tree.refill(out_state, made[: len(states)]), tree.refill(out_y, made[len(states) :])


def cond(predicate: Any, then: Callable[..., Any], otherwise: Callable[..., Any], *operands: Any) -> Any:
    """`then(*operands)` where the predicate, a bool of shape (), is true, else `otherwise(*operands)`.

    Both branches are recorded and must give the same shapes and dtypes; one runs.
    """
    if not isinstance(predicate, Tensor):
        return (then if predicate else otherwise)(*operands)
    given = [x for o in operands for x in _tensors(o)]
    branches = [_branch(fn, operands, given) for fn in (then, otherwise)]
    outer = list(dict.fromkeys(ref for _, _, tracing in branches for ref in tracing.outside))
    graphs = [_with_inputs(graph, tracing, len(given), outer) for graph, _, tracing in branches]
    made = apply(OPS["cond"], predicate, *given, *map(Traced, outer), then=graphs[0], otherwise=graphs[1])
    return tree.refill(branches[0][1], made if isinstance(made, tuple) else (made,))


def _branch(fn: Callable[..., Any], operands: tuple[Any, ...], given: list[Tensor]) -> tuple[Graph, Any, Tracing]:
    def flat(**named: Any) -> Any:
        return fn(*tree.refill(operands, list(named.values())))

    return _record(flat, {f"in{i}": Spec(x._type) for i, x in enumerate(given)}, "branch")


def _with_inputs(graph: Graph, tracing: Tracing, own: int, outer: Sequence[Ref]) -> Graph:
    """The branch with an input for every value that either branch closes over."""
    builder = Builder(graph.name, track=False)
    first = [builder.input(p.name, graph.types[p.value]) for p in graph.inputs[:own]]
    brought = {ref: builder.input(f"outer{k}", ref.type) for k, ref in enumerate(outer)}
    from hetero.graph.build import replay

    outs = replay(graph, builder, [*first, *(brought[ref] for ref in tracing.outside)])
    return builder.build({p.name: r for p, r in zip(graph.outputs, outs, strict=True)})


def _tensors(value: Any) -> list[Tensor]:
    """The leaves of a nesting, arrays and numbers made tensors."""
    return [x if isinstance(x, Tensor) else place(np.asarray(x), current_device()) for _, x in tree.leaves(value)]


def _step_type(x: Tensor) -> TensorType:
    if not x.ndim:
        raise ShapeError("scan goes along axis 0: it wants tensors of one dimension or more")
    return x._type.with_shape(x._type.known[1:])


__all__ = ["Array", "Jitted", "Spec", "Traced", "cond", "jit", "scan", "spec", "trace"]
