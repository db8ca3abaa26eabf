"""QDQ graphs as products of whole codes: `integer_products(graph)`. Optional, since it rounds otherwise than QDQ does.

A product of dequantised operands becomes one of their codes, with exact sums in int32, times both scales. The numbers
before it are the same; what changes is that sums are no longer rounded step by step. With k products in a sum, whose
sizes add up to A, the results differ by less than (k + 3) 2^-24 A.

Quantising moves before what only moves numbers, or keeps their order: reshape, permute, slice, concat, max_pool, relu.
That is exact, and leaves these ops in bytes. Codes that are dequantised and quantised again on one scale stay.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from hetero.graph.build import Builder, Ref, rewrite
from hetero.graph.ir import Graph, Node
from hetero.op import Array
from hetero.ops.quantize import bounds
from hetero.ops.quantize_products import BYTES

MOVES = ("reshape", "permute", "slice", "max_pool")


def integer_products(graph: Graph) -> Graph:
    """The graph with products of codes wherever both operands are dequantised bytes."""
    rewriting = _Rewriting({i: len(readers) for i, readers in graph.uses.items()}, {p.value for p in graph.outputs})
    return rewrite(graph, rewriting.rule)


@dataclass(frozen=True, slots=True)
class Coded:
    """An operand: x = (codes - zero) * scale, with one scale, or one for each place of an axis."""

    codes: Ref
    scale: Array
    zero: Ref
    axis: int

    @property
    def largest(self) -> int:
        """The size of the largest number that a code less its zero point can be."""
        low, high = bounds(self.codes.type.dtype)
        zeros, known = self.zero.known, self.codes.known
        if known is not None and zeros is not None and not zeros.any():
            return int(np.abs(known.astype(np.int32)).max(initial=0))
        if zeros is None:
            return 255
        return int(max(high - int(zeros.min()), int(zeros.max()) - low))


@dataclass(slots=True)
class _Rewriting:
    uses: dict[int, int]
    kept: set[int]
    makers: dict[int, Node] = field(default_factory=dict[int, Node])  # value of the new graph -> its node
    alone: set[int] = field(default_factory=set[int])  # values of the new graph that one node reads

    def rule(self, builder: Builder, node: Node, refs: tuple[Ref, ...]) -> Sequence[Ref] | None:
        attempt = RULES.get(node.op.name)
        made = attempt(self, builder, node, refs) if attempt else None
        outs = [made] if made is not None else list(builder.emit(node.op, refs, node.attrs))
        if builder.nodes and outs[0].index in builder.nodes[-1].outputs:
            self.makers.update(dict.fromkeys((o.index for o in outs), builder.nodes[-1]))
        if self.uses.get(node.outputs[0]) == 1 and node.outputs[0] not in self.kept:
            self.alone.add(outs[0].index)
        return outs

    def emit(self, builder: Builder, node: Node, refs: Sequence[Ref]) -> Ref:
        """The node with other inputs, known as a maker."""
        (out,) = builder.emit(node.op, refs, node.attrs)
        if builder.nodes and out.index in builder.nodes[-1].outputs:
            self.makers[out.index] = builder.nodes[-1]
        return out

    def operand(self, builder: Builder, ref: Ref) -> Coded | None:
        """Behind a dequantised value: its codes."""
        node = self.makers.get(ref.index)
        if node is None or node.op.name != "dequantize_linear" or node.attrs["block"]:
            return None
        codes, scale, *zero = (Ref(builder, i) for i in node.inputs)
        if codes.type.dtype not in BYTES or scale.known is None or scale.type.dtype != np.float32:
            return None
        given = zero[0] if zero else builder.constant(np.zeros((), codes.type.dtype))
        return Coded(codes, scale.known, given, node.attrs["axis"])


# -- products -----------------------------------------------------------------------------------------------


def _product(r: _Rewriting, builder: Builder, node: Node, refs: tuple[Ref, ...]) -> Ref | None:
    left, right = (r.operand(builder, x) for x in refs[:2])
    if left is None or right is None:
        return None
    return _conv(builder, node, left, right, refs[2:]) if node.op.name == "conv" else _matmul(builder, left, right)


def _zero(x: Coded) -> Ref | None:
    """The zero point as the op takes it, one number; None if there are several."""
    zero, known = x.zero, x.zero.known
    if zero.type.known == ():
        return zero
    if known is None or not known.size or (known != known.flat[0]).any():
        return None
    return zero.owner.constant(known.flat[0])


def _matmul(builder: Builder, a: Coded, b: Coded) -> Ref | None:
    """Scales of the rows of a, and of the columns of b"""
    rows, columns = a.codes.type.rank - 2, b.codes.type.rank - 1
    if (a.scale.ndim and a.axis != rows) or (b.scale.ndim and b.axis != columns):
        return None
    zeros = _zero(a), _zero(b)
    if zeros[0] is None or zeros[1] is None or not isinstance(a.codes.type.known[-1], int):
        return None
    term = a.largest * b.largest
    total = builder("matmul_integer", a.codes, b.codes, *zeros, term=term, total=_total(a, b, 0, rows + 1, columns - 1))
    left = a.scale.reshape(-1, 1).astype(np.float64) if a.scale.ndim else a.scale.astype(np.float64)
    return _scaled(builder, total, left * b.scale)


def _conv(builder: Builder, node: Node, x: Coded, w: Coded, bias: tuple[Ref, ...]) -> Ref | None:
    zeros = _zero(x), _zero(w)
    if x.scale.ndim or (w.scale.ndim and w.axis != 0) or zeros[0] is None or zeros[1] is None:
        return None
    bounded = {"term": x.largest * w.largest, "total": _total(x, w, None, None, None)}
    total = builder("conv_integer", x.codes, w.codes, *zeros, **node.attrs, **bounded)
    rank = x.codes.type.rank - 2
    each = w.scale.reshape(-1, *(1,) * rank) if w.scale.ndim else w.scale
    made = _scaled(builder, total, each.astype(np.float64) * x.scale)
    for b in bias:
        made = builder("add", made, builder("reshape", b, shape=(b.type.known[0], *(1,) * rank)))
    return made


def _scaled(builder: Builder, total: Ref, scale: Array) -> Ref:
    return builder("multiply", builder("cast", total, dtype="float32"), builder.constant(scale.astype(np.float32)))


def _total(a: Coded, b: Coded, start: int | None, a_sum: int | None, b_sum: int | None) -> int:
    """The largest that the sizes of the products of one sum can add up to; 0 where no weights are known."""
    for known, other, axis in ((b, a, b_sum), (a, b, a_sum)):
        codes, zeros = known.codes.known, known.zero.known
        if codes is None or zeros is None or zeros.any():
            continue
        sizes = np.abs(codes.astype(np.int64))
        sums = sizes.reshape(len(sizes), -1).sum(1) if axis is None else sizes.sum(axis)
        return int(sums.max(initial=0)) * other.largest
    return 0


# -- codes before moves -------------------------------------------------------------------------------------


def _quantize(r: _Rewriting, builder: Builder, node: Node, refs: tuple[Ref, ...]) -> Ref | None:
    x, scale, zero = refs
    if scale.type.known != () or scale.known is None or zero.known is None:
        return None
    return _coded(r, builder, node, x, scale, zero)


def _coded(r: _Rewriting, builder: Builder, node: Node, x: Ref, scale: Ref, zero: Ref) -> Ref | None:
    """The codes of x, if there is a better way to them than quantising it."""
    maker = r.makers.get(x.index)
    if maker is None:
        return None
    if maker.op.name == "dequantize_linear":
        return _same(builder, maker, scale, zero)
    if x.index not in r.alone or maker.op.name not in (*MOVES, "concat", "relu"):
        return None
    if zero.type.dtype not in BYTES:
        return None
    before = [_or_quantized(r, builder, node, Ref(builder, i), scale, zero) for i in maker.inputs]
    if maker.op.name != "relu":
        return r.emit(builder, maker, before)
    assert zero.known is not None
    lowest = int(zero.known) == bounds(zero.type.dtype)[0]  # then no code stands for less than 0
    return before[0] if lowest else builder("maximum", before[0], zero)


def _or_quantized(r: _Rewriting, builder: Builder, node: Node, x: Ref, scale: Ref, zero: Ref) -> Ref:
    found = _coded(r, builder, node, x, scale, zero)
    return r.emit(builder, node, (x, scale, zero)) if found is None else found


def _same(builder: Builder, maker: Node, scale: Ref, zero: Ref) -> Ref | None:
    """The codes that x was made of, if they are on the same scale."""
    codes, given, *zeros = (Ref(builder, i) for i in maker.inputs)
    if codes.type.dtype != zero.type.dtype or given.type.known != () or given.known is None:
        return None
    offset = zeros[0].known if zeros else np.zeros((), zero.type.dtype)
    same = offset is not None and given.known == scale.known and offset == zero.known
    return codes if same else None


RULES: dict[str, Callable[[_Rewriting, Builder, Node, tuple[Ref, ...]], Ref | None]] = {
    "conv": _product, "matmul": _product, "quantize_linear": _quantize,
}  # fmt: skip

__all__ = ["integer_products"]
