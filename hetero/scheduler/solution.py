"""What is wanted of a schedule, and what was found."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, overload

import numpy as np

from hetero.errors import PlanError
from hetero.scheduler.taskgraph import Floats, Ints

OBJECTIVES = ("latency", "serial", "throughput", "energy", "cost")


@dataclass(frozen=True, slots=True)
class Objective:
    """A weighted sum of what a schedule costs, to be made small. All weights but one are 0 for a named objective.

    latency     makespan in seconds: tasks on different devices overlap
    serial      seconds for one request with nothing overlapping
    throughput  seconds between two results of a full pipeline: the most loaded device or link queue
    energy      joules: dynamic, transfer and static
    cost        money
    """

    weights: Mapping[str, float]

    @staticmethod
    def of(wanted: str | Mapping[str, float] | Objective) -> Objective:
        """An objective by its name, or from weights by name (per second, per joule, per unit of money)."""
        if isinstance(wanted, Objective):
            return wanted
        weights = {wanted: 1.0} if isinstance(wanted, str) else dict(wanted)
        unknown = [k for k in weights if k not in OBJECTIVES]
        wrong = [f"weight of {k} is {w}" for k, w in weights.items() if not 0 <= w < float("inf")]
        if unknown or wrong or not any(weights.values()):
            said = [f"no objective is called {', '.join(map(repr, unknown))}"] * bool(unknown) + wrong
            raise PlanError("; ".join(said) or "all weights are 0", hint=f"one of {', '.join(OBJECTIVES)}")
        return Objective({k: float(w) for k, w in weights.items() if w})

    @property
    def name(self) -> str:
        """`latency`, or `1*latency + 0.5*energy`."""
        if len(self.weights) == 1 and set(self.weights.values()) == {1.0}:
            return next(iter(self.weights))
        return " + ".join(f"{w:g}*{k}" for k, w in self.weights.items())

    @property
    def additive(self) -> bool:
        """A sum over tasks and transfers, whatever their order (with no static power)."""
        return not self.weights.keys() & {"latency", "throughput"}


class Send(NamedTuple):
    """One tensor over one link; the hops of one sending follow each other."""

    tensor: int
    link: int
    start_s: float
    end_s: float  # the link is free again
    arrival_s: float  # latency later
    destination: int  # the device that it is sent to, by this hop or a later one


class SendArrays(NamedTuple):
    """Sends, field by field."""

    tensor: Ints
    link: Ints
    start_s: Floats
    end_s: Floats
    arrival_s: Floats
    destination: Ints


class Sends(Sequence[Send]):
    """Sends kept as arrays, of which a large schedule has hundreds of thousands; each is made when it is asked for."""

    __slots__ = ("arrays",)

    def __init__(self, arrays: SendArrays) -> None:
        self.arrays = arrays

    def __len__(self) -> int:
        return len(self.arrays.tensor)

    @overload
    def __getitem__(self, index: int) -> Send: ...

    @overload
    def __getitem__(self, index: slice) -> Sends: ...

    def __getitem__(self, index: int | slice) -> Send | Sends:
        if isinstance(index, slice):
            part: Any = [column[index] for column in self.arrays]
            return Sends(SendArrays(*part))
        return Send(*(column[index].item() for column in self.arrays))

    def __iter__(self) -> Iterator[Send]:
        return map(Send._make, zip(*(column.tolist() for column in self.arrays), strict=True))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # pyright: ignore[reportAssignmentType]

    def __repr__(self) -> str:
        return repr(list(self))


def _nothing() -> Ints:
    return np.zeros(0, np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class Schedule:
    """When everything happens, and what it costs: what the simulator makes of devices and an order."""

    device: Ints  # (n,)
    order: Ints  # (n,) tasks in the order in which they are decided
    start_s: Floats  # (n,)
    finish_s: Floats  # (n,)
    sends: Sequence[Send]  # the hops of one sending follow each other
    latency_s: float
    serial_s: float
    period_s: float
    dynamic_j: float
    transfer_j: float
    static_j: float
    money: float
    peak_byte: Floats  # (P,) resident weights plus live tensors at the worst moment
    peak_w: float  # of all devices together
    violations: tuple[str, ...] = ()  # limits that it breaks; empty for a schedule that may run
    booked: Ints = field(default_factory=_nothing)  # the order with sends in it; empty: each is sent when first read

    @property
    def decisions(self) -> Ints:
        """The order that gives this schedule when it is simulated again: with the sends, where they have a place."""
        return self.booked if len(self.booked) else self.order

    @property
    def energy_j(self) -> float:
        return self.dynamic_j + self.transfer_j + self.static_j

    def value(self, objective: Objective) -> float:
        """The weighted sum that the objective asks for."""
        each = {
            "latency": self.latency_s,
            "serial": self.serial_s,
            "throughput": self.period_s,
            "energy": self.energy_j,
            "cost": self.money,
        }
        return sum(w * each[k] for k, w in objective.weights.items())


@dataclass(frozen=True, slots=True, eq=False)
class Solution:
    """The best schedule found, how good it can be said to be, and what else was tried."""

    schedule: Schedule
    objective: Objective
    value: float
    bound: float  # no schedule is better than this
    method: str  # the candidate that won
    candidates: Mapping[str, float]  # each one's value; inf: it broke a limit or had no way
    seconds: float  # spent searching
    notes: tuple[str, ...] = field(default=())

    @property
    def gap(self) -> float:
        """How much worse than the bound at most: 0.01 is one per cent; 0 means proven optimal."""
        return 0.0 if self.value <= self.bound else (self.value / self.bound - 1 if self.bound > 0 else float("inf"))

    @property
    def proven(self) -> bool:
        """Within the solvers' rounding of the bound."""
        return self.gap <= 1e-6
