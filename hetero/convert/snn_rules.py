"""How each op of a ReLU network becomes synapses or neurons: one rule an op, by name in `RULES`."""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import Any

import numpy as np

from hetero.convert.snn_layers import RULES, Flow, Rectified, RefusedError, Walk
from hetero.graph.ir import Node
from hetero.op import OPS, Array

# -- synapses -------------------------------------------------------------------------------------------------


def _weight(w: Walk, node: Node) -> Array:
    weight = w.constant(node.inputs[1])
    if weight is None:
        raise RefusedError(f"{node.op.name} with weights that are computed has no spiking form")
    return weight.astype(np.float64)


def _matmul(w: Walk, node: Node) -> Flow:
    """(n, k) x constant (k, m) -> (n, m)"""
    if node.inputs[0] not in w.flows:
        raise RefusedError("matmul with constants on the left has no spiking form; transpose it")
    weight, flow = _weight(w, node), w.flow(node.inputs[0])
    if weight.ndim != 2 or len(flow.shape) != 1:
        raise RefusedError("matmul of more than two axes has no spiking form; flatten first")
    return w.synapse(node, "synapse_dense", {"weight": weight.T * flow.scale}, {}, flow)


def _conv(w: Walk, node: Node) -> Flow:
    """Weights times the scales of the channels that they read."""
    weight = _weight(w, node)
    flow, scale = w.channelwise(w.flow(node.inputs[0]))
    groups = int(node.attrs["groups"])
    rows = scale.reshape(groups, 1, -1).repeat(weight.shape[0] // groups, axis=1)  # (groups, o / groups, c / groups)
    given = {"weight": weight * rows.reshape(*weight.shape[:2], *(1,) * (weight.ndim - 2))}
    if len(node.inputs) > 2:
        bias = w.constant(node.inputs[2])
        if bias is None:
            raise RefusedError("conv with a bias that is computed has no spiking form")
        given["bias"] = bias
    return w.synapse(node, "synapse_conv", given, dict(node.attrs), flow)


def _avg_pool(w: Walk, node: Node) -> Flow:
    """Sums of windows; the number of cells that count goes into the scale where it is not the same everywhere."""
    a = node.attrs
    if any(d != 1 for d in a["dilations"]):
        raise RefusedError("avg_pool with dilations has no spiking form")
    flow, scale = w.channelwise(w.flow(node.inputs[0]))
    one = np.ones((1, *flow.shape))
    mean = OPS["avg_pool"].reference(one, **OPS["avg_pool"].complete(a))[0]
    each = zip(mean.shape[1:], flow.shape[1:], a["kernel"], a["strides"], a["pads_before"], strict=True)
    after = tuple(max((n - 1) * s + k - x - b, 0) for n, x, k, s, b in each)
    attrs = {"kernel": a["kernel"], "strides": a["strides"], "pads_before": a["pads_before"], "pads_after": after}
    share = mean / OPS["sum_pool"].reference(one[0], **attrs, mean=False)  # 1 / cells that count
    whole = bool((share == 1 / prod(a["kernel"])).all())
    return _pooled(w, node, flow, scale, attrs | {"mean": whole}, np.ones(share.shape) if whole else share)


def _mean(w: Walk, node: Node) -> Flow:
    """The mean of all places: a pool as large as the sample, then flat if no axes are kept."""
    flow, scale = w.channelwise(w.flow(node.inputs[0]))
    rank = len(flow.shape) - 1
    if not rank or sorted(a % (rank + 2) for a in node.attrs["axes"]) != list(range(2, rank + 2)):
        raise RefusedError("mean over other axes than all places of a channel has no spiking form")
    none = (0,) * rank
    attrs = {"kernel": flow.shape[1:], "strides": (1,) * rank, "pads_before": none, "pads_after": none, "mean": True}
    made = _pooled(w, node, flow, scale, attrs, np.ones((flow.shape[0], *(1,) * rank)))
    return made if node.attrs["keepdims"] else _flat(w, made, node)


def _pooled(w: Walk, node: Node, flow: Flow, scale: Array, attrs: dict[str, Any], share: Array) -> Flow:
    name = w.add(node.name or "pool", "sum_pool", {}, attrs, flow.sources)
    return Flow((name,), share * scale.reshape(-1, *(1,) * (share.ndim - 1)))


def _reshape(w: Walk, node: Node) -> Flow:
    flow = w.flow(node.inputs[0])
    shape = w.shape(node.outputs[0])
    if shape == flow.shape:
        return flow
    if len(shape) != 1:
        raise RefusedError(f"reshape of {flow.shape} to {shape} has no spiking form; only flattening has")
    return _flat(w, flow, node)


def _flat(w: Walk, flow: Flow, node: Node) -> Flow:
    attrs = {"rank": len(flow.shape), "start": 0, "end": -1}
    name = w.add(node.name or "flatten", "flatten", {}, attrs, flow.sources)
    return Flow((name,), flow.scale.reshape(-1))


# -- scales and biases ----------------------------------------------------------------------------------------


def _sample(constant: Array, shape: tuple[int, ...]) -> Array:
    """A constant beside a batch, as one sample."""
    if constant.ndim > len(shape):
        if (constant != constant[:1]).any():
            raise RefusedError("a constant that differs between samples of a batch has no spiking form")
        constant = constant[0]
    try:
        return np.broadcast_to(constant.astype(np.float64), shape)
    except ValueError as e:
        raise RefusedError(f"a constant {constant.shape} makes {shape} wider, which has no spiking form") from e


def _split(w: Walk, node: Node) -> tuple[Flow, Array | None, bool]:
    """The flow, the constant beside it (None: another flow), and whether the flow comes first."""
    a, b = node.inputs
    first = a in w.flows
    flow = w.flow(a if first else b)
    constant = w.constant(b if first else a)
    return flow, None if constant is None else _sample(constant, flow.shape), first


def _add(w: Walk, node: Node) -> Flow:
    flow, constant, _ = _split(w, node)
    if constant is not None:
        return w.biased(flow, constant, node.name or "bias")
    left, right = (w.unit(w.flow(i)) for i in node.inputs)
    if left.shape != right.shape:
        raise RefusedError(f"add of {left.shape} and {right.shape} has no spiking form")
    return Flow((*left.sources, *right.sources), np.ones(left.shape))


def _subtract(w: Walk, node: Node) -> Flow:
    flow, constant, first = _split(w, node)
    if constant is None:
        right = w.flow(node.inputs[1])
        left, right = w.unit(w.flow(node.inputs[0])), w.unit(replace(right, scale=-right.scale))
        return Flow((*left.sources, *right.sources), np.ones(left.shape))
    if first:
        return w.biased(flow, -constant, node.name or "bias")
    return w.biased(replace(flow, scale=-flow.scale), constant, node.name or "bias")


def _times(w: Walk, node: Node) -> Flow:
    flow, constant, first = _split(w, node)
    divides = node.op.name == "divide"
    if constant is None or (divides and not first):
        raise RefusedError(f"{node.op.name} of two values that are computed has no spiking form")
    if divides and not constant.all():
        raise RefusedError("division by zero")
    return replace(flow, scale=flow.scale / constant if divides else flow.scale * constant, spikes=False, cap=np.inf)


def _negative(w: Walk, node: Node) -> Flow:
    flow = w.flow(node.inputs[0])
    return replace(flow, scale=-flow.scale, spikes=False, cap=np.inf)


def _batch_norm(w: Walk, node: Node) -> Flow:
    """factor = scale / sqrt(var + epsilon); x factor + (bias - mean factor)"""
    flow = w.flow(node.inputs[0])
    found = [w.constant(i) for i in node.inputs[1:]]
    if any(a is None for a in found):
        raise RefusedError("batch_norm with statistics that are computed has no spiking form; export it for inference")
    scale, bias, mean, var = (a.astype(np.float64) for a in found if a is not None)
    factor = scale / np.sqrt(var + node.attrs["epsilon"])
    wide = (-1, *(1,) * (len(flow.shape) - 1))
    scaled = replace(flow, scale=flow.scale * factor.reshape(wide), spikes=False, cap=np.inf)
    shift = np.broadcast_to((bias - mean * factor).reshape(wide), flow.shape)
    return w.biased(scaled, shift, node.name or "batch_norm")


def _same(w: Walk, node: Node) -> Flow:
    return w.flow(node.inputs[0])


def _cast(w: Walk, node: Node) -> Flow:
    if w.graph.types[node.outputs[0]].dtype.kind != "f":
        raise RefusedError("cast to whole numbers has no spiking form")
    return w.flow(node.inputs[0])


# -- neurons --------------------------------------------------------------------------------------------------


def _relu(w: Walk, node: Node) -> Flow:
    """Neurons that start half a threshold up, where their style says so: what they lack at the end is then as often too
    much as too little. Source: Bu, Ding, Yu, Huang, AAAI 2022, section 4."""
    flow = w.flow(node.inputs[0])
    if flow.spikes:
        return flow
    unit = w.unit(flow)
    made = Rectified(node.name or "relu", node.outputs[0], node.label, flow.cap)
    readers = w.graph.uses.get(node.outputs[0], ())
    if len(readers) == 1 and readers[0].op.name == "minimum":  # ReLU6: the neurons stand for the value that is cut
        cap = w.constant(next(i for i in readers[0].inputs if i != node.outputs[0]))
        if cap is not None and cap.size and cap.min() == cap.max():
            made = replace(made, value=readers[0].outputs[0], cap=float(cap.max()))
    headroom = w.style.headroom if made.cap == np.inf else 1.0  # a cap is the one rate that cannot be exceeded
    threshold = (headroom * w.thresholds(made, flow.shape)).astype(np.float32).astype(np.float64)  # as it is kept
    name = w.neurons(made.name, threshold, unit)
    w.rectified.append(replace(made, name=name))
    return Flow((name,), threshold * w.corrections.get(name, 1.0), spikes=True, cap=made.cap)


def _maximum(w: Walk, node: Node) -> Flow:
    _, constant, _ = _split(w, node)
    if constant is None or constant.any():
        raise RefusedError("maximum with anything but 0 has no spiking form; train with ReLU")
    return _relu(w, node)


def _minimum(w: Walk, node: Node) -> Flow:
    flow, constant, _ = _split(w, node)
    if constant is None or constant.max() != constant.min() or constant.max() <= 0:
        raise RefusedError("minimum with anything but one number above 0 has no spiking form")
    cap = float(constant.max())
    if flow.spikes and flow.cap > cap:
        raise RefusedError("minimum of a ReLU that others read too has no spiking form; give it a ReLU of its own")
    return flow if flow.spikes else replace(flow, cap=min(flow.cap, cap))


_TABLE = {
    "matmul": _matmul, "conv": _conv, "avg_pool": _avg_pool, "mean": _mean, "reshape": _reshape, "add": _add,
    "subtract": _subtract, "multiply": _times, "divide": _times, "negative": _negative, "batch_norm": _batch_norm,
    "positive": _same, "cast": _cast, "relu": _relu, "maximum": _maximum, "minimum": _minimum,
}  # fmt: skip
RULES.update(_TABLE)
