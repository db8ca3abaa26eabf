"""The work of one node, or of one fused group: what it computes and moves, without saying on what device.

Classes are paths from general to special, `conv.product.t64`: a profile may have rows for any beginning of one.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from math import prod

from hetero.chip.energy import Events
from hetero.dim import concrete
from hetero.graph.ir import Graph, Node
from hetero.op import Cost, TensorType, Types
from hetero.profile.quantity import Interval
from hetero.scheduler.cost_class import op_class
from hetero.scheduler.cost_default import Activity
from hetero.scheduler.cost_parts import Pass, split

# Bits of an element, for formats of hardware that NumPy has no dtype for too.
BITS = {
    "bool": 8, "int2": 2, "uint2": 2, "int4": 4, "uint4": 4, "float4_e2m1fn": 4, "float6": 6, "int8": 8, "uint8": 8,
    "float8_e4m3fn": 8, "float8_e4m3fnuz": 8, "float8_e5m2": 8, "float8_e5m2fnuz": 8, "float8_e8m0fnu": 8,
    "int16": 16, "uint16": 16, "float16": 16, "bfloat16": 16, "int32": 32, "uint32": 32, "float32": 32,
    "tfloat32": 32, "int64": 64, "uint64": 64, "float64": 64, "complex64": 64, "complex128": 128, "cfloat8": 16,
    "cfloat16": 32,
}  # fmt: skip
COMPLEX_OPS = 4  # real operations in one of complex numbers, about


@dataclass(frozen=True, slots=True)
class Work:
    """What one node does. `parts`: the same work pass by pass, for devices whose profile has rows for these passes."""

    op_class: str
    dtype: str
    whole: Pass
    parts: tuple[Pass, ...] = ()
    label: str = field(default="", compare=False)
    events: Interval | float = 0.0  # synaptic events, all time steps together
    neuron_updates: float = 0.0
    steps: float = 0.0  # time steps, of all samples
    idle_updates: Interval | float = 0.0  # of those, with nothing to do
    spikes: Interval | float = 0.0
    hops: Interval | float = 0.0
    activity: Activity | None = None  # that these counts are for
    on_chip: tuple[Events, Events, Events] | None = None  # the same on a certain chip, at low, mid and high activity

    @property
    def op(self) -> float:
        return self.whole.op

    @property
    def read_byte(self) -> float:
        return self.whole.read_byte

    @property
    def write_byte(self) -> float:
        return self.whole.write_byte

    @property
    def weight_byte(self) -> float:
        return self.whole.weight_byte

    @property
    def spiking(self) -> bool:
        """Whether the work is events and neuron updates."""
        return self.steps > 0

    def as_dtype(self, dtype: str) -> Work:
        """The same work with its floats in another format."""
        if dtype == self.dtype or exact(self.dtype):
            return self
        ratio = BITS[dtype] / BITS[self.dtype]
        return replace(
            self, dtype=dtype, whole=_scaled(self.whole, ratio), parts=tuple(_scaled(p, ratio) for p in self.parts)
        )


def exact(dtype: str) -> bool:
    """Integers and truth values, which are never computed in another dtype."""
    return dtype.startswith(("int", "uint", "bool"))


def _scaled(p: Pass, ratio: float) -> Pass:
    return replace(p, read_byte=p.read_byte * ratio, write_byte=p.write_byte * ratio, weight_byte=p.weight_byte * ratio)


def work_of(graph: Graph, node: Node) -> Work:
    """The work of a node of a static graph; of a fused region with the traffic at its border only."""
    types, outs = graph.in_types(node), graph.out_types(node)
    cost = node.op.cost(types, outs, node.attrs)
    name = op_class(graph, node)
    dtype = work_dtype(types, outs)
    weights = float(sum(graph.types[i].nbytes for i in dict.fromkeys(node.inputs) if i in graph.constants))
    if "body" in node.attrs:
        weights += float(sum(a.nbytes for a in node.attrs["body"].constants.values()))
    op = float(cost.flop) * (COMPLEX_OPS if dtype.startswith("complex") else 1)
    read, write = _traffic(node, types, outs, cost, weights)
    whole = Pass(name, op, read, write, weights, times=0.0 if name == "view" else 1.0)
    whole, parts = split(graph, node, name, whole)
    return Work(name, dtype, whole, parts, node.label)


def work_dtype(types: Types, outs: Types) -> str:
    """The dtype that decides the speed: of the output, or of the first input where that is only true or false."""
    every = [t.dtype for t in (*outs, *types)]
    numbers = [d for d in every if d.kind not in "b"]
    floats = [d for d in numbers if d.kind not in "iu"]
    return (floats or numbers or every)[0].name


def _traffic(node: Node, types: Types, outs: Types, cost: Cost, weights: float) -> tuple[float, float]:
    """Bytes read beside the constants, and written. An op that counts fewer elements than its types hold (a gather
    from a large table, a view) touches only these."""
    inside = float(sum(t.nbytes for t in types))
    made = float(sum(t.nbytes for t in outs))
    elements_in, elements_out = sum(_size(t) for t in types), sum(_size(t) for t in outs)
    read = inside * min(1.0, cost.read / elements_in) if elements_in else 0.0
    write = made * min(1.0, cost.write / elements_out) if elements_out else 0.0
    return max(read - weights, 0.0), write


def _size(t: TensorType) -> int:
    return prod(concrete(t.known))


__all__ = ["BITS", "Pass", "Work", "exact", "op_class", "work_dtype", "work_of"]
