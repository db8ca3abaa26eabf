"""A second opinion on every schedule, from the task graph alone: it shares no code with what made the schedule.

It takes nothing for granted but the devices, the times and the transfers written in the schedule, and works out again
what is private, what had to be sent, in which order, over which links, and what was needed of memory and power.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from hetero.scheduler.show import quantity
from hetero.scheduler.solution import Schedule, Sends
from hetero.scheduler.taskgraph import Bools, Floats, Ints, TaskGraph

TOLERANCE = 1e-9  # relative, for sums that may be rounded in another order
Zone = frozenset[int]


class Violation(NamedTuple):
    """One thing that is wrong with a schedule."""

    kind: str
    what: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.what}"


class InvalidScheduleError(AssertionError):
    """A schedule of our own making that the validator refuses: a bug in hetero."""

    def __init__(self, g: TaskGraph, violations: Sequence[Violation]) -> None:
        self.violations = tuple(violations)
        listed = "\n".join(f"  - {v}" for v in violations[:20])
        super().__init__(f"hetero made a wrong schedule of {g.name!r}; please report it\n{listed}")


@dataclass(frozen=True, slots=True)
class Crossing:
    """A tensor on a link, and why it may be there."""

    tensor: str
    source: str  # device
    target: str
    link: str
    byte: float
    private_to: tuple[str, ...]  # devices that it must stay on; empty: it is public
    released_by: tuple[tuple[str, str], ...]  # (task, how) of the releases that it comes from
    why: str

    def __str__(self) -> str:
        size = quantity(self.byte, "B")
        return f"{self.tensor}: {size} over {self.link} from {self.source} to {self.target}; {self.why}"


@dataclass(frozen=True, eq=False)
class _Case:
    """What every check looks at. Arrays over tasks (n), tensors (T), readings (E) and sends (S)."""

    g: TaskGraph
    s: Schedule
    place: Ints  # (n,) in the order
    maker: Ints  # (E,) and the reader and the tensor of each reading
    reader: Ints
    read: Ints
    task_zone: list[Zone] | None  # None: nothing is private
    made_zone: list[Zone] | None  # (n,) of what a task makes
    tensor: Ints  # (S,)
    link: Ints
    start: Floats
    end: Floats
    arrival: Floats
    to: Ints
    source: Ints  # (S,) of the link
    target: Ints
    first: Bools  # (S,) first and last hop of a sending
    last: Bools
    slack: float  # seconds

    def task(self, i: Any) -> str:
        return repr(self.g.tasks[i])

    def on(self, i: Any) -> str:
        return self.g.devices[int(self.s.device[i])].name

    def name(self, send: Any) -> str:
        return repr(self.g.tensor_name(int(self.tensor[send])))

    def per_link(self, field: str) -> Floats:
        """(S,) of the link of each send."""
        return np.array([getattr(k, field) for k in self.g.links], np.float64)[self.link]

    def taken(self, table: Floats) -> Floats:
        """(n,) of each task where it runs."""
        return table[np.arange(self.g.n), self.s.device]


Check = Callable[[_Case], Iterator[str]]


def validate(g: TaskGraph, schedule: Schedule) -> list[Violation]:
    """Everything that is wrong; empty for a schedule that may run."""
    shape = list(_shape(g, schedule))
    if shape:
        return [Violation("shape", what) for what in shape]
    case = _case(g, schedule)
    return [Violation(kind, what) for kind, check in CHECKS.items() for what in check(case)]


def audit(g: TaskGraph, schedule: Schedule) -> list[Crossing]:
    """Every passage of a tensor over a link, in order of time."""
    c = _case(g, schedule)
    released, name = _released(g), g.device_names
    found: list[Crossing] = []
    for k in np.lexsort((c.link, c.tensor, c.start)).tolist():
        tensor, link = int(c.tensor[k]), g.links[c.link[k]]
        maker = int(g.producer[tensor])
        zone = sorted(c.made_zone[maker]) if c.made_zone else range(len(name))
        stays = tuple(name[p] for p in zone) if len(zone) < len(name) else ()
        by = tuple((g.tasks[i], g.release[i]) for i in sorted(released[maker]))
        ends = (name[link.source], name[link.target])
        size = float(g.tensor_byte[tensor])
        found.append(Crossing(g.tensor_name(tensor), *ends, link.name, size, stays, by, _why(ends, stays, by)))
    return found


def _why(here: tuple[str, str], stays: tuple[str, ...], by: tuple[tuple[str, str], ...]) -> str:
    if stays:
        inside = "both ends are" if set(here) <= set(stays) else "NOT ALLOWED: an end is not"
        return f"private; {inside} among {', '.join(stays)}"
    if by:
        return "public: released by " + ", ".join(f"{task} ({how})" for task, how in by)
    return "public: it comes from nothing private"


# -- what the schedule is checked against ----------------------------------------------------------------


def _shape(g: TaskGraph, s: Schedule) -> Iterator[str]:
    """What makes the other checks impossible."""
    n = len(g.tasks)
    for name in ("device", "order", "start_s", "finish_s"):
        if getattr(s, name).shape != (n,):
            yield f"{name} has shape {getattr(s, name).shape}, there are {n} tasks"
            return
    for i in np.flatnonzero((s.device < 0) | (s.device >= len(g.devices))):
        yield f"{g.tasks[i]!r} is on device {s.device[i]}, which is not there"
    if not np.array_equal(np.sort(s.order), np.arange(n)):
        yield "order does not hold each task once"
    columns = _columns(s)
    limits = ((0, "tensor", len(g.producer)), (1, "link", len(g.links)), (5, "device", len(g.devices)))
    for k, what, count in limits:
        column = np.asarray(columns[k], np.int64)
        for at in np.flatnonzero((column < 0) | (column >= count)):
            yield f"send {at} names {what} {column[at]}, which is not there"


def _columns(s: Schedule) -> Sequence[Any]:
    """The sends, field by field."""
    return s.sends.arrays if isinstance(s.sends, Sends) else list(zip(*s.sends, strict=True)) or [()] * 6


def _case(g: TaskGraph, s: Schedule) -> _Case:
    start = g.consumer_start
    read = np.repeat(np.arange(len(g.producer)), start[1:] - start[:-1])
    place = np.empty(len(g.tasks), np.int64)
    place[s.order] = np.arange(len(place))
    task_zone, made_zone = _zones(g) if g.private else (None, None)
    columns = _columns(s)
    tensor, link, to = (np.array(columns[k], np.int64) for k in (0, 1, 5))
    begin, end, arrival = (np.array(columns[k], np.float64) for k in (2, 3, 4))
    source, target = (np.array([getattr(k, f) for k in g.links], np.int64)[link] for f in ("source", "target"))
    home = s.device[g.producer[tensor]]
    first = np.ones(len(tensor), bool)
    first[1:] = (tensor[1:] != tensor[:-1]) | (to[1:] != to[:-1]) | (source[1:] == home[1:])
    last = np.append(first[1:], True)[: len(first)]
    slack = TOLERANCE * max(float(s.finish_s.max(initial=0.0)), 1e-30)
    return _Case(
        *(g, s, place, g.producer[read], g.consumer, read, task_zone, made_zone),
        *(tensor, link, begin, end, arrival, to, source, target, first, last, slack),
    )


def _zones(g: TaskGraph) -> tuple[list[Zone], list[Zone]]:
    """Devices on which each task may run, and on which what it makes may be, for what is private."""
    everywhere = frozenset(range(len(g.devices)))
    runs, made = [everywhere] * len(g.tasks), [everywhere] * len(g.tasks)
    readers: dict[int, list[int]] = defaultdict(list)
    waiting = [0] * len(g.tasks)
    for t, i in enumerate(g.producer.tolist()):
        for j in g.consumer[g.consumer_start[t] : g.consumer_start[t + 1]].tolist():
            readers[i].append(j)
            waiting[j] += 1
    front = [i for i, w in enumerate(waiting) if not w]
    for i in front:  # grows while it runs
        own = frozenset(g.private[i]) if i in g.private else everywhere
        made[i] = own if i in g.release else own & runs[i]
        runs[i] &= own
        for j in readers[i]:
            runs[j] &= made[i]
            waiting[j] -= 1
            if not waiting[j]:
                front.append(j)
    return runs, made


def _released(g: TaskGraph) -> list[frozenset[int]]:
    """Releases behind what each task makes, the nearest on every way."""
    found: list[frozenset[int]] = [frozenset()] * len(g.tasks)
    if not g.release:
        return found
    start, inputs = (a.tolist() for a in g.inputs)
    for i in g.topological.tolist():
        if i in g.release:
            found[i] = frozenset((i,))
        else:
            sources = (found[int(g.producer[t])] for t in inputs[start[i] : start[i + 1]])
            found[i] = frozenset[int]().union(*sources)
    return found


# -- checks ----------------------------------------------------------------------------------------------


def _support(c: _Case) -> Iterator[str]:
    """Every task where it can run, for as long as it takes, not before time 0."""
    takes, runs = c.taken(c.g.seconds), c.s.finish_s - c.s.start_s
    for i in np.flatnonzero(~np.isfinite(takes)):
        yield f"{c.task(i)} cannot run on {c.on(i)}"
    for i in np.flatnonzero(np.isfinite(takes) & ~(abs(runs - takes) <= c.slack)):
        yield f"{c.task(i)} runs {runs[i]:g} s on {c.on(i)}, it takes {takes[i]:g} s"
    for i in np.flatnonzero(~(c.s.start_s >= 0)):
        yield f"{c.task(i)} starts at {c.s.start_s[i]:g} s"


def _pins(c: _Case) -> Iterator[str]:
    for i, devices in c.g.pins.items():
        if int(c.s.device[i]) not in devices:
            yield f"{c.task(i)} is on {c.on(i)}, not where it is pinned"


def _colocation(c: _Case) -> Iterator[str]:
    for group in c.g.colocate:
        if len({int(c.s.device[i]) for i in group}) > 1:
            yield ", ".join(f"{c.task(i)} on {c.on(i)}" for i in group)


def _residency(c: _Case) -> Iterator[str]:
    """What is private neither runs on, nor passes, a device outside its zone."""
    if c.task_zone is None or c.made_zone is None:
        return
    for i, zone in enumerate(c.task_zone):
        if int(c.s.device[i]) not in zone:
            yield f"{c.task(i)} sees private data and runs on {c.on(i)}"
    for k, tensor in enumerate(c.tensor.tolist()):
        zone = c.made_zone[int(c.g.producer[tensor])]
        for p in sorted({int(c.source[k]), int(c.target[k])} - zone):
            yield f"private {c.name(k)} is on {c.g.devices[p].name} by way of {c.g.links[c.link[k]].name!r}"


def _overlap(c: _Case) -> Iterator[str]:
    """Each device runs one task at a time, in order; each link queue sends one tensor at a time."""
    by = np.lexsort((c.place, c.s.device))
    same = c.s.device[by][1:] == c.s.device[by][:-1]
    for k in np.flatnonzero(same & ~(c.s.start_s[by][1:] >= c.s.finish_s[by][:-1] - c.slack)):
        yield f"{c.task(by[k + 1])} starts on {c.on(by[k])} before {c.task(by[k])} ends"
    queue = c.per_link("queue")
    busy = np.flatnonzero((queue >= 0) & (c.end > c.start))
    by = busy[np.lexsort((c.start[busy], queue[busy]))]
    same = queue[by][1:] == queue[by][:-1]
    for k in np.flatnonzero(same & ~(c.start[by][1:] >= c.end[by][:-1] - c.slack)):
        link = c.g.links[c.link[by[k + 1]]].name
        yield f"{c.name(by[k])} and {c.name(by[k + 1])} share {link!r} at {c.start[by[k + 1]]:g} s"


def _transfers(c: _Case) -> Iterator[str]:
    """Each sending starts where and when its tensor is made, runs hop by hop, at the links' speed, once a device."""
    maker = c.g.producer[c.tensor]
    device, after = c.s.device[maker], c.s.finish_s[maker]
    at = np.where(c.first, device, np.roll(c.target, 1))
    ready = np.where(c.first, after, np.roll(c.arrival, 1))
    takes, latency = c.g.tensor_byte[c.tensor] / c.per_link("byte_per_s"), c.per_link("latency_s")
    names = c.g.device_names
    for k in np.flatnonzero(c.source != at):
        yield f"{c.name(k)} leaves {names[c.source[k]]}, but it is on {names[at[k]]}"
    for k in np.flatnonzero(~(c.start >= ready - c.slack)):
        yield f"{c.name(k)} leaves {names[c.source[k]]} at {c.start[k]:g} s, it is there at {ready[k]:g} s"
    for k in np.flatnonzero(~(abs(c.end - c.start - takes) <= c.slack)):
        yield f"{c.name(k)} is on {c.g.links[c.link[k]].name!r} for {c.end[k] - c.start[k]:g} s, not {takes[k]:g} s"
    for k in np.flatnonzero(~(abs(c.arrival - c.end - latency) <= c.slack)):
        yield f"{c.name(k)} arrives {c.arrival[k] - c.end[k]:g} s after it left, the latency is {latency[k]:g} s"
    for k in np.flatnonzero(c.last & (c.target != c.to)):
        yield f"{c.name(k)} is to go to {names[c.to[k]]} and ends on {names[c.target[k]]}"
    count = len(names)
    sent = (c.tensor * count + c.target)[c.last]
    places = len(c.g.producer) * count
    times = np.bincount(sent, minlength=places)
    for x in np.flatnonzero(times > 1):
        yield f"{c.g.tensor_name(int(x // count))!r} is sent to {names[x % count]} more than once"
    wanted = np.zeros(places, bool)
    wanted[c.read * count + c.s.device[c.reader]] = True
    for x in np.flatnonzero((times > 0) & ~wanted):
        yield f"{c.g.tensor_name(int(x // count))!r} is sent to {names[x % count]}, where nobody reads it"


