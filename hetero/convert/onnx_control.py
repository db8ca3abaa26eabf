"""Lowerings of If, Loop and Scan: inlined where the way is known, hetero's `cond` and `scan` where it is not."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hetero import dtype as dt
from hetero.convert import onnx_symbolic
from hetero.convert.onnx_call import Call, Made, Symbolic, Wait, is_symbolic, lowers
from hetero.convert.onnx_indexing import INTERNAL
from hetero.convert.onnx_late import attempt, postpone, unpack
from hetero.errors import HeteroError, ModelError
from hetero.graph.build import Builder, Ref, replay
from hetero.graph.ir import Graph, Node
from hetero.op import TensorType
from hetero.ops.late import Need

Ints = tuple[int, ...]
SHORT = 4  # loops of no more steps are unrolled: nothing is gained by a scan
MAX_VALUES = 200_000  # in one graph: loops inside one another multiply
CHUNK = 64  # steps of a long loop that are unrolled at once; the rest waits for the next stage


def inline(builder: Builder, body: Graph, refs: Sequence[Ref], symbolic: Symbolic) -> tuple[Ref, ...]:
    """The body's nodes put into `builder`, each lowered as far as its inputs are now known."""
    if len(builder.types) > MAX_VALUES:
        raise ModelError(f"the loops of the model make more than {MAX_VALUES} values when they are unrolled")

    def resolve(node: Node, inputs: tuple[Ref, ...]) -> Sequence[Ref] | None:
        if node.op.kind != "late":
            return None
        call = unpack(builder, node.attrs["payload"], inputs, symbolic)
        try:
            made = attempt(call)
        except HeteroError as e:
            raise e.at(f"{call.op} {call.name}") from None
        outs = builder.emit(node.op, inputs, node.attrs) if isinstance(made, Need) else made
        onnx_symbolic.note(call, tuple(outs))
        return outs

    return replay(body, builder, refs, resolve)


def typed(body: Graph, types: Sequence[TensorType | Ref]) -> tuple[Builder, list[Ref], list[Ref]]:
    """A builder that holds `body` for inputs of these types, its inputs and its outputs. A constant stays one."""
    builder = Builder(body.name, fold=True, track=False)
    inputs = [builder.input(f"in{i}", t.type if isinstance(t, Ref) else t) for i, t in enumerate(types)]
    values = [
        builder.share(t.known) if isinstance(t, Ref) and t.known is not None else x
        for t, x in zip(types, inputs, strict=True)
    ]
    return builder, inputs, list(inline(builder, body, values, {}))


def settled(refs: Sequence[Ref]) -> bool:
    """Every shape is a plain number."""
    return all(r.type.static for r in refs)


def fits(n: Call, name: str, inputs: int, outputs: int) -> None:
    """Refuse a body that does not take what the node gives it, or give what the node gives."""
    body: Graph = n.attrs[name]
    found = len(body.inputs) - len(n.outer(name)), len(body.outputs)
    n.only(found == (inputs, outputs), f"{name} takes {found[0]} and gives {found[1]}, wanted {inputs} and {outputs}")


# -- If -----------------------------------------------------------------------------------------------------


@lowers("If")
def _if(n: Call, condition: Ref, *, then_branch: Graph, else_branch: Graph) -> Made:
    """the branch, where the condition is known; `cond` where both give equal types; else it waits for the condition"""
    n.only(condition.type.size == 1, f"the condition has shape {condition.type.shape}")
    for name in ("then_branch", "else_branch"):
        fits(n, name, 0, len(n.outputs))
    known = condition.known
    if known is not None:
        name = "then_branch" if bool(known.ravel()[0]) else "else_branch"
        return inline(n.emit, n.attrs[name], n.outer(name), n.symbolic)
    if is_symbolic([r.type for r in n.refs]):
        raise Wait(0)
    try:
        then, otherwise = (_branch(n, name) for name in ("then_branch", "else_branch"))
    except HeteroError:  # a branch that is never taken may not even fit the shapes
        raise Wait(0) from None
    if list(then.output_types.values()) != list(otherwise.output_types.values()) or not then.static & otherwise.static:
        raise Wait(0)
    made = n.emit("cond", n.reshape(condition), *n.extra, then=then, otherwise=otherwise)
    return made


def _branch(n: Call, name: str) -> Graph:
    """One branch as a function of everything that either reads."""
    body: Graph = n.attrs[name]
    builder = Builder(body.name, fold=True, track=False)
    inputs = [builder.input(f"in{i}", r.type) for i, r in enumerate(n.extra)]
    values = [builder.share(r.known) if r.known is not None else x for r, x in zip(n.extra, inputs, strict=True)]
    return builder.build(inline(builder, body, [values[i] for i in n.captured.get(name, ())], {}))


