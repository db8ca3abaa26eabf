"""HETERO_BACKEND=auto: the scheduler over the local devices, as a backend.

Tensors live on the host. A graph is planned on a topology of the devices that are here; the candidates are each device
that takes the whole graph and, where the plan uses several, the plan. The first runs of a compiled graph go to the
candidates in turn and are timed, copies included; after that the quickest one runs. So a wrong model costs a few runs,
never the choice. What came near is tried once more after twice as many runs, and again after twice as many: what else
ran on the machine during the first ones does not decide for ever. Nothing is tried on values: every trial is a run
that was asked for, and its result is used.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from threading import Lock

from hetero import counters, registry
from hetero.compile import Program, compile
from hetero.errors import BackendError, HeteroError
from hetero.graph.build import Builder
from hetero.graph.ir import Graph, Node
from hetero.op import Array, TensorType, Types
from hetero.spi import YES, Buffer, Device, Probe, Support
from hetero.transfer import download, upload

TRIALS = 4  # timed runs of each candidate; the first one warms caches up
MOST = 10  # runs of one that stays close to the best
CLOSE = 1.25  # times the best: worth more runs, since machines are noisy
AGAIN = 2.0  # times the best: what took longer is given up, the rest is tried again later
NAME = "auto"

_log = logging.getLogger("hetero")


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
        return Auto(graph, _candidates(graph))

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


@dataclass(slots=True, eq=False)
class Candidate:
    """One way to run the graph: on a device, or split over several."""

    name: str
    make: Callable[[], Callable[..., tuple[Array, ...]]]
    run: Callable[..., tuple[Array, ...]] | None = None  # made when first tried
    seconds: list[float] = field(default_factory=list[float])
    refused: str = ""  # why it is out
    given_up: bool = False  # too slow to be tried again

    @property
    def best(self) -> float:
        return min(self.seconds[1:], default=float("inf"))  # the first run warms up

    def open(self, best: float, settled: int) -> bool:
        """Whether it is still to be tried, when the best takes `best` seconds and was settled on so many times."""
        most = settled + (MOST if self.best <= best * CLOSE else TRIALS)
        return not self.refused and not self.given_up and len(self.seconds) < most


class Auto:
    """A graph that finds the best of its candidates while it is used."""

    def __init__(self, graph: Graph, candidates: Sequence[Candidate]) -> None:
        self.graph = _empty(graph)  # what ran is counted by the device that ran it
        self.peak_bytes = graph.peak_bytes
        self.candidates = list(candidates)
        self.chosen: Candidate | None = None
        self._name = graph.name
        self._lock = Lock()
        self._runs, self._settled = 0, 0
        self._next = float("inf")  # the run at which what came near is tried again

    def __call__(self, *inputs: Buffer) -> tuple[Buffer, ...]:
        chosen = self.chosen
        self._runs += 1
        if chosen is not None and self._runs < self._next:
            assert chosen.run is not None
            return chosen.run(*inputs)
        with self._lock:  # one trial at a time, so that they do not disturb each other
            return self._try(inputs)

    def _try(self, inputs: Sequence[Buffer]) -> tuple[Buffer, ...]:
        """A run of the candidate that was tried least; the next one where it refuses."""
        while True:
            best = min((c.best for c in self.candidates if not c.refused), default=float("inf"))
            waiting = [c for c in self.candidates if c.open(best, self._settled)]
            if len(waiting) < 2 and all(len(c.seconds) >= TRIALS or c.refused for c in self.candidates):
                self._settle()
                assert self.chosen is not None
                assert self.chosen.run is not None
                return self.chosen.run(*inputs)
            candidate = min(waiting, key=lambda c: len(c.seconds))
            try:
                candidate.run = candidate.run or candidate.make()
                start = time.perf_counter()
                outs = candidate.run(*inputs)
                candidate.seconds.append(time.perf_counter() - start)
                return outs
            except Exception as e:  # device libraries fail in every way there is; the reason is kept and told
                if candidate.name == "numpy:0":
                    raise  # the reference itself: the input is at fault
                candidate.refused = e.problem if isinstance(e, HeteroError) else f"{type(e).__name__}: {e}"

    def _settle(self) -> None:
        usable = [c for c in self.candidates if not c.refused]
        if not usable:
            reasons = "; ".join(f"{c.name}: {c.refused}" for c in self.candidates)
            raise BackendError(f"no device here runs {self._name}: {reasons}")
        before, self.chosen = self.chosen, min(usable, key=lambda c: c.best)
        for c in usable:
            if c.best > AGAIN * self.chosen.best:
                c.run, c.given_up = None, True  # frees its memory
        alone = sum(not c.given_up for c in usable) < 2
        self._settled += 1
        self._next = float("inf") if alone else 2 * self._runs
        if self.chosen is not before:
            counters.count_event(f"auto chose {self.chosen.name}")
            _log.info("%s", self.summary())

    def summary(self) -> str:
        """One line: what was chosen, and the measured time of each candidate."""
        each = ", ".join(f"{c.name} {c.refused or f'{c.best * 1e3:.3g} ms'}" for c in self.candidates)
        return f"{self._name}: auto chose {self.chosen.name if self.chosen else 'nothing yet'} (measured: {each})"


def _empty(graph: Graph) -> Graph:
    return Builder(graph.name).build({})


# -- candidates -----------------------------------------------------------------------------------------------------


def _candidates(graph: Graph) -> list[Candidate]:
    devices = local_devices()
    alone = [Candidate(d.name, lambda d=d: _on(graph, d)) for d in devices]
    return [*alone, Candidate("plan", lambda: _planned(graph, devices))] if len(devices) > 1 else alone


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
