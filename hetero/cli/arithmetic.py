"""Which arithmetic the commands run a spiking network in, and inputs that fit it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import numpy as np
import typer

from hetero.dim import concrete
from hetero.errors import GraphError
from hetero.graph.ir import Graph
from hetero.op import Array, TensorType
from hetero.spiking.build import build
from hetero.spiking.network import Network
from hetero.spiking.quantize import quantize_loihi

Arithmetic = Annotated[
    str | None,
    typer.Option(help="Of a spiking network: float32 or loihi (default: loihi on lava, else as the model is)."),
]


def in_arithmetic(net: Network, devices: Sequence[str], asked: str | None) -> tuple[Network, str]:
    """The network in the arithmetic that is asked for, or that a device has only; and a word on how it came to it."""
    if asked not in (None, "float32", "loihi"):
        raise GraphError(f"there is no arithmetic {asked!r}", hint="float32 or loihi")
    integer = net.dtype.kind == "i"
    wanted = asked or ("loihi" if integer or any(n.partition(":")[0] == "lava" for n in devices) else "float32")
    if wanted == "float32" and integer:
        raise GraphError("the model is in loihi arithmetic already", hint="leave --arithmetic out")
    if wanted == "loihi" and not integer:
        made = quantize_loihi(net)
        return made.network, f"loihi arithmetic, made from float32 by quantize_loihi:\n{made}"
    return net, f"{wanted} arithmetic"


def rebuilt(net: Network, graph: Graph, record: bool = False) -> Graph:
    """The network as a graph, for any number of steps; one that learns for those of the graph that it was read from."""
    steps = "time"
    if any(layer.kind.learns for layer in net.layers.values()):
        steps = concrete(next(iter(graph.input_types.values())).known[:1], f"{net.name}, which learns,")[0]
    return build(net, steps=steps, record=record)


def fitting(feed: Mapping[str, Array], types: Mapping[str, TensorType]) -> dict[str, Array]:
    """Inputs in the dtypes that the graph wants, where that loses nothing."""
    return {name: _as(name, array, types[name].dtype) for name, array in feed.items()}


def _as(name: str, array: Array, dtype: Any) -> Array:
    made = np.asarray(array).astype(dtype)
    if not np.array_equal(made, array):
        raise GraphError(f"input {name} does not fit {dtype.name} without loss", hint="spikes are 0 and 1")
    return made
