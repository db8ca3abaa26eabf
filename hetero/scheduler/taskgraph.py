"""The scheduler's input: tasks, tensors between them, devices and links, as arrays. Knows nothing of ops or graphs.

`n` tasks, `P` devices, `T` tensors. A tensor has one producer, a size and any number of consumers; it is sent at most
once to each device. Times are in seconds, energies in joules, sizes in bytes, money in the currency of its maker.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hetero.errors import ProfileError

if TYPE_CHECKING:
    from hetero.scheduler.constraints import Allowed
    from hetero.scheduler.flat import Flat

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]
Bools: TypeAlias = NDArray[np.bool_]
Tier = Literal["central", "edge"]

INF = float("inf")
SHOWN = 20  # problems listed in one error; the rest are counted


@dataclass(frozen=True, slots=True)
class DeviceSpec:
    """Something that runs one task at a time."""

    name: str
    tier: Tier = "edge"
    memory_byte: float = INF
    static_w: float = 0.0  # drawn for the whole length of the schedule, whether it works or not
    peak_w: float = INF  # most that it may draw at any time, static power included
    average_w: float = INF  # most that it may draw on average over the schedule


@dataclass(frozen=True, slots=True)
class LinkSpec:
    """One direction of a link. Links with the same `queue` send one after the other; -1: without waiting."""

    name: str
    source: int
    target: int
    byte_per_s: float
    latency_s: float = 0.0
    joule_per_byte: float = 0.0
    money_per_byte: float = 0.0
    queue: int = -1


@dataclass(frozen=True, slots=True)
class Limits:
    """What the whole schedule must keep."""

    deadline_s: float = INF
    peak_w: float = INF  # of all devices together, at any time
    average_w: float = INF  # energy over makespan


@dataclass(frozen=True, eq=False, kw_only=True)
class TaskGraph:
    """Tasks with time and energy on each device, and what flows between them.

    seconds (n, P)  inf where the task cannot run      joules, money, resident_byte (n, P)  beside it
    producer (T,)   the task that makes a tensor       tensor_byte (T,)
    consumer (E,)   tasks that read, tensor by tensor  consumer_start (T + 1,)  where each tensor's readers begin
    """

    tasks: tuple[str, ...]
    devices: tuple[DeviceSpec, ...]
    links: tuple[LinkSpec, ...]
    seconds: Floats
    joules: Floats
    money: Floats
    resident_byte: Floats
    producer: Ints
    tensor_byte: Floats
    consumer: Ints
    consumer_start: Ints
    tensors: tuple[str, ...] = ()  # names, for people; empty: named after the producer
    release: Mapping[int, str] = field(default_factory=dict[int, str])  # task -> how it releases private data
    pins: Mapping[int, tuple[int, ...]] = field(default_factory=dict[int, "tuple[int, ...]"])  # task -> devices
    colocate: tuple[tuple[int, ...], ...] = ()  # tasks of one group run on one device
    private: Mapping[int, tuple[int, ...]] = field(default_factory=dict[int, "tuple[int, ...]"])  # task -> zone
    barred: Mapping[tuple[int, int], str] = field(default_factory=dict[tuple[int, int], str])  # why seconds is inf
    limits: Limits = Limits()
    name: str = "tasks"

    # -- sizes and names ----------------------------------------------------------------------------------

    @property
    def n(self) -> int:
        return len(self.tasks)

    @property
    def device_names(self) -> tuple[str, ...]:
        return tuple(d.name for d in self.devices)

    @property
    def queues(self) -> int:
        """Number of link queues."""
        return 1 + max((link.queue for link in self.links), default=-1)

    def tensor_name(self, tensor: int) -> str:
        return self.tensors[tensor] if self.tensors else self.tasks[int(self.producer[tensor])]

    def task_index(self, name: str) -> int:
        return self._task_number[name]

    @cached_property
    def _task_number(self) -> Mapping[str, int]:
        return {name: i for i, name in enumerate(self.tasks)}

    # -- structure ----------------------------------------------------------------------------------------

    @cached_property
    def consumer_tensor(self) -> Ints:
        """(E,) the tensor of each entry of `consumer`."""
        return np.repeat(np.arange(len(self.producer)), np.diff(self.consumer_start))

    @cached_property
    def inputs(self) -> tuple[Ints, Ints]:
        """(n + 1,), (E,): where each task's input tensors begin, and these tensors."""
        return _grouped(self.consumer, self.consumer_tensor, self.n)

    @cached_property
    def outputs(self) -> tuple[Ints, Ints]:
        """(n + 1,), (T,): where each task's output tensors begin, and these tensors."""
        return _grouped(self.producer, np.arange(len(self.producer)), self.n)

    @cached_property
    def edges(self) -> tuple[Ints, Ints, Ints]:
        """(E,) each: producer, consumer and tensor of every reading."""
        return self.producer[self.consumer_tensor], self.consumer, self.consumer_tensor

    @cached_property
    def level(self) -> Ints:
        """(n,) length of the longest chain of tasks before each task; -1 for tasks in or behind a cycle."""
        source, target, _ = self.edges
        start, followers = _grouped(source, target, self.n)
        waiting = np.bincount(target, minlength=self.n)
        level = np.full(self.n, -1, np.int64)
        front = np.flatnonzero(waiting == 0)
        depth = 0
        while len(front):
            level[front] = depth
            next_ones = _ranges(followers, start, front)
            if not len(next_ones):
                break
            np.subtract.at(waiting, next_ones, 1)
            candidates = np.unique(next_ones)
            front = candidates[waiting[candidates] == 0]
            depth += 1
        return level

    @cached_property
    def topological(self) -> Ints:
        """(n,) tasks, each after all that it reads from; by level, then by number."""
        return np.argsort(self.level, kind="stable")

    @cached_property
    def allowed(self) -> Allowed:
        """Where each task may run and each tensor may be; a PlanError when a task has nowhere to go."""
        from hetero.scheduler.constraints import constrain

        return constrain(self)

    @cached_property
    def flat(self) -> Flat:
        """What the simulator and the algorithms read; a PlanError when a task has nowhere to go."""
        from hetero.scheduler.flat import flatten

        return flatten(self)

    # -- variants -----------------------------------------------------------------------------------------

    def replace(self, **changes: Any) -> TaskGraph:
        """The same with some fields changed, checked."""
        return replace(self, **changes).check()

    def check(self) -> TaskGraph:
        """Itself, or a ProfileError with everything that is wrong."""
        problems = list(_problems(self))
        if problems:
            raise_problems(f"task graph {self.name!r}", problems)
        return self

    @staticmethod
    def from_dict(data: Any) -> TaskGraph:
        """From the JSON form (docs/taskgraph.md)."""
        from hetero.scheduler.taskgraph_json import from_dict

        return from_dict(data)

    @staticmethod
    def load(path: str) -> TaskGraph:
        """From a file in the JSON form."""
        from hetero.scheduler.taskgraph_json import load

        return load(path)

    def to_dict(self) -> dict[str, Any]:
        """The JSON form (docs/taskgraph.md)."""
        from hetero.scheduler.taskgraph_json import to_dict

        return to_dict(self)

    @staticmethod
    def of_edges(
        seconds: Floats,
        edges: Iterable[tuple[int, int, float]],
        links: Sequence[LinkSpec],
        *,
        devices: Sequence[DeviceSpec] = (),
        joules: Floats | None = None,
        **more: Any,
    ) -> TaskGraph:
        """From a matrix of seconds (n, P) and (producer, consumer, bytes) edges, each a tensor of its own."""
        seconds = np.asarray(seconds, np.float64)
        n, count = seconds.shape
        table = np.array([e for e in edges], np.float64).reshape(-1, 3)
        zero = np.zeros((n, count))
        optional: dict[str, Any] = {"money": zero, "resident_byte": zero} | more
        return TaskGraph(
            tasks=tuple(f"t{i}" for i in range(n)),
            devices=tuple(devices) or tuple(DeviceSpec(f"d{p}") for p in range(count)),
            links=tuple(links),
            seconds=seconds,
            joules=zero if joules is None else np.asarray(joules, np.float64),
            **optional,
            producer=table[:, 0].astype(np.int64),
            tensor_byte=table[:, 2].copy(),
            consumer=table[:, 1].astype(np.int64),
            consumer_start=np.arange(len(table) + 1),
        ).check()