def _precedence(c: _Case) -> Iterator[str]:
    """Every input is on the task's device before the task starts; the order is one of the graph."""
    count = len(c.g.devices)
    there = np.full(len(c.g.producer) * count, np.nan)
    there[(c.tensor * count + c.target)[c.last]] = c.arrival[c.last]
    there[np.arange(len(c.g.producer)) * count + c.s.device[c.g.producer]] = c.s.finish_s[c.g.producer]
    ready = there[c.read * count + c.s.device[c.reader]]
    for e in np.flatnonzero(np.isnan(ready)):
        i, j, t = int(c.maker[e]), int(c.reader[e]), int(c.read[e])
        yield f"{c.task(j)} on {c.on(j)} never gets {c.g.tensor_name(t)!r} from {c.on(i)}"
    for e in np.flatnonzero(c.s.start_s[c.reader] < ready - c.slack):
        j, t = int(c.reader[e]), int(c.read[e])
        yield f"{c.task(j)} starts at {c.s.start_s[j]:g} s, {c.g.tensor_name(t)!r} is there at {ready[e]:g} s"
    for e in np.flatnonzero(c.place[c.reader] <= c.place[c.maker]):
        yield f"{c.task(int(c.reader[e]))} is decided before {c.task(int(c.maker[e]))}, which it reads from"


