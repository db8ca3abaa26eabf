"""Algebraic clean-up: a table from op name to rules. A rule gives the value that stands for the node, or None.

Only what leaves every result the same is here: `x + 0` is not, since -0 + 0 is 0.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np

from hetero import dtype as dt
from hetero.dim import broadcast
from hetero.graph.build import Builder, Ref, rewrite
from hetero.graph.ir import Graph, Node
from hetero.op import OPS, Op

Makers: TypeAlias = "dict[int, Node]"
Rule: TypeAlias = Callable[[Builder, Node, tuple[Ref, ...], Makers], "Ref | None"]


def simplify(graph: Graph) -> Graph:
    """One sweep of every rule over every node."""
    makers: Makers = {}

    def rule(builder: Builder, node: Node, refs: tuple[Ref, ...]) -> Sequence[Ref] | None:
        refs = _through_broadcasts(builder, node, refs, makers)
        for attempt in RULES.get(node.op.name, ()):
            found = attempt(builder, node, refs, makers)
            if found is not None:
                return (found,)
        outs = builder.emit(node.op, refs, node.attrs)
        if builder.nodes and outs[0].index in builder.nodes[-1].outputs:
            makers.update(dict.fromkeys((o.index for o in outs), builder.nodes[-1]))
        return outs

    return rewrite(graph, rule)


def _is(builder: Builder, ref: Ref, value: float) -> bool:
    """A constant with this value everywhere, the sign of zero included."""
    array = builder.known(ref)
    if array is None or not array.size or dt.kind(array.dtype) == "b":
        return False
    same = bool(np.all(array == np.asarray(value).astype(array.dtype)))
    if same and value == 0 and dt.kind(array.dtype) in "fc":
        return bool(np.all(np.signbit(np.real(array)) == np.signbit(value)))
    return same


def _neutral_right(value: float) -> Rule:
    """x op value is x"""

    def rule(builder: Builder, node: Node, refs: tuple[Ref, ...], makers: Makers) -> Ref | None:
        x, y = refs
        return x if _is(builder, y, value) and _covers(x, y) else None

    return rule


def _neutral_left(value: float) -> Rule:
    """value op x is x"""

    def rule(builder: Builder, node: Node, refs: tuple[Ref, ...], makers: Makers) -> Ref | None:
        x, y = refs
        return y if _is(builder, x, value) and _covers(y, x) else None

    return rule


def _covers(x: Ref, y: Ref) -> bool:
    """Whether the result has x's shape."""
    return broadcast(x.type.known, y.type.known) == x.type.shape


def _same_type(builder: Builder, node: Node, refs: tuple[Ref, ...], makers: Makers) -> Ref | None:
    """A reshape, broadcast or cast that changes nothing"""
    x = refs[0]
    (out,) = node.op.infer_types((x.type,), node.attrs)
    return x if x.type == out else None


def _whole_slice(builder: Builder, node: Node, refs: tuple[Ref, ...], makers: Makers) -> Ref | None:
    """A slice that takes everything"""
    taken = all(s == 1 for s in node.attrs["steps"]) and not any(node.attrs["starts"])
    return refs[0] if taken and tuple(node.attrs["stops"]) == refs[0].type.shape else None


def _no_pad(builder: Builder, node: Node, refs: tuple[Ref, ...], makers: Makers) -> Ref | None:
    """A pad by nothing"""
    return refs[0] if not any(node.attrs["before"]) and not any(node.attrs["after"]) else None


def _one_input(builder: Builder, node: Node, refs: tuple[Ref, ...], makers: Makers) -> Ref | None:
    """A concat of one, positive(x)"""
    return refs[0] if len(refs) == 1 else None


def _no_axes(builder: Builder, node: Node, refs: tuple[Ref, ...], makers: Makers) -> Ref | None:
    """A reduction over no axes of a dtype that it keeps"""
    return refs[0] if not node.attrs["axes"] else None


def _reshape_of_reshape(builder: Builder, node: Node, refs: tuple[Ref, ...], makers: Makers) -> Ref | None:
    """reshape(reshape(x)) is one reshape"""
    maker = makers.get(refs[0].index)
    if maker is None or maker.op.name != "reshape":
        return None
    return builder("reshape", Ref(builder, maker.inputs[0]), shape=node.attrs["shape"])


def _permute(builder: Builder, node: Node, refs: tuple[Ref, ...], makers: Makers) -> Ref | None:
    """permute(permute(x)) is one permute; the identity is none; one that moves only sizes of 1 is a reshape"""
    x, axes = refs[0], tuple(node.attrs["axes"])
    if axes == tuple(range(len(axes))):
        return x
    maker = makers.get(x.index)
    if maker is not None and maker.op.name == "permute":
        inner = maker.attrs["axes"]
        return builder("permute", Ref(builder, maker.inputs[0]), axes=tuple(inner[a] for a in axes))
    shape = x.type.known
    kept = [a for a in axes if shape[a] != 1]
    return builder("reshape", x, shape=tuple(shape[a] for a in axes)) if kept == sorted(kept) else None


