"""What a synapse of a network adds up, written out for event-driven code: weights by source and target."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any

import numpy as np

from hetero.errors import GraphError
from hetero.op import Array
from hetero.spiking.layers import Layer, Shape

MOST = 1 << 26  # synapses that a convolution is written out as


@dataclass(frozen=True, slots=True, eq=False)
class Read:
    """A value, an input's or a stage's output: of this step, of `late` steps before, or of so many for each element."""

    name: str
    late: int | Array = 0


@dataclass(frozen=True, slots=True, eq=False)
class Synapses:
    """Weights from one value: dense (targets, sources), or one for each pair of `source` and `target`.

    With a `delay` for each pair, up to `depth`, what is on its way lies in a line. What one step brings, all with one
    delay to one target, is shifted right by `shift` before it gets there.
    """

    read: Read
    sources: int
    weight: Array
    source: Array | None = None
    target: Array | None = None
    delay: Array | None = None
    depth: int = 0
    shift: int = 0


Rule = Callable[[Layer, Shape, Read], Synapses]


def written(layer: Layer, shape: Shape, read: Read) -> Synapses:
    """The synapses of a layer that reads values of `shape`; a GraphError for those that have no such form."""
    return RULES[layer.op](layer, shape, read)


def _flat(layer: Layer, shape: Shape) -> int:
    if len(shape) != 1:
        raise GraphError(f"{layer.name}: {layer.op} of {shape} has no event-driven form")
    return shape[0]


def _dense(layer: Layer, shape: Shape, read: Read) -> Synapses:
    return Synapses(read, _flat(layer, shape), layer.parameters["weight"])


def _sparse(layer: Layer, shape: Shape, read: Read) -> Synapses:
    p = layer.parameters
    return Synapses(read, _flat(layer, shape), p["weight"], p["source"], p["target"])


def _delayed(layer: Layer, shape: Shape, read: Read) -> Synapses:
    """One synapse for each weight that is not zero. Shifts to the left are done here, once: they are exact."""
    weight, delay = layer.parameters["weight"], layer.parameters["delay"]
    if delay.size and delay.min() < 0:
        raise GraphError(f"{layer.name}: a delay of {delay.min()} steps has no event-driven form")
    target, source = np.nonzero(weight)
    exponent = int(layer.attrs.get("exponent", 0))
    each = weight[target, source]
    each = each << exponent if exponent > 0 else each
    ends = source.astype(np.int32), target.astype(np.int32)
    depth = int(delay.max(initial=0))
    return Synapses(read, _flat(layer, shape), each, *ends, delay[target, source], depth, max(-exponent, 0))


def _conv(layer: Layer, shape: Shape, read: Read) -> Synapses:
    return _windows(layer, shape, read, layer.parameters["weight"], layer.attrs["groups"])


def _pool(layer: Layer, shape: Shape, read: Read) -> Synapses:
    """As a convolution of each channel alone; weights of one byte, that any network's sums can take."""
    return _windows(layer, shape, read, np.ones((shape[0], 1, *layer.attrs["kernel"]), np.int8), shape[0])


def _windows(layer: Layer, shape: Shape, read: Read, weight: Array, groups: int) -> Synapses:
    """One synapse for each product that a convolution adds."""
    a = layer.attrs
    if layer.size * prod(weight.shape[1:]) > MOST:
        raise GraphError(f"{layer.name}: too many synapses to write out, {layer.size * prod(weight.shape[1:])}")
    spatial, out = shape[1:], layer.shape[1:]
    dilations = a.get("dilations", (1,) * len(spatial))
    rows: list[tuple[Array, Array, Array]] = []
    places = np.indices(out).reshape(len(out), -1)
    per_out, per_in = weight.shape[0] // groups, weight.shape[1]
    for o, c in product(range(weight.shape[0]), range(per_in)):
        for k in np.ndindex(*weight.shape[2:]):
            sized = zip(places, a["strides"], a["pads_before"], k, dilations, strict=True)
            at = np.array([p * s - b + i * d for p, s, b, i, d in sized])
            inside = ((at >= 0) & (at < np.array(spatial)[:, None])).all(0)
            channel = o // per_out * per_in + c
            source = np.ravel_multi_index((np.full(inside.sum(), channel), *at[:, inside]), shape)
            target = np.ravel_multi_index((np.full(inside.sum(), o), *places[:, inside]), layer.shape)
            rows.append((np.full(inside.sum(), weight[(o, c, *k)]), source, target))
    w, source, target = (np.concatenate(column) for column in zip(*rows, strict=True))
    return Synapses(read, prod(shape), w, source.astype(np.int32), target.astype(np.int32))


RULES: dict[str, Rule] = {
    "synapse_dense": _dense, "synapse_sparse": _sparse, "synapse_delayed": _delayed, "synapse_conv": _conv,
    "synapse_dense_int8": _dense, "synapse_sparse_int8": _sparse, "synapse_conv_int8": _conv, "sum_pool": _pool,
}  # fmt: skip


def by_source(
    synapses: Synapses, size: int, slices: int, team: int, chunk: int, step: int
) -> tuple[Array, Array, Array]:
    """Sparse synapses by source, then slice of `chunk` targets, each cut in `team` parts, then delay, then target.

    Rows (sources * slices * team + 1,), targets from the start of their slice plus `step` for each step of delay, and
    weights. What one source sends to one target at one time is one synapse.
    """
    source, target, delay = synapses.source, synapses.target, synapses.delay
    assert source is not None
    assert target is not None
    width, parts, times = chunk // team, slices * team, synapses.depth + 1
    key = (source.astype(np.int64) * parts + target // width) * times + (0 if delay is None else delay)
    unique, where = np.unique(key * width + target % width, return_inverse=True)
    weight = np.zeros(len(unique), wide(synapses.weight.dtype))
    np.add.at(weight, where, synapses.weight)
    row, late, within = unique // (width * times), unique // width % times, unique % width
    rows = np.searchsorted(row, np.arange(synapses.sources * parts + 1))
    return rows.astype(np.int32), row % parts * width % chunk + within + late * step, weight


def wide(dtype: Any) -> Any:
    """In what weights are added: small integers as int32."""
    return np.promote_types(dtype, np.int32) if np.dtype(dtype).kind == "i" else dtype


def stored(weight: Array) -> Array:
    """Integer weights in as few bytes as hold them all."""
    if weight.dtype.kind != "i" or not weight.size:
        return weight
    low, high = int(weight.min()), int(weight.max())
    fits = (t for t in (np.int8, np.int16) if np.iinfo(t).min <= low and high <= np.iinfo(t).max)
    return weight.astype(next(fits, np.int32))