# -- Loop ---------------------------------------------------------------------------------------------------


@lowers("Loop")
def _loop(n: Call, trips: Ref | None = None, go: Ref | None = None, *states: Ref, body: Graph) -> Made:
    """`scan` where every step has the same shapes and none can stop it; else unrolled, step by step, as far as known"""
    fits(n, "body", 2 + len(states), 1 + len(n.outputs))
    n.only(len(states) <= len(n.outputs), f"{len(states)} states, {len(n.outputs)} outputs")
    limit = None if trips is None else int(n.scalar(trips, "the trip count"))
    if go is not None and not bool(n.scalar(go, "the condition")):
        limit = 0
    outer = n.outer("body")
    if limit is not None and limit > SHORT:
        made = _as_scan(n, body, limit, states, outer)
        if made is not None:
            return made
    return _steps(n, body, limit, 0, list(states), [], outer)


@lowers("LoopOn", domain=INTERNAL)
def _loop_on(n: Call, go: Ref, *rest: Ref, body: Graph, limit: int, first: int, carried: int) -> Made:
    """what is left of a loop whose first steps have been unrolled"""
    so_far = list(rest[carried:])
    left = (0 if not bool(n.scalar(go, "the condition")) else None) if limit < 0 else limit
    if limit >= 0 and not bool(n.scalar(go, "the condition")):
        left = first
    return _steps(n, body, left, first, list(rest[:carried]), so_far, n.outer("body"))


def _steps(
    n: Call, body: Graph, limit: int | None, first: int, states: list[Ref], so_far: list[Ref], outer: Sequence[Ref]
) -> Made:
    """Unroll from step `first` on; `so_far` has what the steps before it gave, joined."""
    yields = len(body.outputs) - 1 - len(states)
    columns: list[list[Ref]] = [[x] for x in so_far] or [[] for _ in range(yields)]
    step = first
    while limit is None or step < limit:
        carried = len(states)
        made = inline(n.emit, body, [n.constant(np.int64(step)), n.constant(True), *states, *outer], n.symbolic)
        states = list(made[1 : 1 + carried])
        for column, y in zip(columns, made[1 + carried :], strict=True):
            column.append(stack(n, [y]))
        step += 1
        go = made[0]
        if go.known is not None and not bool(go.known.ravel()[0]):
            break
        if go.known is None or step - first >= CHUNK:
            return _wait(n, body, limit, step, go, states, [join(n, c) for c in columns], outer)
    if columns and not all(columns):
        columns = [[c] for c in _nothing(n, body, states, outer)]
    return [*states, *(join(n, c) for c in columns)]


def _wait(
    n: Call, body: Graph, limit: int | None, step: int, go: Ref, states: list[Ref], so_far: list[Ref],
    outer: Sequence[Ref],
) -> Made:  # fmt: skip
    """A late node for the steps from `step` on."""
    attrs = {"body": body, "limit": -1 if limit is None else limit, "first": step, "carried": len(states)}
    outputs = (True,) * (len(states) + len(so_far))
    rest = Call(
        n.emit, "LoopOn", INTERNAL, 1, (go, *states, *so_far), outputs, attrs, tuple(outer),
        {"body": tuple(range(len(outer)))}, n.name,
    )  # fmt: skip
    return postpone(rest, tuple(r.type.dtype.name for r in (*states, *so_far)))


def _nothing(n: Call, body: Graph, states: Sequence[Ref], outer: Sequence[Ref]) -> list[Ref]:
    """What a loop of no steps yields: the shapes of one step, none of them."""
    step = [TensorType((), dt.int64), TensorType((), dt.bool_)]
    _, _, outs = typed(body, [*step, *states, *outer])
    ys = outs[1 + len(states) :]
    n.only(all(y.type.shape is not None for y in ys), "a loop of no steps yields what has no known shape")
    return [n.filled((0, *y.type.known), 0, y.type.dtype) for y in ys]


def _as_scan(n: Call, body: Graph, trips: int, states: Sequence[Ref], outer: Sequence[Ref]) -> Made | None:
    """The loop as one `scan`, if nothing stops it early and its shapes stay."""
    if not settled((*states, *outer)):
        return None
    step = [TensorType((), dt.int64), TensorType((), dt.bool_)]
    try:
        builder, inputs, outs = typed(body, [*step, *(r.type for r in states), *outer])
    except HeteroError:
        return None  # unrolled, it may fit: a constant of one step may decide
    index, _, *rest = inputs
    carried = len(states)
    go, after = outs[0], outs[1 : 1 + carried]
    always = (go.known is not None and bool(go.known.ravel()[0])) or go.index == inputs[1].index
    same = all(a.type == s.type for a, s in zip(after, states, strict=True))
    if not (always and same and settled(outs)) or any(node.op.kind == "late" for node in builder.nodes):
        return None
    ports = {p.value: p for p in builder.inputs}
    builder.inputs[:] = [ports[r.index] for r in (*rest[:carried], index, *rest[carried:])]
    if any(inputs[1].index in node.inputs for node in builder.nodes):
        return None
    graph = builder.build(outs[1:])
    made = n.emit("scan", *states, n.arange(trips), *outer, body=graph, carried=carried, scanned=1)
    return (made,) if isinstance(made, Ref) else made


