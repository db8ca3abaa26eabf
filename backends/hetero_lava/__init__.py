"""The Lava backend: whole spiking networks in Loihi's arithmetic, on Lava's bit-accurate models.

Lava wants Python 3.10 and stops for ever where a model of it raises, so it runs in a worker: a process of its own, on
the Python that has Lava, with a deadline.
"""

from __future__ import annotations

from threading import RLock

from hetero.errors import BackendError
from hetero.graph.ir import Graph, Node
from hetero.op import Array, TensorType, Types
from hetero.spi import YES, Buffer, Device, Probe, Support
from hetero_lava.client import Client
from hetero_lava.executable import LavaExecutable, steps_of
from hetero_lava.find import FIX, VERSION, Interpreter, find
from hetero_lava.inprocess import InProcess, in_process
from hetero_lava.lowering import RefusedError, lower

__all__ = ["LavaBackend"]

AROUND = ("broadcast_to",)  # what `hetero.spiking.build.build` puts before a loop: the states at the start


class LavaBackend:
    """One device, Lava's simulation of Loihi. Buffers are NumPy arrays."""

    name = "lava"

    def __init__(self) -> None:
        self._clients: dict[Interpreter, Client | InProcess] = {}
        self._lock = RLock()

    def probe(self) -> Probe:
        try:
            found = find()
        except BackendError as e:
            return Probe(reason=e.problem, fix=e.hint)
        except Exception as e:  # a probe never raises
            return Probe(reason=f"looking for Lava's Python failed: {e!r}", fix=FIX)
        said = f"Lava {found.lava} on Python {found.python}, bit-accurate simulation of Loihi: {found.path}"
        other = f"Lava {found.lava} was never compared with hetero's arithmetic, {VERSION} was"
        device = Device("lava", 0, said, host=True, simulated=True)
        return Probe((device,), version=f"lava-nc {found.lava}", warnings=(other,) * (found.lava != VERSION))

    def support(self, node: Node, types: Types, outs: Types, device: Device) -> Support:
        """Loops of Loihi's neurons, whole, and the zeros that they start with."""
        if node.op.name in AROUND:
            return YES
        if node.op.name != "scan":
            return Support(False, f"lava runs loops of spiking layers, not {node.op.name}")
        try:
            lower(node, steps_of(node, types))
        except RefusedError as e:
            return Support(False, str(e), whole=True)  # as it was written, so that the reason is still this one
        return Support(True, whole=True)

    def compile(self, graph: Graph, device: Device) -> LavaExecutable:
        return LavaExecutable(graph, self.client().call)

    def from_host(self, array: Array, device: Device) -> Buffer:
        """The array itself when it is read-only, else a copy."""
        return array.copy() if array.flags.writeable else array

    def to_host(self, buffer: Buffer, type: TensorType, device: Device) -> Array:
        return buffer

    def synchronize(self, device: Device) -> None:
        """Nothing is ever under way: a call ends with its results."""

    def client(self) -> Client | InProcess:
        """The worker of the Python that has Lava; with HETERO_LAVA_INPROCESS=1 this very process."""
        found = find()
        with self._lock:
            if found not in self._clients:
                self._clients[found] = InProcess() if in_process() else Client(found)
            return self._clients[found]
