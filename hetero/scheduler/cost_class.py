"""The class of each op: ops of one class reach about the same part of a device's peaks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod

from hetero.dim import concrete
from hetero.graph.ir import Graph, Node

CLASSES = (
    "matmul", "conv", "conv_depthwise", "conv_pointwise", "pool", "elementwise", "transcendental", "reduction",
    "movement", "gather", "sort", "normalise", "scan", "view", "other",
)  # fmt: skip

_TRANSCENDENTAL_FLOP = 8  # operations an element from which an elementwise op counts as a function of its own

_BY_NAME: Mapping[str, str] = {
    "matmul": "matmul", "conv_transpose": "conv", "deform_conv": "conv",
    "max_pool": "pool", "avg_pool": "pool", "max_pool_indices": "pool", "max_roi_pool": "pool", "roi_align": "gather",
    "reshape": "view", "bitcast": "view", "release": "view",
    "cumsum": "reduction", "cumprod": "reduction",
    "sort": "sort", "argsort": "sort", "topk": "sort", "unique": "sort", "searchsorted": "sort",
    "non_max_suppression": "sort",
    **dict.fromkeys(("softmax", "log_softmax", "layer_norm", "rms_norm", "batch_norm", "group_norm"), "normalise"),
    "scan": "scan", "cond": "scan",
    **dict.fromkeys(("sigmoid", "softplus", "silu", "gelu"), "transcendental"),
    "diagonal": "movement", "tril": "movement", "triu": "movement",
}  # fmt: skip
_BY_KIND: Mapping[str, str] = {
    "elementwise": "elementwise", "reduction": "reduction", "movement": "movement", "indexing": "gather",
    "random": "transcendental",
}  # fmt: skip


def op_class(graph: Graph, node: Node) -> str:
    """The class of a node; of a fused region that of its dearest ops."""
    special = _SPECIAL.get(node.op.name)
    if special is not None:
        return special(graph, node)
    name = _BY_NAME.get(node.op.name) or _BY_KIND.get(node.op.kind, "other")
    return "transcendental" if name == "elementwise" and transcendental(graph, node) else name


def transcendental(graph: Graph, node: Node) -> bool:
    """Whether an elementwise node takes many operations an element."""
    outs = graph.out_types(node)
    elements = sum(prod(concrete(t.known)) for t in outs)
    flop = node.op.cost(graph.in_types(node), outs, node.attrs).flop
    return node.op.elementwise and elements > 0 and flop >= _TRANSCENDENTAL_FLOP * elements


def _conv(graph: Graph, node: Node) -> str:
    """Depthwise: one channel to each group; pointwise: windows of one element."""
    _, each, *kernel = concrete(graph.types[node.inputs[1]].known)
    if int(node.attrs["groups"]) > 1 and each == 1:
        return "conv_depthwise"
    return "conv_pointwise" if prod(kernel) == 1 else "conv"


def _fused(graph: Graph, node: Node) -> str:
    """Rows that are reduced and mapped in one pass are what normalisations are."""
    if node.attrs["pattern"] == "rows":
        return "normalise"
    body: Graph = node.attrs["body"]
    return "transcendental" if any(transcendental(body, n) for n in body.nodes) else "elementwise"


_SPECIAL: Mapping[str, Callable[[Graph, Node], str]] = {"conv": _conv, "fused": _fused}