def _memory(c: _Case) -> Iterator[str]:
    """What is resident, and what lives, never exceeds a device's memory; nor is it other than the schedule says."""
    for p, found in enumerate(_peaks(c)):
        device = c.g.devices[p]
        if found > device.memory_byte * (1 + TOLERANCE):
            yield f"{device.name} needs {found:g} B of {device.memory_byte:g} B"
        if abs(found - float(c.s.peak_byte[p])) > TOLERANCE * max(found, 1.0):
            yield f"{device.name} needs {found:g} B, the schedule says {c.s.peak_byte[p]:g} B"


def _peaks(c: _Case) -> list[float]:
    """Bytes at the worst moment of each device."""
    count, tensors = len(c.g.devices), np.arange(len(c.g.producer))
    maker, places = c.g.producer, len(c.g.producer) * count
    home = tensors * count + c.s.device[maker]
    begin, end = np.full(places, np.inf), np.full(places, -np.inf)
    arrives = c.last
    begin[(c.tensor * count + c.target)[arrives]] = c.start[arrives]
    begin[home] = c.s.start_s[maker]
    np.maximum.at(end, c.read * count + c.s.device[c.reader], c.s.finish_s[c.reader])
    np.maximum.at(end, home, c.s.finish_s[maker])
    np.maximum.at(end, home[c.tensor[c.first]], c.end[c.first])
    unread = np.ones(len(tensors), bool)
    unread[c.read] = False
    end[home[unread]] = np.inf
    resident = c.taken(c.g.resident_byte)
    peaks: list[float] = []
    for p in range(count):
        here = np.flatnonzero(np.isfinite(begin[p::count]))
        size = c.g.tensor_byte[here]
        live = _worst(begin[p::count][here], end[p::count][here], size)
        peaks.append(live + float(resident[c.s.device == p].sum()))
    return peaks


