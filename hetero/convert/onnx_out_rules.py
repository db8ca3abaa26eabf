"""What each op is in ONNX. One whose `Op.onnx` is an operator of the same inputs, without attributes, needs no rule."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from hetero import dtype as dt
from hetero.convert.onnx_write import RefusedError, Rule, Site, Writer, value_info
from hetero.dim import Dim
from hetero.graph.ir import Graph, Node

FAR = 2**62  # beyond any size


def rule_of(node: Node) -> Rule | None:
    """The rule of a node, if it has one."""
    op = node.op
    if op.name in RULES:
        return RULES[op.name]
    return _named if op.onnx and not op.attrs else None


def takes(node: Node, opset: int) -> bool:
    """Whether a node is written whole; else it is taken apart first, where it can be."""
    return rule_of(node) is not None and opset >= _SINCE.get(node.op.name, 0)


def _named(s: Site) -> str:
    if s.node.op.name in _SINCE:
        s.since(_SINCE[s.node.op.name], s.node.op.onnx)
    return s(s.node.op.onnx, *s.ins)


# Operators that came later than opset 13. Composite ops are taken apart before.
_SINCE = {
    "bitwise_and": 18, "bitwise_or": 18, "bitwise_xor": 18, "bitwise_invert": 18, "gelu": 20, "layer_norm": 17,
    "rms_norm": 23, "group_norm": 21, "tril": 14, "triu": 14,
}  # fmt: skip

# -- elementwise ----------------------------------------------------------------------------------------------


def _is_float(s: Site, k: int = 0) -> bool:
    return dt.is_float(s.types[k].dtype)


def _same(s: Site) -> str:
    return s("Identity", s.ins[0])


def _square(s: Site) -> str:
    return s("Mul", s.ins[0], s.ins[0])


def _rsqrt(s: Site) -> str:
    return s("Reciprocal", s("Sqrt", s.ins[0]))


def _log_by(base: float) -> Rule:
    def rule(s: Site) -> str:
        return s("Mul", s("Log", s.ins[0]), s.like(1 / np.log(base)))

    return rule


def _log1p(s: Site) -> str:
    """log(1 + x) x / ((1 + x) - 1): what rounding takes from 1 + x goes out again. Source: Higham, Accuracy and
    Stability of Numerical Algorithms, section 1.14.1."""
    (x,), one, zero = s.ins, s.like(1), s.like(0)
    u = s("Add", x, one)
    away, log = s("Sub", u, one), s("Log", u)
    none = s("Equal", away, zero)
    exact = s("Div", s("Mul", log, x), away)
    far = s("Equal", s("Abs", x), s.like(np.inf))
    return s("Where", none, x, s("Where", far, log, exact))


def _expm1(s: Site) -> str:
    """2 t / (1 - t) with t = tanh(x / 2) near 0, exp(x) - 1 elsewhere"""
    (x,), one = s.ins, s.like(1)
    t = s("Tanh", s("Mul", x, s.like(0.5)))
    near = s("Div", s("Add", t, t), s("Sub", one, t))
    return s("Where", s("Less", s("Abs", x), s.like(0.5)), near, s("Sub", s("Exp", x), one))


def _trunc(s: Site) -> str:
    if not _is_float(s):
        return _same(s)
    (x,) = s.ins
    return s("Where", s("Less", x, s.like(0)), s("Ceil", x), s("Floor", x))


def _rounding(name: str) -> Rule:
    def rule(s: Site) -> str:
        return s(name, s.ins[0]) if _is_float(s) else _same(s)

    return rule


def _never(s: Site) -> str:
    return s("Not", s("Equal", s.ins[0], s.ins[0]))


def _nan(s: Site) -> str:
    return s("IsNaN", s.ins[0]) if _is_float(s) else _never(s)


def _infinite(s: Site) -> str:
    return s("Equal", s("Abs", s.ins[0]), s.like(np.inf)) if _is_float(s) else _never(s)


def _isfinite(s: Site) -> str:
    return s("Less", s("Abs", s.ins[0]), s.like(np.inf)) if _is_float(s) else s("Equal", s.ins[0], s.ins[0])


def _negative_sign(s: Site, k: int) -> str:
    """Below 0, or -0: the sign of 1 / x tells"""
    x, zero = s.ins[k], s.like(0, k)
    below = s("Less", x, zero)
    return s("Or", below, s("Less", s("Reciprocal", x), zero)) if _is_float(s, k) else below


def _signbit(s: Site) -> str:
    return _negative_sign(s, 0)


def _copysign(s: Site) -> str:
    size = s("Abs", s.ins[0])
    return s("Where", _negative_sign(s, 1), s("Neg", size), size)


def _not_equal(s: Site) -> str:
    return s("Not", s("Equal", *s.ins))


def _remainder(s: Site) -> str:
    """The sign of the divisor, as Python has it; ONNX has that for integers only"""
    x, y = s.ins
    if not _is_float(s):
        return s("Mod", x, y)
    r = s("Mod", x, y, fmod=1)
    other = s("Xor", s("Less", r, s.like(0)), s("Less", y, s.like(0)))
    wrong = s("And", other, s("Not", s("Equal", r, s.like(0))))
    return s("Where", wrong, s("Add", r, y), r)


def _fmod(s: Site) -> str:
    return s("Mod", *s.ins, fmod=1)


def _floor_divide(s: Site) -> str:
    """Of floats from the remainder too: the quotient itself is rounded, and may round up to the next whole number"""
    x, y = s.ins
    whole = s("Div", s("Sub", x, _remainder(s)), y)
    if not _is_float(s):
        return whole
    bad = s("Equal", y, s.like(0))
    return s("Where", bad, s("Div", x, y), s("Round", whole))


def _left_shift(s: Site) -> str:
    if s.types[0].dtype.kind == "u":
        return s("BitShift", *s.ins, direction="LEFT")
    return s("Mul", s.ins[0], s("Pow", s.like(2), s.ins[1]))


def _right_shift(s: Site) -> str:
    """Rounded down, as the bits of a negative number go"""
    x, y = s.ins
    if s.types[0].dtype.kind == "u":
        return s("BitShift", x, y, direction="RIGHT")
    by = s("Pow", s.like(2), y)
    return s("Div", s("Sub", x, s("Mod", x, by)), by)


def _hypot(s: Site) -> str:
    """large sqrt(1 + (small / large)^2), which does not overflow"""
    a, b = (s("Abs", x) for x in s.ins)
    large, small = s("Max", a, b), s("Min", a, b)
    share = s("Where", s("Greater", large, s.like(0)), s("Div", small, large), s.like(0))
    return s("Mul", large, s("Sqrt", s("Add", s.like(1), s("Mul", share, share))))


def _logaddexp(s: Site) -> str:
    """max + softplus(min - max)"""
    large, small = s("Max", *s.ins), s("Min", *s.ins)
    off = s("Where", s("Equal", large, small), s.like(0), s("Sub", small, large))
    return s("Add", large, s("Softplus", off))


def _atan2(s: Site) -> str:
    """The angle of the smaller to the larger, which overflows nowhere, turned into the quadrant"""
    y, x = s.ins
    zero, pi = s.like(0), s.like(np.pi)
    ay, ax = s("Abs", y), s("Abs", x)
    steep = s("Greater", ay, ax)
    large, small = s("Where", steep, ay, ax), s("Where", steep, ax, ay)
    both = s("Equal", small, large)  # infinity by infinity, and 0 by 0, are no numbers
    share = s("Where", both, s("Where", s("Equal", large, zero), zero, s.like(1)), s("Div", small, large))
    angle = s("Atan", share)
    angle = s("Where", steep, s("Sub", s.like(np.pi / 2), angle), angle)
    angle = s("Where", _negative_sign(s, 1), s("Sub", pi, angle), angle)
    angle = s("Where", _negative_sign(s, 0), s("Neg", angle), angle)
    missing = s("Or", s("IsNaN", x), s("IsNaN", y))
    return s("Where", missing, s("Add", x, y), angle)


def _cast(s: Site) -> str:
    return s.cast(s.ins[0], s.outs[0].dtype)


# -- reductions -----------------------------------------------------------------------------------------------


def _reduce(name: str, since: int) -> Rule:
    """Axes are an attribute before opset `since`, and an input from then on."""

    def rule(s: Site) -> str:
        x = s.ins[0] if s.types[0].dtype == s.outs[0].dtype else s.cast(s.ins[0], s.outs[0].dtype)
        return _reduced(s, name, since, x)

    return rule


def _reduced(s: Site, name: str, since: int, x: str) -> str:
    axes, keep = [int(a) for a in s.attrs["axes"]], int(s.attrs["keepdims"])
    if not axes:
        return s("Identity", x)
    if s.opset < since:
        return s(name, x, axes=axes, keepdims=keep)
    return s(name, x, s.constant(axes), keepdims=keep)


def _any_all(name: str) -> Rule:
    def rule(s: Site) -> str:
        return s.cast(_reduced(s, name, 18, s.cast(s.cast(s.ins[0], dt.bool_), dt.int32)), dt.bool_)

    return rule


def _arg(name: str) -> Rule:
    def rule(s: Site) -> str:
        a = s.attrs
        return s(name, s.ins[0], axis=a["axis"], keepdims=int(a["keepdims"]), select_last_index=int(a["last"]))

    return rule


def _cumulative(s: Site) -> str:
    a = s.attrs
    flags = {"exclusive": int(a["exclusive"]), "reverse": int(a["reverse"])}
    return s("CumSum", s.ins[0], s.constant(a["axis"]), **flags)


# -- movement -------------------------------------------------------------------------------------------------


def _reshape(s: Site) -> str:
    shape = s.attrs["shape"]
    if any(n == 0 for n in shape if not isinstance(n, Dim)):
        s.since(14, "a reshape to no elements")
        return s("Reshape", s.ins[0], s.writer.shape(shape), allowzero=1)
    opened = [k for k, n in enumerate(shape) if isinstance(n, Dim)]
    if len(opened) == 1:  # the one that follows from the others
        return s("Reshape", s.ins[0], s.constant([-1 if k in opened else n for k, n in enumerate(shape)]))
    return s("Reshape", s.ins[0], s.writer.shape(shape))


def _permute(s: Site) -> str:
    return s("Transpose", s.ins[0], perm=[int(a) for a in s.attrs["axes"]])


def _expand(s: Site) -> str:
    return s("Expand", s.ins[0], s.writer.shape(s.attrs["shape"]))


def _concat(s: Site) -> str:
    return s("Concat", *s.ins, axis=s.attrs["axis"])


def _slice(s: Site) -> str:
    """Indices are not wrapped here and are in ONNX: an end before the first element is one far below."""
    a = s.attrs
    stops = [-FAR if not isinstance(n, Dim) and n < 0 else n for n in a["stops"]]
    given = [s.writer.shape(v) for v in (a["starts"], stops, range(len(stops)), a["steps"])]
    return s("Slice", s.ins[0], *given)


def _pad(s: Site) -> str:
    a = s.attrs
    if a["mode"] == "wrap":
        s.since(19, "a pad that wraps around")
    value = (s.like(a["value"]),) if a["mode"] == "constant" else ()
    return s("Pad", s.ins[0], s.writer.shape((*a["before"], *a["after"])), *value, mode=a["mode"])


def _triangle(upper: int) -> Rule:
    def rule(s: Site) -> str:
        return s("Trilu", s.ins[0], s.constant(s.attrs["k"]), upper=upper)

    return rule


# -- indexing -------------------------------------------------------------------------------------------------


def _index(s: Site, k: int) -> str:
    """Input k in a dtype that ONNX takes as indices."""
    return s.ins[k] if s.types[k].dtype == dt.int64 else s.cast(s.ins[k], dt.int64)


def _take(s: Site) -> str:
    return s("Gather", s.ins[0], _index(s, 1), axis=s.attrs["axis"])


def _stretched(s: Site, k: int, name: str, axis: int) -> str:
    """Input k, called `name`, with the sizes of the output but along one axis."""
    own = s.types[k].known
    wanted = tuple(own[i] if i == axis else n for i, n in enumerate(s.outs[0].known))
    return name if wanted == own else s("Expand", name, s.writer.shape(wanted))


def _take_along(s: Site) -> str:
    axis = s.attrs["axis"]
    return s("GatherElements", _stretched(s, 0, s.ins[0], axis), _stretched(s, 1, _index(s, 1), axis), axis=axis)


def _put_along(s: Site) -> str:
    x, _, updates = s.ins
    return s("ScatterElements", x, _index(s, 1), updates, axis=s.attrs["axis"], reduction=_reduction(s))


def _reduction(s: Site) -> str | None:
    how = s.attrs["reduction"]
    if how == "none":
        return None
    s.since(18 if how in ("max", "min") else 16, f"a scatter with {how}")
    return str(how)


def _gather_nd(s: Site) -> str:
    return s("GatherND", s.ins[0], _index(s, 1), batch_dims=s.attrs["batch_dims"])


def _scatter_nd(s: Site) -> str:
    return s("ScatterND", s.ins[0], _index(s, 1), s.ins[2], reduction=_reduction(s))


def _topk(s: Site) -> tuple[str, ...]:
    a = s.attrs
    k = s.writer.shape((a["k"],))
    return s.several("TopK", [s.ins[0], k], 2, axis=a["axis"], largest=int(a["largest"]), sorted=int(a["sorted"]))


def _sorted(which: int) -> Rule:
    """All elements, the largest or smallest first; equal ones in their order"""

    def rule(s: Site) -> str:
        axis = s.attrs["axis"]
        k = s.writer.shape((s.types[0].known[axis],))
        return s.several("TopK", [s.ins[0], k], 2, axis=axis, largest=int(s.attrs["descending"]), sorted=1)[which]

    return rule


def _unique(s: Site) -> tuple[str, ...]:
    axis = s.attrs["axis"]
    values, first, inverse, counts = s.several("Unique", s.ins, 4, axis=axis, sorted=1)
    if axis is None:  # ONNX has it flat
        inverse = s("Reshape", inverse, s.writer.shape(s.types[0].known))
    return values, first, inverse, counts


# -- layers ---------------------------------------------------------------------------------------------------


def _windows(s: Site) -> dict[str, Any]:
    a = s.attrs
    found = {"strides": list(a["strides"]), "pads": [*a["pads_before"], *a["pads_after"]]}
    return found | ({"dilations": list(a["dilations"])} if any(d != 1 for d in a["dilations"]) else {})


def _conv(s: Site) -> str:
    return s("Conv", *s.ins, group=s.attrs["groups"], **_windows(s))


def _conv_transpose(s: Site) -> str:
    a = s.attrs
    return s("ConvTranspose", *s.ins, group=a["groups"], output_padding=list(a["output_padding"]), **_windows(s))


def _max_pool(s: Site) -> str:
    return s("MaxPool", s.ins[0], kernel_shape=list(s.attrs["kernel"]), ceil_mode=int(s.attrs["ceil"]), **_windows(s))


def _max_pool_indices(s: Site) -> tuple[str, ...]:
    a = s.attrs
    return s.several(
        "MaxPool", s.ins, 2, kernel_shape=list(a["kernel"]), ceil_mode=int(a["ceil"]),
        storage_order=int(a["column_major"]), **_windows(s),
    )  # fmt: skip


def _avg_pool(s: Site) -> str:
    a, given = s.attrs, _windows(s)
    if "dilations" in given:
        s.since(19, "an average pool with dilations")
    return s(
        "AveragePool", s.ins[0], kernel_shape=list(a["kernel"]), ceil_mode=int(a["ceil"]),
        count_include_pad=int(a["count_include_pad"]), **given,
    )  # fmt: skip


def _with(name: str, *attributes: str, **names: str) -> Rule:
    """The operator with these attributes as they stand; `names` are called otherwise in ONNX."""

    def rule(s: Site) -> str:
        return s(name, *s.ins, **{a: s.attrs[a] for a in attributes}, **{n: s.attrs[a] for a, n in names.items()})

    return rule


def _roi_align(s: Site) -> str:
    a, x, rois = s.attrs, s.ins[0], s.ins[1]
    where: dict[str, Any] = {}
    if s.opset >= 16:
        where["coordinate_transformation_mode"] = "half_pixel" if a["half_pixel"] else "output_half_pixel"
    elif a["half_pixel"]:
        s.since(16, "roi_align with half a pixel")
    return s(
        "RoiAlign", x, rois, _index(s, 2), output_height=a["size"][0], output_width=a["size"][1],
        sampling_ratio=a["ratio"], spatial_scale=float(a["scale"]), mode=a["mode"], **where,
    )  # fmt: skip


def _max_roi_pool(s: Site) -> str:
    return s("MaxRoiPool", *s.ins, pooled_shape=list(s.attrs["size"]), spatial_scale=float(s.attrs["scale"]))


def _deform_conv(s: Site) -> str:
    x, w, offset, mask = s.ins
    a = s.attrs
    s.since(19, "a deformable convolution")
    return s("DeformConv", x, w, offset, "", mask, group=a["groups"], offset_group=a["offset_groups"], **_windows(s))


def _boxes(s: Site) -> str:
    a = s.attrs
    if s.types[0].dtype != dt.float32:
        raise RefusedError(f"boxes of {s.types[0].dtype.name}; ONNX has float32")
    least = () if a["least"] is None else (s.constant([a["least"]], "float32"),)
    return s(
        "NonMaxSuppression", *s.ins, s.constant([a["keep"]]), s.constant([a["overlap"]], "float32"), *least,
        center_point_box=int(a["centred"]),
    )  # fmt: skip


# -- control --------------------------------------------------------------------------------------------------


def _body(s: Site, graph: Graph, inputs: Sequence[str], name: str, own: int) -> Any:
    """A graph in the graph: its first `own` inputs are given by the operator, the others are values from outside."""
    from onnx import helper

    model = s.writer.model
    inner = Writer(model)
    inner.names = {p.value: model.fresh(p.name) if k < own else inputs[k] for k, p in enumerate(graph.inputs)}
    ports = [value_info(inner.names[p.value], graph.types[p.value]) for p in graph.inputs[:own]]
    outs: list[Any] = []
    for value, port in zip(inner.write(graph), graph.outputs, strict=True):
        given = inner.node("Identity", [value], 1, port.name or "out")[0]
        outs.append(value_info(given, graph.types[port.value]))
    return helper.make_graph(inner.nodes, name, ports, outs)


def _scan(s: Site) -> tuple[str, ...]:
    a, body = s.attrs, s.attrs["body"]
    own, backward = a["carried"] + a["scanned"], int(a["reverse"])
    shown = len(body.outputs) - a["carried"]
    return s.several(
        "Scan", s.ins[:own], len(s.outs), body=_body(s, body, s.ins, "step", own), num_scan_inputs=a["scanned"],
        scan_input_directions=[backward] * a["scanned"], scan_output_directions=[backward] * shown or None,
    )  # fmt: skip


def _cond(s: Site) -> tuple[str, ...]:
    then, otherwise = (_body(s, s.attrs[k], s.ins[1:], k, 0) for k in ("then", "otherwise"))
    return s.several("If", s.ins[:1], len(s.outs), then_branch=then, else_branch=otherwise)


def _fused(s: Site) -> tuple[str, ...]:
    """A region is its nodes."""
    body: Graph = s.attrs["body"]
    inner = Writer(s.writer.model)
    inner.names = {p.value: n for p, n in zip(body.inputs, s.ins, strict=True)}
    made = inner.write(body)
    s.writer.nodes += inner.nodes
    return tuple(made)


RULES: dict[str, Rule] = {
    "positive": _same, "conj": _same, "real": _same, "release": _same, "square": _square, "rsqrt": _rsqrt,
    "log2": _log_by(2), "log10": _log_by(10), "log1p": _log1p, "expm1": _expm1, "trunc": _trunc,
    "floor": _rounding("Floor"), "ceil": _rounding("Ceil"), "round": _rounding("Round"), "isnan": _nan,
    "isinf": _infinite, "isfinite": _isfinite, "signbit": _signbit, "copysign": _copysign, "not_equal": _not_equal,
    "remainder": _remainder, "fmod": _fmod, "floor_divide": _floor_divide, "left_shift": _left_shift,
    "right_shift": _right_shift, "hypot": _hypot, "logaddexp": _logaddexp, "atan2": _atan2, "cast": _cast,
    "sum": _reduce("ReduceSum", 13), "prod": _reduce("ReduceProd", 18), "max": _reduce("ReduceMax", 18),
    "min": _reduce("ReduceMin", 18), "mean": _reduce("ReduceMean", 18), "any": _any_all("ReduceMax"),
    "all": _any_all("ReduceMin"), "argmax": _arg("ArgMax"), "argmin": _arg("ArgMin"), "cumsum": _cumulative,
    "reshape": _reshape, "permute": _permute, "broadcast_to": _expand, "concat": _concat, "slice": _slice,
    "pad": _pad, "tril": _triangle(0), "triu": _triangle(1), "take": _take, "take_along_axis": _take_along,
    "put_along_axis": _put_along, "gather_nd": _gather_nd, "scatter_nd": _scatter_nd,
    "compress": _with("Compress", "axis"), "topk": _topk, "sort": _sorted(0), "argsort": _sorted(1),
    "unique": _unique, "conv": _conv, "conv_transpose": _conv_transpose, "max_pool": _max_pool,
    "max_pool_indices": _max_pool_indices, "avg_pool": _avg_pool, "softmax": _with("Softmax", "axis"),
    "log_softmax": _with("LogSoftmax", "axis"), "gelu": _with("Gelu", "approximate"),
    "layer_norm": _with("LayerNormalization", "axis", "epsilon"),
    "rms_norm": _with("RMSNormalization", "axis", "epsilon"), "batch_norm": _with("BatchNormalization", "epsilon"),
    "group_norm": _with("GroupNormalization", "epsilon", groups="num_groups"), "det": _with("Det"),
    "roi_align": _roi_align, "max_roi_pool": _max_roi_pool, "deform_conv": _deform_conv,
    "non_max_suppression": _boxes, "scan": _scan, "cond": _cond, "fused": _fused,
}  # fmt: skip
