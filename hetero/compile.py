"""From a static graph to something that runs: optimise, take composites apart, split by device, compile.

A node that the device refuses goes to the host, if HETERO_FALLBACK says so; otherwise every refusal is reported.
"""

from __future__ import annotations

import logging
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from hetero import config, counters, registry
from hetero.counters import Fallback
from hetero.errors import BackendError, DeviceError, KernelError, ShapeError
from hetero.graph.build import Builder, Ref, extract, rewrite
from hetero.graph.check import absurd_sizes
from hetero.graph.ir import Graph, Node
from hetero.graph.passes import primitive
from hetero.op import Array, Types
from hetero.spi import Backend, Buffer, Device, Executable, Missing, unsupported
from hetero.transfer import move

_log = logging.getLogger("hetero")


class FallbackWarning(UserWarning):
    """An op runs on another device than the one asked for."""


@dataclass(frozen=True, slots=True)
class Segment:
    """Part of a graph on one device. `takes` and `gives` are value numbers of the whole graph."""

    device: Device
    executable: Executable
    takes: tuple[int, ...]
    gives: tuple[int, ...]
    ops: Mapping[str, int]  # op -> nodes, as it runs


@dataclass(frozen=True, slots=True)
class Program:
    """A compiled graph. Call with buffers of `device`; gives buffers of `device`."""

    graph: Graph
    device: Device
    segments: tuple[Segment, ...]
    fallbacks: tuple[Fallback, ...] = field(default=())

    @property
    def peak_bytes(self) -> int:
        """The largest of the segments' peaks: each runs alone."""
        return max((s.executable.peak_bytes for s in self.segments), default=0)

    @property
    def direct(self) -> Callable[..., Buffer] | None:
        """Buffers in, the one buffer out, where the backend has that in one call, and nothing runs elsewhere."""
        if len(self.segments) != 1 or self.fallbacks or self.segments[0].device != self.device:
            return None
        return getattr(self.segments[0].executable, "direct", None)

    def summary(self) -> str:
        """One line: what runs where."""
        where = Counter({s.device.name: 0 for s in self.segments})
        for segment in self.segments:
            where[segment.device.name] += sum(segment.ops.values())
        ops = ", ".join(f"{n} ops on {device}" for device, n in where.items()) or "nothing to run"
        refused = f", {len(self.fallbacks)} of them as fallbacks" if self.fallbacks else ""
        return f"{self.graph.name}: {ops}{refused}; {self.peak_bytes} bytes at the peak"

    def __call__(self, *buffers: Buffer) -> tuple[Buffer, ...]:
        for fallback in self.fallbacks:
            counters.count_fallback(fallback)
        if len(self.segments) == 1 and self.segments[0].device == self.device:
            segment = self.segments[0]
            _count(segment)
            return segment.executable(*buffers)
        return self._run_segments(buffers)

    def _run_segments(self, buffers: Sequence[Buffer]) -> tuple[Buffer, ...]:
        held = _Held(self.graph.types)
        for port, buffer in zip(self.graph.inputs, buffers, strict=True):
            held.put(port.value, self.device, buffer)
        for i, array in self.graph.constants.items():
            held.put_constant(i, array)
        for segment in self.segments:
            _count(segment)
            outs = segment.executable(*[held.get(i, segment.device) for i in segment.takes])
            for i, buffer in zip(segment.gives, outs, strict=True):
                held.put(i, segment.device, buffer)
        return tuple(held.get(p.value, self.device) for p in self.graph.outputs)


def _count(segment: Segment) -> None:
    if segment.ops:
        counters.count_all(segment.ops, segment.device.name)


class _Held:
    """Buffers of values on the devices that have them; copies are made when another one asks."""

    def __init__(self, types: Types) -> None:
        self._types = types
        self._at: dict[int, dict[Device, Buffer]] = {}

    def put(self, value: int, device: Device, buffer: Buffer) -> None:
        self._at.setdefault(value, {})[device] = buffer

    def put_constant(self, value: int, array: Array) -> None:
        self.put(value, registry.find("numpy"), array)

    def get(self, value: int, device: Device) -> Buffer:
        places = self._at[value]
        if device not in places:
            source, buffer = next(iter(places.items()))
            places[device] = move(buffer, self._types[value], source, device)
        return places[device]


def compile(graph: Graph, device: Device, fallback: str | None = None) -> Program:
    """`graph`, which must be static, ready to run on `device`."""
    backend = registry.load(device.backend)
    graph = lower(graph, backend, device)
    _refuse_absurd(graph, device)
    missing = unsupported(backend, graph, device)
    policy = fallback or config.fallback()
    if missing and policy == "error":
        raise _refusal(missing, device)
    try:
        segments = _segments(graph, device, missing)
    except KernelError as e:
        if policy == "error":
            raise
        missing = [*missing, *_unbuilt(graph, device, missing, e)]
        segments = _segments(graph, device, missing)
    if not missing:
        return _made(Program(graph, device, segments, ()))
    host = registry.find("numpy")
    reasons = tuple(Fallback(m.node.op.name, device.name, host.name, m.reason) for m in missing)
    if policy == "warn":
        for reason in dict.fromkeys(reasons):
            warnings.warn(
                f"{reason.op} runs on {host}, not on {device}: {reason.reason}", FallbackWarning, stacklevel=3
            )
    return _made(Program(graph, device, segments, reasons))


