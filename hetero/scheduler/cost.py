"""Time and energy of work on a device, from its profile: a roofline for each pass, with intervals carried through.

    seconds = launch + max(op / (peak * compute efficiency), byte / (bandwidth * memory efficiency))

Efficiencies come from the profile's rows for the class of op, its dtype and its size, and between two sizes lie on the
line between them; where a profile has none they are assumed by kind of device (see `cost_default`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, Protocol

from hetero.graph.ir import Graph, Node
from hetero.op import TensorType
from hetero.profile.profile import Profile
from hetero.profile.quantity import Interval, Quantity, interval
from hetero.scheduler.cost_class import CLASSES, op_class
from hetero.scheduler.cost_default import Activity
from hetero.scheduler.cost_model import Model, model_of
from hetero.scheduler.cost_refuse import refusal
from hetero.scheduler.cost_spiking import (
    Bill,
    neuromorphic,
    on_chip,
    processor,
    resident_byte,
    spiking_bill,
    spiking_work,
)
from hetero.scheduler.cost_work import BITS, Pass, Work
from hetero.scheduler.cost_work import work_of as plain_work

Bound = Literal["compute", "memory", "launch", "events"]
ZERO = Interval(0.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Estimate:
    """What some work takes on a device. `joules` is dynamic energy; static power is `static_w` times the whole time."""

    seconds: Interval
    joules: Interval
    bound: Bound  # what most of the time goes to
    assumed: tuple[str, ...] = ()  # values that the profile lacks and `cost_default` gave


@dataclass(frozen=True, slots=True)
class Moved:
    """What a transfer takes, without waiting for the link."""

    seconds: Interval
    joules: Interval


def work_of(graph: Graph, node: Node, activity: Activity | None = None) -> Work:
    """The work of a node of a static graph; of a spiking loop with its events, at that activity."""
    return spiking_work(plain_work(graph, node), node, graph, activity)


def bill_of(work: Work, profile: Profile) -> Bill | None:
    """Term by term, what a spiking network takes on a neuromorphic device; None of other work, and on others."""
    return spiking_bill(work, model_of(profile)) if work.spiking and neuromorphic(profile) else None


def estimate(work: Work, profile: Profile, dtype: str | None = None) -> Estimate:
    """Time and dynamic energy of `work` on a device of `profile`; `dtype`: what it computes in instead of floats."""
    return _estimate(work if dtype is None else work.as_dtype(dtype), model_of(profile))


@lru_cache(1 << 16)
def _estimate(work: Work, model: Model) -> Estimate:
    if work.spiking and neuromorphic(model.profile):
        b = spiking_bill(work, model)
        return Estimate(b.seconds, b.joules, "events", b.assumed)
    seconds, spent = ZERO, {"launch": 0.0, "compute": 0.0, "memory": 0.0}
    for p in model.passes(work):
        rate = model.rate(p.op_class, work.dtype, p.size)
        launch = rate.launch_s.scale(p.times)
        if work.spiking:  # at best the whole loop is one launch
            launch = Interval(rate.launch_s.low, launch.mid, launch.high)
        op, byte = processor(work, p) if work.spiking else (interval(p.op), interval(p.byte))
        compute, memory = op * rate.second_per_op, byte * rate.second_per_byte
        seconds = seconds + launch + compute.max(memory)
        spent["launch"] += launch.mid
        spent["compute" if compute.mid >= memory.mid else "memory"] += max(compute.mid, memory.mid)
    bound: Bound = max(spent, key=lambda k: spent[k])  # pyright: ignore[reportAssignmentType]
    return Estimate(seconds, _joules(work, model, seconds), bound, model.assumed(work.dtype))


def _joules(work: Work, model: Model, busy: Interval) -> Interval:
    """Published energy an operation and a byte where there is one, else the power above idle while busy."""
    each = model.joule_per_op(work.dtype)
    if each is None:
        return busy * model.dynamic_w
    op, byte = processor(work, work.whole) if work.spiking else (work.op, work.whole.byte)
    return interval(op) * each + interval(byte) * (model.joule_per_byte or ZERO)


def _given(q: Quantity | None) -> Interval:
    return ZERO if q is None else interval(q)


def static_w(profile: Profile) -> Interval:
    """The power that the device draws whenever it is on."""
    return model_of(profile).static_w


class Link(Protocol):
    """What a link must say: `hetero.profile.Link`, or a link of a topology."""

    @property
    def byte_per_s(self) -> Quantity: ...
    @property
    def latency_s(self) -> Quantity: ...
    @property
    def joule_per_byte(self) -> Quantity | None: ...


def transfer(nbytes: float, link: Link) -> Moved:
    """Time and energy to send `nbytes` over one link, without queueing."""
    seconds = interval(link.latency_s) + nbytes / interval(link.byte_per_s)
    return Moved(seconds, nbytes * _given(link.joule_per_byte))


def convert(type: TensorType, source: str, to: str, profile: Profile) -> tuple[Moved, float]:
    """Turning a tensor from dtype `source` into `to` on a device, and the bytes it has then."""
    elements = float(type.nbytes) / type.dtype.itemsize
    before, after = elements * BITS[source] / 8, elements * BITS[to] / 8
    if source == to:
        return Moved(ZERO, ZERO), after
    model = model_of(profile)
    q = profile.convert_byte_per_s
    seconds = (before + after) / (interval(q) if q is not None else model.byte_per_s)
    seconds = seconds + model.rate("movement", to, 0.0).launch_s
    return Moved(seconds, seconds * model.dynamic_w), after


__all__ = [
    "CLASSES",
    "Activity",
    "Bill",
    "Estimate",
    "Link",
    "Moved",
    "Pass",
    "Work",
    "bill_of",
    "convert",
    "estimate",
    "on_chip",
    "op_class",
    "refusal",
    "resident_byte",
    "static_w",
    "transfer",
    "work_of",
]