def _worst(begin: Floats, end: Floats, size: Floats) -> float:
    """The largest sum over time; what ends at the moment another begins is gone."""
    by, ended = np.argsort(begin), np.argsort(end)
    before = np.append(0.0, size[ended].cumsum())[np.searchsorted(end[ended], begin[by], "right")]
    return float((size[by].cumsum() - before).max(initial=0.0))


def _power(c: _Case) -> Iterator[str]:
    """Peak and average power, of each device and of all together."""
    g, seconds, joules = c.g, c.taken(c.g.seconds), c.taken(c.g.joules)
    span = float(c.s.finish_s.max(initial=0.0))
    watts = np.zeros(len(seconds))
    np.divide(joules, seconds, out=watts, where=(seconds > 0) & np.isfinite(seconds))
    for p, d in enumerate(g.devices):
        most = d.static_w + float(watts[c.s.device == p].max(initial=0.0))
        mean = d.static_w + (float(joules[c.s.device == p].sum()) / span if span > 0 else 0.0)
        if most > d.peak_w * (1 + TOLERANCE):
            yield f"{d.name} draws {most:g} W, its peak is {d.peak_w:g} W"
        if mean > d.average_w * (1 + TOLERANCE):
            yield f"{d.name} draws {mean:g} W on average, allowed are {d.average_w:g} W"
    still = sum(d.static_w for d in g.devices)
    shorter = np.maximum(c.s.finish_s - c.slack, c.s.start_s)  # tasks that follow each other, but for rounding
    most = still + _worst(c.s.start_s, shorter, watts)
    sent = float((g.tensor_byte[c.tensor] * c.per_link("joule_per_byte")).sum())
    mean = still + ((float(joules.sum()) + sent) / span if span > 0 else 0.0)
    if most > g.limits.peak_w * (1 + TOLERANCE):
        yield f"all devices draw {most:g} W, allowed are {g.limits.peak_w:g} W"
    if mean > g.limits.average_w * (1 + TOLERANCE):
        yield f"all devices draw {mean:g} W on average, allowed are {g.limits.average_w:g} W"


