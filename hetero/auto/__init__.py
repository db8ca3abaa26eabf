"""HETERO_BACKEND=auto: the scheduler over the local devices, as a backend.

Tensors live on the host. A graph is planned on a topology of the devices that are here; the candidates are each device
that takes the whole graph and, where the plan uses several, the plan. Which one runs is decided by measured runs, in
`hetero.auto.choice`; what was measured is kept on disk for the next process, in `hetero.auto.kept`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from hetero import registry
from hetero.auto.choice import Auto, Candidate
from hetero.auto.kept import Kept
from hetero.auto.tune import Trial, Tuned, tune
from hetero.compile import Program, compile
from hetero.errors import BackendError
from hetero.graph.ir import Graph, Node
from hetero.op import Array, TensorType, Types
from hetero.spi import YES, Buffer, Device, Probe, Support
from hetero.transfer import download, upload

__all__ = ["Auto", "AutoBackend", "Candidate", "Trial", "Tuned", "local_devices", "tune"]

NAME = "auto"
LITTLE = 1_000_000  # flops and elements of a graph that the host does before another device has begun


class AutoBackend:
    """All local devices as one. Its buffers are NumPy arrays."""

    name = NAME

    def probe(self) -> Probe:
        here = ", ".join(d.name for d in local_devices())
        return Probe((Device(NAME, 0, f"planned over {here}", host=True),), version="1")

    def support(self, node: Node, types: Types, outs: Types, device: Device) -> Support:
        """Everything, whole: each device it hands a graph to takes it apart as it needs."""
        return YES

    def compile(self, graph: Graph, device: Device) -> Auto:
        devices = local_devices()
        return Auto(graph, _candidates(graph, devices), Kept(graph, devices))

    def from_host(self, array: Array, device: Device) -> Buffer:
        return array

    def to_host(self, buffer: Buffer, type: TensorType, device: Device) -> Array:
        return buffer

    def synchronize(self, device: Device) -> None:
        """A run ends with its results on the host."""


def local_devices() -> list[Device]:
    """The host first, then every device of every installed backend that has one here; none that is simulated."""
    others = [n for n in registry.available() if n not in ("numpy", NAME)]
    return [*registry.devices("numpy"), *(d for n in others for d in registry.probe(n).devices if not d.simulated)]


def _candidates(graph: Graph, devices: Sequence[Device]) -> list[Candidate]:
    """The likely ones first: the first run goes to the first."""
    alone = [Candidate(d.name, lambda d=d: _on(graph, d)) for d in sorted(devices, key=_rank(graph))]
    return [*alone, Candidate("plan", lambda: _planned(graph, devices))] if len(devices) > 1 else alone


def _rank(graph: Graph) -> Callable[[Device], tuple[int, int]]:
    """Of a graph with little work the host is first; of others, runtimes on the host that are made for whole graphs."""
    costs = (n.op.cost(graph.in_types(n), graph.out_types(n), n.attrs) for n in graph.nodes)
    little = sum(c.flop + c.write for c in costs) < LITTLE

    def rank(device: Device) -> tuple[int, int]:
        reference = device.backend == "numpy"
        return (0 if reference else 1, 0) if little else (1 if reference else 0, 0 if device.host else 1)

    return rank


def _on(graph: Graph, device: Device) -> Callable[..., tuple[Array, ...]]:
    """The whole graph on one device, from host arrays to host arrays."""
    return _hosted(compile(graph, device, "error"), device)


def _hosted(program: Program, device: Device) -> Callable[..., tuple[Array, ...]]:
    if device.host:
        return program
    types = tuple(program.graph.output_types.values())

    def run(*arrays: Array) -> tuple[Array, ...]:
        outs = program(*[upload(a, device) for a in arrays])
        return tuple(download(b, t, device) for b, t in zip(outs, types, strict=True))

    return run


def _planned(graph: Graph, devices: Sequence[Device]) -> Callable[..., tuple[Array, ...]]:
    """The plan over all devices, as one program; refused where it uses one device alone."""
    from hetero.scheduler.local import local_plan, program_of

    plan = local_plan(graph, devices)
    used = {plan.placement[t] for t, ops in zip(plan.tasks.tasks, plan.ops, strict=True) if ops}
    if len(used) < 2:
        raise BackendError(f"the plan is {', '.join(used) or 'empty'} alone")
    return program_of(plan)