def _twice(name: str) -> Rule:
    """f(f(x)) is x"""

    def rule(builder: Builder, node: Node, refs: tuple[Ref, ...], makers: Makers) -> Ref | None:
        maker = makers.get(refs[0].index)
        return Ref(builder, maker.inputs[0]) if maker is not None and maker.op.name == name else None

    return rule


def _square(builder: Builder, node: Node, refs: tuple[Ref, ...], makers: Makers) -> Ref | None:
    """x ** 2 is x * x, which rounds once where a library's power may not; x ** 1 is x"""
    x, y = refs
    if not _covers(x, y):
        return None
    if _is(builder, y, 1):
        return x
    return builder("multiply", x, x) if _is(builder, y, 2) and dt.kind(x.type.dtype) != "c" else None


def _where(builder: Builder, node: Node, refs: tuple[Ref, ...], makers: Makers) -> Ref | None:
    """where(constant, x, y) is one of them"""
    condition = builder.known(refs[0])
    if condition is None or not condition.size or not (condition.all() or not condition.any()):
        return None
    chosen = refs[1] if condition.all() else refs[2]
    return chosen if chosen.type.shape == broadcast(*(r.type.known for r in refs)) else None


def _keep_dims(builder: Builder, node: Node, refs: tuple[Ref, ...], makers: Makers) -> Ref | None:
    """A reduction drops its axes by a reshape afterwards, so that fusion meets one form only"""
    if node.attrs["keepdims"] or not node.attrs["axes"]:
        return None
    kept = builder(node.op, refs[0], **(dict(node.attrs) | {"keepdims": True}))
    (out,) = node.op.infer_types((refs[0].type,), node.attrs)
    return builder("reshape", kept, shape=out.known)


def _through_broadcasts(builder: Builder, node: Node, refs: tuple[Ref, ...], makers: Makers) -> tuple[Ref, ...]:
    """Elementwise ops broadcast by themselves: an input's broadcast_to is dropped if the result stays as it was."""
    if not node.op.elementwise or len(refs) < 2:
        return refs
    whole = broadcast(*(r.type.known for r in refs))
    out = list(refs)
    for i, ref in enumerate(refs):
        maker = makers.get(ref.index)
        if maker is None or maker.op.name != "broadcast_to":
            continue
        source = Ref(builder, maker.inputs[0])
        others = [r.type.known for j, r in enumerate(out) if j != i]
        if broadcast(source.type.known, *others) == whole:
            out[i] = source
    return tuple(out)


def _sink(builder: Builder, node: Node, refs: tuple[Ref, ...], makers: Makers) -> Ref | None:
    """f(move(x), move(y), scalar) is move(f(x, y, scalar)): moves meet, cancel, and leave fusion free

    `move` is a broadcast, which then has less to compute, or the reshape that a reduction leaves behind.
    """
    moved = {
        ref.index: makers[ref.index] for ref in refs if ref.index in makers and _movable(builder, makers[ref.index])
    }
    forms = {(m.op.name, builder.types[m.inputs[0]].shape, builder.types[m.outputs[0]].shape) for m in moved.values()}
    if len(forms) != 1 or any(ref.index not in moved and ref.type.shape != () for ref in refs):
        return None
    ((name, _, shape),) = forms
    sources = [Ref(builder, moved[r.index].inputs[0]) if r.index in moved else r for r in refs]
    return builder(name, builder.emit(node.op, sources, node.attrs)[0], shape=shape)


def _movable(builder: Builder, maker: Node) -> bool:
    """A broadcast, or a reshape from (..., 1)."""
    source = builder.types[maker.inputs[0]].known
    return maker.op.name == "broadcast_to" or (maker.op.name == "reshape" and len(source) > 1 and source[-1] == 1)


_TABLE: dict[str, tuple[Rule, ...]] = {
    "add": (_neutral_right(-0.0), _neutral_left(-0.0)),
    "subtract": (_neutral_right(0),),
    "multiply": (_neutral_right(1), _neutral_left(1)),
    "divide": (_neutral_right(1),),
    "power": (_square,),
    "where": (_where,),
    "positive": (_one_input,),
    "negative": (_twice("negative"),),
    "logical_not": (_twice("logical_not"),),
    "bitwise_invert": (_twice("bitwise_invert"),),
    "reshape": (_same_type, _reshape_of_reshape, _same_type),
    "broadcast_to": (_same_type,),
    "cast": (_same_type,),
    "permute": (_permute,),
    "slice": (_whole_slice,),
    "pad": (_no_pad,),
    "concat": (_one_input,),
}
_REDUCE: tuple[Rule, ...] = (_no_axes, _keep_dims)


def _rules(op: Op) -> tuple[Rule, ...]:
    if op.kind == "reduction" and "axes" in op.attrs and not op.composite:
        return _REDUCE
    return (*_TABLE.get(op.name, ()), _sink) if op.elementwise else _TABLE.get(op.name, ())


RULES = {op.name: _rules(op) for op in OPS.values()}