def _figures(c: _Case) -> Iterator[str]:
    """The schedule's sums are those of its tasks and transfers, and it keeps its deadline."""
    g, s = c.g, c.s
    seconds, size = c.taken(g.seconds), g.tensor_byte[c.tensor]
    takes, queue = size / c.per_link("byte_per_s"), c.per_link("queue").astype(np.int64)
    busy = np.bincount(queue[queue >= 0], takes[queue >= 0], minlength=1)
    load = np.bincount(s.device, np.where(np.isfinite(seconds), seconds, 0.0))
    span = float(s.finish_s.max(initial=0.0))
    wanted = {
        "latency_s": span,
        "serial_s": seconds.sum() + takes.sum() + c.per_link("latency_s").sum(),
        "period_s": max(load.max(initial=0.0), busy.max(initial=0.0)),
        "dynamic_j": c.taken(g.joules).sum(),
        "transfer_j": (size * c.per_link("joule_per_byte")).sum(),
        "static_j": span * sum(d.static_w for d in g.devices),
        "money": c.taken(g.money).sum() + (size * c.per_link("money_per_byte")).sum(),
    }
    for name, value in wanted.items():
        if not abs(getattr(s, name) - float(value)) <= 1e-6 * max(abs(float(value)), 1e-30):
            yield f"{name} is {float(value):g}, the schedule says {getattr(s, name):g}"
    if span > g.limits.deadline_s * (1 + TOLERANCE):
        yield f"it takes {span:g} s, the deadline is {g.limits.deadline_s:g} s"


CHECKS: dict[str, Check] = {
    "support": _support,
    "pin": _pins,
    "co-location": _colocation,
    "residency": _residency,
    "overlap": _overlap,
    "transfer": _transfers,
    "precedence": _precedence,
    "memory": _memory,
    "power": _power,
    "figures": _figures,
}


def check(g: TaskGraph, schedule: Schedule) -> Schedule:
    """The schedule, if nothing is wrong with it; an InvalidScheduleError lists what is."""
    found = validate(g, schedule)
    if found:
        raise InvalidScheduleError(g, found)
    return schedule


__all__ = ["Crossing", "InvalidScheduleError", "Violation", "audit", "check", "validate"]