def _segments(graph: Graph, device: Device, missing: Sequence[Missing]) -> tuple[Segment, ...]:
    if not missing:
        return (_segment(graph, registry.load(device.backend), device),)
    return tuple(_split(graph, device, registry.find("numpy"), {id(m.node) for m in missing}))


def _unbuilt(graph: Graph, device: Device, missing: Sequence[Missing], error: KernelError) -> list[Missing]:
    """The nodes whose kernels the device's compiler refuses; all, where each passes alone and they do not together."""
    known = {id(m.node) for m in missing}
    rest = [n for n in graph.nodes if id(n) not in known]
    found: list[Missing] = []
    for node in rest:
        try:
            _part(graph, device, [node])
        except KernelError as e:
            found.append(Missing(node, e.problem))
    return found or [Missing(n, error.problem) for n in rest]


def _made(program: Program) -> Program:
    """Counted, and told to whoever listens to the logger `hetero` at level INFO."""
    counters.count_event("compile")
    if program.device.backend != "auto":  # which has a summary of its own, once it has chosen
        _log.info("%s", program.summary())
    return program


def _refuse_absurd(graph: Graph, device: Device) -> None:
    """What no machine holds, and what this device does not, is told before anything is compiled.

    The memory plan is only asked for where all values together would not fit: for most graphs they do.
    """
    wrong = list(absurd_sizes(graph))
    if wrong:
        raise ShapeError(f"{graph.name}: {'; '.join(wrong)}", hint="is a dimension of the model damaged?")
    room = device.memory_bytes
    if room and sum(t.nbytes for t in graph.types) > room and graph.peak_bytes > room:
        raise DeviceError(
            f"{graph.name} needs {graph.peak_bytes} bytes beside its inputs, {device} has {room}",
            hint="run it with a smaller batch, or on a larger device",
        )


def lower(graph: Graph, backend: Backend, device: Device) -> Graph:
    """Optimised, with the composites taken apart that the device does not take whole."""

    def whole(node: Node, types: Types, outs: Types) -> bool:
        return bool(backend.support(node, types, outs, device))

    lowered = primitive(graph, whole)
    if not any(isinstance(v, Graph) for n in lowered.nodes for v in n.attrs.values()):
        return lowered
    return rewrite(lowered, partial(_lower_bodies, backend, device))


def _lower_bodies(
    backend: Backend, device: Device, builder: Builder, node: Node, refs: tuple[Ref, ...]
) -> Sequence[Ref] | None:
    """The bodies of loops and branches, lowered too, but for those that the device wants as they were written."""
    bodies = {k: v for k, v in node.attrs.items() if isinstance(v, Graph)}
    types = tuple(r.type for r in refs)
    if not bodies or backend.support(node, types, node.op.infer_types(types, node.attrs), device).whole:
        return None
    return builder.emit(node.op, refs, dict(node.attrs) | {k: lower(v, backend, device) for k, v in bodies.items()})


def _refusal(missing: Sequence[Missing], device: Device) -> BackendError:
    lines = Counter(f"{m.node.label}: {m.reason}" for m in missing)
    return BackendError(
        f"{device} cannot run {len(missing)} of the ops: " + "; ".join(lines),
        hint="HETERO_FALLBACK=allow runs these on the host, and counts it; or choose another device",
    )


def _segment(graph: Graph, backend: Backend, device: Device) -> Segment:
    executable = backend.compile(graph, device)
    ops = Counter(n.op.name for n in executable.graph.nodes)
    takes = tuple(p.value for p in graph.inputs)
    return Segment(device, executable, takes, tuple(p.value for p in graph.outputs), ops)


def _split(graph: Graph, device: Device, host: Device, refused: set[int]) -> list[Segment]:
    """As few segments as the order allows: each takes all that can run on its device by then."""
    waiting = list(graph.nodes)
    ready = {p.value for p in graph.inputs} | set(graph.constants)
    runs: list[tuple[Device, list[Node]]] = []
    at = host if waiting and id(waiting[0]) in refused else device
    while waiting:
        now: list[Node] = []
        later: list[Node] = []
        for node in waiting:
            mine = (id(node) in refused) == (at == host)
            if mine and ready.issuperset(node.inputs):
                now.append(node)
                ready.update(node.outputs)
            else:
                later.append(node)
        if now:
            runs.append((at, now))
        waiting, at = later, device if at == host else host
    return [_part(graph, where, nodes) for where, nodes in runs]


def _part(graph: Graph, device: Device, nodes: Sequence[Node]) -> Segment:
    """The nodes as a graph of their own, compiled."""
    part, takes, gives = extract(graph, nodes)
    segment = _segment(part, registry.load(device.backend), device)
    return Segment(device, segment.executable, takes, gives, segment.ops)
