"""What each op is in ONNX. One whose `Op.onnx` is an operator of the same inputs, without attributes, needs no rule."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hetero import dtype as dt
from hetero.convert.onnx_out_math import MATH
from hetero.convert.onnx_write import RefusedError, Rule, Site, Writer, value_info
from hetero.dim import Dim, Shape, prod
from hetero.graph.ir import Graph, Node

FAR = 2**62  # beyond any size


def rule_of(node: Node) -> Rule | None:
    """The rule of a node, if it has one."""
    op = node.op
    if op.name in RULES:
        return RULES[op.name] if len(node.inputs) <= _MOST_INPUTS.get(op.name, len(node.inputs)) else None
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
    "rms_norm": 23, "group_norm": 21, "tril": 14, "triu": 14, "attention": 23,
}  # fmt: skip

# With more inputs an operator means something else. ONNX leaves open what a query gets that its mask lets see nothing.
_MOST_INPUTS = {"attention": 3}

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


def _attention(s: Site) -> str:
    """ONNX has (batch, heads, n, d): other leading axes become these two, and again what they were"""
    a, given = s.attrs, {} if s.attrs["scale"] is None else {"scale": float(s.attrs["scale"])}
    if s.types[0].rank == 4:
        return s("Attention", *s.ins, is_causal=int(a["causal"]), **given)
    ins = [s("Reshape", n, s.writer.shape(_four(t.known)), allowzero=1) for n, t in zip(s.ins, s.types, strict=True)]
    made = s("Attention", *ins, is_causal=int(a["causal"]), **given)
    return s("Reshape", made, s.writer.shape(s.outs[0].known), allowzero=1)


def _four(shape: Shape) -> Shape:
    """(*b, n, d) -> (1, prod(b), n, d)"""
    return (1, prod(shape[:-2]), *shape[-2:])


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


# -- quantisation ----------------------------------------------------------------------------------------------


def _codes(name: str) -> Rule:
    """Opset 13 has bytes, and int32 where they come from; 19 scales of 16 bits; 21 the other codes, and blocks."""

    def rule(s: Site) -> str:
        code = s.types[-1].dtype if len(s.types) == 3 else s.types[0].dtype
        if code.name not in ("int8", "uint8", "int32"):
            s.since(25 if code.name in ("int2", "uint2") else 21, f"{name} with {code.name}")
        if s.types[1].dtype != dt.float32:
            s.since(19, f"{name} with a scale of {s.types[1].dtype.name}")
        block = s.attrs["block"]
        if block:
            s.since(21, f"{name} in blocks")
        axis = s.attrs["axis"] if s.types[1].rank else None
        return s(name, *s.ins, axis=axis, block_size=block or None)

    return rule


def _matmul_integer(s: Site) -> str:
    return s("MatMulInteger", *s.ins)


def _conv_integer(s: Site) -> str:
    return s("ConvInteger", *s.ins, group=s.attrs["groups"], **_windows(s))


# -- control --------------------------------------------------------------------------------------------------


def _body(s: Site, graph: Graph, inputs: Sequence[str], name: str, own: int) -> Any:
    """A graph in the graph: its first `own` inputs are given by the operator, the others are values from outside."""
    from onnx import helper

    model = s.writer.model
    graph, inner = model.plain(graph), Writer(model)
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
    body = s.writer.model.plain(s.attrs["body"])
    inner = Writer(s.writer.model)
    inner.names = {p.value: n for p, n in zip(body.inputs, s.ins, strict=True)}
    made = inner.write(body)
    s.writer.nodes += inner.nodes
    return tuple(made)


RULES: dict[str, Rule] = MATH | {
    "sum": _reduce("ReduceSum", 13), "prod": _reduce("ReduceProd", 18), "max": _reduce("ReduceMax", 18),
    "min": _reduce("ReduceMin", 18), "mean": _reduce("ReduceMean", 18), "any": _any_all("ReduceMax"),
    "all": _any_all("ReduceMin"), "argmax": _arg("ArgMax"), "argmin": _arg("ArgMin"), "cumsum": _cumulative,
    "reshape": _reshape, "permute": _permute, "broadcast_to": _expand, "concat": _concat, "slice": _slice, "pad": _pad,
    "tril": _triangle(0), "triu": _triangle(1), "take": _take, "take_along_axis": _take_along,
    "put_along_axis": _put_along, "gather_nd": _gather_nd, "scatter_nd": _scatter_nd,
    "compress": _with("Compress", "axis"), "topk": _topk, "sort": _sorted(0), "argsort": _sorted(1), "unique": _unique,
    "conv": _conv, "conv_transpose": _conv_transpose, "max_pool": _max_pool, "max_pool_indices": _max_pool_indices,
    "avg_pool": _avg_pool, "softmax": _with("Softmax", "axis"), "log_softmax": _with("LogSoftmax", "axis"),
    "gelu": _with("Gelu", "approximate"), "layer_norm": _with("LayerNormalization", "axis", "epsilon"),
    "rms_norm": _with("RMSNormalization", "axis", "epsilon"), "batch_norm": _with("BatchNormalization", "epsilon"),
    "group_norm": _with("GroupNormalization", "epsilon", groups="num_groups"), "det": _with("Det"),
    "roi_align": _roi_align, "max_roi_pool": _max_roi_pool, "deform_conv": _deform_conv, "non_max_suppression": _boxes,
    "quantize_linear": _codes("QuantizeLinear"), "dequantize_linear": _codes("DequantizeLinear"),
    "matmul_integer": _matmul_integer, "conv_integer": _conv_integer,
    "attention": _attention, "scan": _scan, "cond": _cond, "fused": _fused,
}  # fmt: skip
