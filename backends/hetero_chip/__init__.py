"""Virtual neuromorphic chips: one device for each that hetero ships, and for the file that HETERO_CHIP names."""

from __future__ import annotations

import os
from collections import OrderedDict
from functools import cache
from threading import RLock

import numpy as np

from hetero.chip import Chip, Mapped, chips, load_chip, map_network
from hetero.errors import HeteroError
from hetero.graph.ir import Graph, Node
from hetero.op import Array, TensorType, Types
from hetero.spi import YES, Buffer, Device, Probe, Support
from hetero.spiking.read import network_of
from hetero_chip.executable import ChipExecutable

MOVES = frozenset({"broadcast_to", "permute", "reshape"})  # what stands around a loop, and moves data only
KEPT = 32  # mappings remembered


class ChipBackend:
    """Devices chip:0, chip:1, ... in the order of `hetero.chip.chips`. Nothing here is hardware: all is simulated."""

    name = "chip"

    def __init__(self) -> None:
        self._mapped: OrderedDict[tuple[int, int], tuple[Graph, Mapped | str]] = OrderedDict()
        self._lock = RLock()

    def probe(self) -> Probe:
        found = [Device("chip", k, _title(load_chip(n)), simulated=True) for k, n in enumerate(chips())]
        version = f"NumPy {np.__version__}"
        own = os.environ.get("HETERO_CHIP", "").strip()
        if not own:
            return Probe(tuple(found), version)
        try:
            found.append(Device("chip", len(found), _title(load_chip(_path(own))), simulated=True))
        except HeteroError as e:
            return Probe(tuple(found), version, warnings=(f"HETERO_CHIP: {e}",))
        return Probe(tuple(found), version)

    def support(self, node: Node, types: Types, outs: Types, device: Device) -> Support:
        """A loop that is a spiking network and fits the chip; and what only moves data.

        A loop is wanted as it was written even where it is refused, so that the reasons are those of its layers.
        """
        if node.op.name in MOVES:
            return YES
        if node.op.name != "scan":
            return Support(False, "a chip runs spiking networks: loops over time of synapses and neurons")
        made = self.mapped(node, device)
        return Support(not isinstance(made, str), made if isinstance(made, str) else "", whole=True)

    def mapped(self, loop: Node, device: Device) -> Mapped | str:
        """The network of a loop on a chip, or why it is not on it: every violated limit."""
        body: Graph = loop.attrs["body"]
        key = device.index, id(body)
        with self._lock:
            known = self._mapped.get(key)
        if known is not None and known[0] is body:
            return known[1]
        made = _map(loop, chip_of(device.index))
        with self._lock:
            self._mapped[key] = body, made  # the body is held, so that its id stays its own
            while len(self._mapped) > KEPT:
                self._mapped.popitem(last=False)
        return made

    def compile(self, graph: Graph, device: Device) -> ChipExecutable:
        loops = {n.outputs: self.mapped(n, device) for n in graph.nodes if n.op.name == "scan"}
        return ChipExecutable(graph, {k: m for k, m in loops.items() if isinstance(m, Mapped)})

    def from_host(self, array: Array, device: Device) -> Buffer:
        return np.array(array)

    def to_host(self, buffer: Buffer, type: TensorType, device: Device) -> Array:
        return buffer

    def synchronize(self, device: Device) -> None:
        """Nothing is ever under way: a run has ended when it returns."""


def _map(loop: Node, chip: Chip) -> Mapped | str:
    try:
        made = map_network(network_of(loop), chip)
    except HeteroError as e:
        return e.problem
    return made if made.fits else "; ".join(map(str, made.violations))


@cache
def chip_of(index: int) -> Chip:
    """The chip of a device."""
    names = chips()
    return load_chip(names[index] if index < len(names) else _path(os.environ["HETERO_CHIP"].strip()))


def _path(text: str) -> str:
    """A file, whatever it is called; not the name of a shipped chip, which is a device already."""
    return text if text.endswith(".toml") else f"{text}.toml"


def _title(chip: Chip) -> str:
    return f"{chip.title}, simulated"