def connect_all(count: int, byte_per_s: float, latency_s: float = 0.0, *, shared: bool = True) -> list[LinkSpec]:
    """A link of its own in each direction between every two of `count` devices."""
    pairs = [(p, q) for p in range(count) for q in range(count) if p != q]
    return [
        LinkSpec(f"d{p}-d{q}", p, q, byte_per_s, latency_s, queue=i if shared else -1) for i, (p, q) in enumerate(pairs)
    ]


def raise_problems(what: str, problems: Sequence[str]) -> None:
    """One ProfileError that lists them all."""
    more = [f"and {len(problems) - SHOWN} more"] if len(problems) > SHOWN else []
    listed = "\n".join(f"  - {p}" for p in [*problems[:SHOWN], *more])
    raise ProfileError(f"{what}: {len(problems)} problem{'s' * (len(problems) > 1)}\n{listed}")


def _grouped(key: Ints, value: Ints, count: int) -> tuple[Ints, Ints]:
    """(count + 1,), (len,): where each key's values begin, and the values in order of their keys."""
    start = np.zeros(count + 1, np.int64)
    np.cumsum(np.bincount(key, minlength=count), out=start[1:])
    return start, np.asarray(value)[np.argsort(key, kind="stable")]


def _ranges(values: Ints, start: Ints, keys: Ints) -> Ints:
    """The values of all `keys`, one group after the other."""
    counts = start[keys + 1] - start[keys]
    total = int(counts.sum())
    first = np.repeat(start[keys] - np.concatenate(([0], np.cumsum(counts)[:-1])), counts)
    return values[first + np.arange(total)]


