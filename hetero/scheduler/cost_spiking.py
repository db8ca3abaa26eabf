"""Time and energy of spiking networks: events on a neuromorphic chip, launches and traffic of them on a processor.

On a chip

    joules  = events x J/event + updates x J/update + spikes x J/spike + hops x J/hop      (static power: the plan's)
    seconds = ticks x step_s + what the busiest core does, or events / (events a second) where that is longer

with the counts of the network on that chip (`hetero.chip.expect`), priced as those of a run are (`hetero.chip.bill`).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import prod
from threading import RLock

from hetero.chip import Mapped, bill, map_network
from hetero.chip.expect import chip_of_profile, expected
from hetero.dim import concrete
from hetero.errors import HeteroError
from hetero.graph.ir import Graph, Node
from hetero.profile.profile import Profile
from hetero.profile.quantity import Interval, Quantity, interval
from hetero.scheduler.cost_default import STEP, UNKNOWN, Activity
from hetero.scheduler.cost_model import Model
from hetero.scheduler.cost_work import BITS, Pass, Work
from hetero.spiking.layers import KINDS
from hetero.spiking.read import Loop
from hetero.spiking.work import layer_works, spiking_loop

ZERO = Interval(0.0, 0.0, 0.0)
SHOWN = 4  # violations of a refusal
KEPT = 32  # mappings remembered
_mapped: OrderedDict[tuple[str, int], tuple[Graph, Mapped | str]] = OrderedDict()
_lock = RLock()


# -- work -----------------------------------------------------------------------------------------------------


def spiking_work(work: Work, node: Node, graph: Graph, activity: Activity | None = None) -> Work:
    """The work of a `scan` with the counts of its network, at the default activity if none is given; else as it is.

    As a pass over memory it is event-driven: a weight read, multiplied and added for each event, states read and
    written in each step, and a launch for each layer in each step.
    """
    loop = spiking_loop(node)
    if loop is None:
        return work
    active = activity or UNKNOWN
    steps, samples = steps_of(node, graph, loop)
    each = [layer_works(loop.network, a) for a in (active.share.low, active.share.mid, active.share.high)]
    ticks = steps * samples
    events, spikes = (Interval(*(sum(getattr(w, k) for w in ws) * ticks for ws in each)) for k in ("events", "spikes"))
    body: Graph = node.attrs["body"]
    size = BITS[loop.network.dtype.name] / 8
    carried = int(node.attrs["carried"])
    states = sum(float(body.types[p.value].nbytes) for p in body.inputs[:carried]) * 2 * steps
    layers = [n for n in body.nodes if n.op.name in KINDS]
    rest = sum(
        float(n.op.cost(body.in_types(n), body.out_types(n), n.attrs).flop)
        for n in layers if not n.op.name.startswith("synapse_") and n.op.name != "sum_pool"
    )  # fmt: skip
    whole = replace(
        work.whole, op=rest * steps + 2 * events.mid, times=float(max(steps, 1) * len(layers)),
        read_byte=work.whole.read_byte + states + events.mid * size,
    )  # fmt: skip
    return replace(
        work, whole=whole, parts=(), events=events, spikes=spikes, steps=float(ticks),
        neuron_updates=float(sum(w.updates for w in each[1]) * ticks),
        idle_updates=Interval(*(sum(w.idle for w in ws) * ticks for ws in reversed(each))),
        activity=active,
    )  # fmt: skip


def steps_of(node: Node, graph: Graph, loop: Loop) -> tuple[int, int]:
    """Steps of a loop, and samples of its batch."""
    first = concrete(graph.types[node.inputs[int(node.attrs["carried"])]].known)
    return int(first[0]), prod(first[1 : 1 + loop.lead])


def on_chip(work: Work, node: Node, profile: Profile) -> Work:
    """The work with its events as the chip of `profile` has them; unchanged where no such chip is shipped."""
    if not work.spiking or not neuromorphic(profile) or work.activity is None:
        return work
    found = mapped_on(node, profile)
    if not isinstance(found, Mapped):
        return work
    low, mid, high = (expected(found, int(work.steps), a) for a in _ends(work.activity.share))
    return replace(
        work, on_chip=(low, mid, high), events=Interval(low.synaptic, mid.synaptic, high.synaptic),
        spikes=Interval(low.spikes, mid.spikes, high.spikes), hops=Interval(low.hops, mid.hops, high.hops),
        idle_updates=Interval(high.idle_updates, mid.idle_updates, low.idle_updates),
        neuron_updates=float(mid.updates),
    )  # fmt: skip


def _ends(i: Interval) -> tuple[float, float, float]:
    return i.low, i.mid, i.high


# -- what a chip takes ----------------------------------------------------------------------------------------


def neuromorphic(profile: Profile) -> bool:
    """Whether spiking networks run as events there."""
    return profile.spiking is not None and profile.runs("spiking")


def chip_refusal(node: Node, profile: Profile) -> str | None:
    """Why the spiking network of a `scan` does not run on a neuromorphic device: limit, layer and value of each
    violation."""
    loop = spiking_loop(node)
    assert loop is not None
    over = _totals(loop, profile)
    if over:
        return over
    found = mapped_on(node, profile)
    if found is None:
        return _arithmetic(loop, profile)
    if isinstance(found, str):
        return f"{profile.name}: {found}"
    if found.fits:
        return None
    said = [f"{v.limit}: {v}" for v in found.violations]
    more = [f"and {len(said) - SHOWN} more"] if len(said) > SHOWN else []
    return f"{profile.name}: {'; '.join([*said[:SHOWN], *more])}"


def _totals(loop: Loop, profile: Profile) -> str | None:
    """Neurons and synapses of the whole device, which need no mapping."""
    s = profile.spiking
    assert s is not None
    works = layer_works(loop.network, 1.0)
    wrong: list[str] = []
    for what, most in (("updates", s.max_neurons), ("synapses", s.max_synapses)):
        total = sum(getattr(w, what) for w in works)
        if most is not None and total > most.value:
            name = max(works, key=lambda w: getattr(w, what)).name
            noun = "neurons" if what == "updates" else "synapses"
            wrong.append(
                f"max_{noun}: the network has {total:,} {noun} > {most.value:,.0f} of {profile.name}, most of them in "
                f"layer {name}; make it smaller"
            )
    return "; ".join(wrong) or None


def _arithmetic(loop: Loop, profile: Profile) -> str | None:
    """Of a device whose inside is not shipped: integers where it has no floats."""
    name = loop.network.dtype.name
    if name.startswith("int") or name in profile.dtypes:
        return None
    return f"numbers: the network is {name}, yet {profile.name} keeps integers; quantise it (hetero.quantize_loihi)"


def mapped_on(node: Node, profile: Profile) -> Mapped | str | None:
    """The network on the chip of `profile`, or why it cannot be put there; None: no chip of that name is shipped."""
    chip, loop = chip_of_profile(profile.name), spiking_loop(node)
    if chip is None or loop is None:
        return None
    body: Graph = node.attrs["body"]
    key = profile.name, id(body)
    with _lock:
        known = _mapped.get(key)
    if known is not None and known[0] is body:
        return known[1]
    try:
        made: Mapped | str = map_network(loop.network, chip)
    except HeteroError as e:
        made = e.problem
    with _lock:
        _mapped[key] = body, made  # the body is held, so that its id stays its own
        while len(_mapped) > KEPT:
            _mapped.popitem(last=False)
    return made


def resident_byte(graph: Graph, node: Node, profile: Profile) -> float | None:
    """What a spiking network occupies of a chip while it is there: memory in the share of cores that it takes, less the
    room for what goes in and out; None where no such chip is shipped."""
    found = mapped_on(node, profile) if neuromorphic(profile) else None
    cores = found.chip.limit("cores") if isinstance(found, Mapped) else None
    if not isinstance(found, Mapped) or cores is None or profile.memory_byte is None:
        return None
    carried = int(node.attrs["carried"])
    border = sum(float(graph.types[i].nbytes) for i in (*node.inputs[carried:], *node.outputs[carried:]))
    return max(profile.memory_byte.value - border, 0.0) * min(found.cores / cores, 1.0)


# -- time and energy ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Bill:
    """Time and dynamic energy of a spiking network on a device, term by term. `assumed`: what its profile lacks."""

    seconds: Interval
    terms: Mapping[str, Interval] = field(hash=False)
    assumed: tuple[str, ...] = ()

    @property
    def joules(self) -> Interval:
        total = ZERO
        for term in self.terms.values():
            total = total + term
        return total


def spiking_bill(work: Work, model: Model) -> Bill:
    """By the events of the chip where it is shipped, else by those of the layers."""
    s = model.profile.spiking
    assert s is not None
    seconds, terms, missing = _of_chip(work, model) if work.on_chip else _of_layers(work, model)
    if s.synaptic_event_per_s is not None:
        seconds = seconds.max(interval(work.events) / interval(s.synaptic_event_per_s))
    silent = (s.step_s, s.second_per_synaptic_event, s.second_per_neuron_update, s.synaptic_event_per_s)
    lacks = list(missing)
    if all(q is None for q in silent):
        seconds = interval(STEP).scale(work.steps)
        lacks.append("step_s")
    if "joule_per_synaptic_event" in missing:
        terms = {**terms, "power above idle": seconds * model.dynamic_w}
    return Bill(seconds, terms, tuple(lacks))


Parts = tuple[Interval, Mapping[str, Interval], tuple[str, ...]]
FIELDS = {"update": "joule_per_neuron_update", "spike": "joule_per_spike", "hop": "joule_per_hop",
          "synaptic": "joule_per_synaptic_event"}  # fmt: skip


def _of_chip(work: Work, model: Model) -> Parts:
    chip = chip_of_profile(model.profile.name)
    assert chip is not None
    assert work.on_chip is not None
    low, mid, high = (bill(chip, events) for events in work.on_chip)
    terms = {k: Interval(low.terms[k].low, mid.terms[k].mid, high.terms[k].high) for k in mid.terms if k != "static"}
    if low.seconds is None or mid.seconds is None or high.seconds is None:
        seconds = ZERO
    else:
        seconds = Interval(low.seconds.low, mid.seconds.mid, high.seconds.high)
    # more idle updates at the low end of the activity cost less each, so that terms stay in order
    terms = {k: Interval(min(t.low, t.mid), t.mid, max(t.mid, t.high)) for k, t in terms.items()}
    return seconds, terms, tuple(FIELDS[k] for k in mid.missing if k in FIELDS)


def _of_layers(work: Work, model: Model) -> Parts:
    """The steps, or the events and updates of a step where they take longer, spread over the cores."""
    s = model.profile.spiking
    assert s is not None
    events, idle = interval(work.events), interval(work.idle_updates)
    busy = events * _given(s.second_per_synaptic_event) + work.neuron_updates * _given(s.second_per_neuron_update)
    cores = model.profile.limits.get("cores")
    busy = busy.scale(1 / cores.value if cores is not None and cores.value else 1.0)
    seconds = _given(s.step_s).scale(work.steps).max(busy)
    active = Interval(*(work.neuron_updates - i for i in (idle.high, idle.mid, idle.low)))
    each = _given(s.joule_per_neuron_update)
    terms = {
        "update": active * each + idle * (_given(s.joule_per_idle_update) if s.joule_per_idle_update else each),
        "spike": interval(work.spikes) * _given(s.joule_per_spike),
        "synaptic": events * _given(s.joule_per_synaptic_event),
    }
    missing = [k for k in ("joule_per_synaptic_event", "joule_per_neuron_update") if getattr(s, k) is None]
    return seconds, {k: t for k, t in terms.items() if t.high}, tuple(missing)


def processor(work: Work, p: Pass) -> tuple[Interval, Interval]:
    """Operations and bytes of a pass of a spiking network on a processor, as wide as its events are uncertain."""
    events, size = interval(work.events), BITS[work.dtype] / 8
    off = events.low - events.mid, 0.0, events.high - events.mid
    return Interval(*(p.op + 2 * d for d in off)), Interval(*(p.byte + size * d for d in off))


def _given(q: Quantity | None) -> Interval:
    return ZERO if q is None else interval(q)