def stack(n: Call, xs: Sequence[Ref]) -> Ref:
    """x (...) -> (number of xs, ...); left for later while shapes are not known."""
    return _later(n, "Stack", xs)


def join(n: Call, xs: Sequence[Ref]) -> Ref:
    """(a, ...), (b, ...) -> (a + b, ...); left for later while shapes are not known."""
    return xs[0] if len(xs) == 1 else _later(n, "Join", xs)


def _later(n: Call, op: str, xs: Sequence[Ref]) -> Ref:
    call = Call(n.emit, op, INTERNAL, 1, tuple(xs), (True,), {}, name=n.name)
    made = attempt(call)
    return (postpone(call, (xs[0].type.dtype.name,)) if isinstance(made, Need) else made)[0]


@lowers("Stack", domain=INTERNAL)
def _stack(n: Call, *xs: Ref) -> Ref:
    """tensors of one shape along a new first axis"""
    parts = [n.reshape(x, 1, *x.type.known) for x in xs]
    return parts[0] if len(parts) == 1 else n.emit("concat", *parts, axis=0)


@lowers("Join", domain=INTERNAL)
def _join(n: Call, *xs: Ref) -> Ref:
    """tensors one behind the other along the first axis"""
    return n.emit("concat", *xs, axis=0)


# -- Scan ---------------------------------------------------------------------------------------------------


@lowers("Scan", since=9)
def _scan(
    n: Call, *inputs: Ref, body: Graph, num_scan_inputs: int, scan_input_axes: Ints | None = None,
    scan_input_directions: Ints | None = None, scan_output_axes: Ints | None = None,
    scan_output_directions: Ints | None = None,
) -> Made:  # fmt: skip
    """`scan` along axis 0; other axes are permuted, backward directions flipped"""
    carried = len(inputs) - num_scan_inputs
    yields = len(body.outputs) - carried
    n.only(carried >= 0 and num_scan_inputs >= 1 and yields >= 0, f"num_scan_inputs={num_scan_inputs}")
    fits(n, "body", len(inputs), len(n.outputs))
    states, outer = inputs[:carried], n.outer("body")
    if not settled((*inputs, *outer)):
        raise Wait
    xs = [
        _turned(
            n, x, _pick(n, scan_input_axes, i, num_scan_inputs), _pick(n, scan_input_directions, i, num_scan_inputs)
        )
        for i, x in enumerate(inputs[carried:])
    ]
    lengths = {x.type.known[0] for x in xs}
    n.only(len(lengths) == 1, f"the sequences have lengths {sorted(map(str, lengths))}")
    steps = [TensorType(x.type.known[1:], x.type.dtype) for x in xs]
    builder, _, outs = typed(body, [*(s.type for s in states), *steps, *outer])
    n.only(not any(node.op.kind == "late" for node in builder.nodes), "a node of the body waits for a value")
    made = n.emit("scan", *states, *xs, *outer, body=builder.build(outs), carried=carried, scanned=num_scan_inputs)
    made = (made,) if isinstance(made, Ref) else made
    ys = [
        _back(n, y, *(_pick(n, v, i, yields) for v in (scan_output_axes, scan_output_directions)))
        for i, y in enumerate(made[carried:])
    ]
    return [*made[:carried], *ys]


def _pick(n: Call, values: Ints | None, i: int, wanted: int) -> int:
    n.only(values is None or len(values) == wanted, f"{values} where {wanted} numbers are wanted")
    return values[i] if values else 0


def _turned(n: Call, x: Ref, axis: int, backward: int) -> Ref:
    """The sequence axis first, in the order of steps."""
    n.only(backward in (0, 1), f"direction {backward} is neither 0 nor 1")
    at, rank = n.axis(axis, x.type.rank), x.type.rank
    n.only(rank > 0, "a scalar has no sequence axis")
    front = n.permute(x, at, *(i for i in range(rank) if i != at))
    return n.flip(front, 0) if backward and n.shape(front)[0] else front


def _back(n: Call, y: Ref, axis: int, backward: int) -> Ref:
    """The sequence axis where the node wants it."""
    at, rank = n.axis(axis, y.type.rank), y.type.rank
    y = n.flip(y, 0) if backward and n.shape(y)[0] else y
    order = list(range(1, rank))
    return n.permute(y, *order[:at], 0, *order[at:])