def _problems(g: TaskGraph) -> Iterable[str]:
    """Everything wrong with the arrays, in the person's names."""
    n, count = g.n, len(g.devices)
    yield from (f"no {what}" for what, number in (("tasks", n), ("devices", count)) if not number)
    for what, names in (("task", g.tasks), ("device", g.device_names)):
        if len(set(names)) != len(names):
            seen: set[str] = set()
            twice = sorted({x for x in names if x in seen or seen.add(x)})
            yield f"{what} names used twice: {', '.join(twice[:SHOWN])}"
    shapes = [(f, getattr(g, f).shape) for f in ("seconds", "joules", "money", "resident_byte")]
    bad = [f"{f} wants shape ({n}, {count}), got {shape}" for f, shape in shapes if shape != (n, count)]
    yield from bad
    if bad or not n or not count:
        return
    yield from _bad_numbers(g)
    yield from _bad_devices(g)
    yield from _bad_links(g)
    ends = [i for p in (g.producer, g.consumer) for i in (p.min(initial=0), p.max(initial=0))]
    if min(ends) < 0 or max(ends) >= n:
        yield "an edge names a task that is not there"
    elif (g.level < 0).any():
        inside = [g.tasks[i] for i in np.flatnonzero(g.level < 0)[:5]]
        yield f"there is a cycle among or before {', '.join(inside)}"


def _bad_numbers(g: TaskGraph) -> Iterable[str]:
    for f in ("seconds", "joules", "money", "resident_byte"):
        values = getattr(g, f)
        wrong = np.isnan(values) | (values < 0) | (np.isinf(values) & (f != "seconds"))
        for i, p in zip(*np.nonzero(wrong), strict=True):
            yield f"{f} of task {g.tasks[i]!r} on {g.devices[p].name!r} is {values[i, p]}"
    wrong = ~np.isfinite(g.tensor_byte) | (g.tensor_byte < 0)
    for t in np.flatnonzero(wrong):
        yield f"the tensor of {g.tasks[int(g.producer[t])]!r} has {g.tensor_byte[t]} bytes"


def _bad_devices(g: TaskGraph) -> Iterable[str]:
    for d in g.devices:
        for f in ("memory_byte", "static_w", "peak_w", "average_w"):
            value = getattr(d, f)
            if not value >= 0 or (f == "static_w" and value == INF):
                yield f"{f} of device {d.name!r} is {value}"
    for f in ("deadline_s", "peak_w", "average_w"):
        if not getattr(g.limits, f) > 0:
            yield f"limit {f} is {getattr(g.limits, f)}"


def _bad_links(g: TaskGraph) -> Iterable[str]:
    for link in g.links:
        if not (0 <= link.source < len(g.devices) and 0 <= link.target < len(g.devices)):
            yield f"link {link.name!r} joins a device that is not there"
        if not (link.byte_per_s > 0):
            yield f"byte_per_s of link {link.name!r} is {link.byte_per_s}"
        for f in ("latency_s", "joule_per_byte", "money_per_byte"):
            value = getattr(link, f)
            if not 0 <= value < INF:
                yield f"{f} of link {link.name!r} is {value}"
