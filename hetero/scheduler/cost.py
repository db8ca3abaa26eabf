"""Time and energy of work on a device, from its profile: a roofline for each pass, with intervals carried through.

    seconds = launch + max(op / (peak * compute efficiency), byte / (bandwidth * memory efficiency))

Efficiencies come from the profile's rows for the class of op, its dtype and its size, and between two sizes lie on the
line between them; where a profile has none they are assumed by kind of device (see `cost_default`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, Protocol

from hetero.op import TensorType
from hetero.profile.profile import Profile
from hetero.profile.quantity import Interval, Quantity, interval
from hetero.scheduler.cost_class import CLASSES, op_class
from hetero.scheduler.cost_model import Model, model_of
from hetero.scheduler.cost_refuse import refusal
from hetero.scheduler.cost_work import BITS, Pass, Work, work_of

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


def estimate(work: Work, profile: Profile, dtype: str | None = None) -> Estimate:
    """Time and dynamic energy of `work` on a device of `profile`; `dtype`: what it computes in instead of floats."""
    return _estimate(work if dtype is None else work.as_dtype(dtype), model_of(profile))


@lru_cache(1 << 16)
def _estimate(work: Work, model: Model) -> Estimate:
    if work.spiking and model.profile.spiking is not None:
        return _spikes(work, model)
    seconds, spent = ZERO, {"launch": 0.0, "compute": 0.0, "memory": 0.0}
    for p in model.passes(work):
        rate = model.rate(p.op_class, work.dtype, p.size)
        launch = rate.launch_s.scale(p.times)
        compute, memory = p.op * rate.second_per_op, p.byte * rate.second_per_byte
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
    return work.op * each + work.whole.byte * (model.joule_per_byte or ZERO)


def _spikes(work: Work, model: Model) -> Estimate:
    """Time: the steps, or the events and updates of a step where they take longer. Energy: each event, each update."""
    s = model.profile.spiking
    assert s is not None
    events, updates = work.events / work.steps, work.neuron_updates / work.steps
    cores = _value(model.profile.limits.get("cores")) or 1.0
    busy = (events * _given(s.second_per_synaptic_event) + updates * _given(s.second_per_neuron_update)).scale(
        1 / cores
    )
    if s.synaptic_event_per_s is not None:
        busy = busy.max(events / interval(s.synaptic_event_per_s))
    seconds = _given(s.step_s).max(busy).scale(work.steps)
    joules = work.events * _given(s.joule_per_synaptic_event) + work.neuron_updates * _given(s.joule_per_neuron_update)
    missing = [k for k in ("joule_per_synaptic_event", "joule_per_neuron_update") if getattr(s, k) is None]
    return Estimate(seconds, joules, "events", tuple(missing))


def _given(q: Quantity | None) -> Interval:
    return ZERO if q is None else interval(q)


def _value(q: Quantity | None) -> float | None:
    return None if q is None else q.value


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
    "Estimate",
    "Link",
    "Moved",
    "Pass",
    "Work",
    "convert",
    "estimate",
    "op_class",
    "refusal",
    "static_w",
    "transfer",
    "work_of",
]
