"""Every way to make a first schedule, as a table: baselines, list schedulers, and seeds from other solvers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import permutations

import numpy as np

from hetero.scheduler.algorithms import lists, ranks
from hetero.scheduler.algorithms.context import Context
from hetero.scheduler.algorithms.lists import Assigned, Rule, Stop
from hetero.scheduler.taskgraph import Floats, Ints

ALPHAS = (0.5, 1.0, 2.0, 4.0, 8.0, 32.0, 128.0)  # how much the prices count beside the finish time
BUSY = 0.3  # of the time: queues with less to do need no regard in big graphs
ORDERS_OF = 4  # devices up to which priority-greedy tries every order of them

Made = Iterable[tuple[str, Assigned | None]]
Maker = Callable[[Context, Stop | None], Made]


# -- assignments without times ---------------------------------------------------------------------------


def assigned(c: Context, device: Ints) -> Assigned:
    """Tasks on these devices, in order of their upward rank."""
    return Assigned(device, np.array(c.heft_order, np.int64))


def single_devices(c: Context, stop: Stop | None = None) -> Made:
    """All on one device but for what must not run there: that goes where it takes the fewest seconds."""
    cheapest = _by_group(c, c.flat.seconds).argmin(1)
    for p, spec in enumerate(c.g.devices):
        yield f"only {spec.name}", assigned(c, np.where(c.flat.mask[:, p], p, cheapest))


def priority_greedy(c: Context, stop: Stop | None = None) -> Made:
    """What ONNX Runtime and OpenVINO do: devices in order of priority, each takes all that it can run."""
    every = range(c.flat.count)
    tried = list(permutations(every)) if c.flat.count <= ORDERS_OF else [tuple(every), tuple(reversed(every))]
    for order in tried:
        taken = np.array(order)[c.flat.mask[:, list(order)].argmax(1)]
        yield "priority " + " ".join(c.g.devices[p].name for p in order), assigned(c, taken)


def _by_group(c: Context, cost: Floats) -> Floats:
    """(n, P) the cost of each task, or of all that it must stay with."""
    if not c.flat.grouped:
        return cost
    total = np.zeros_like(cost)
    np.add.at(total, c.flat.group, cost)
    return total[c.flat.group]


def cheapest(c: Context, stop: Stop | None = None) -> Made:
    """Each task where it alone costs least, for every part of the objective."""
    flat, weights = c.flat, c.objective.weights
    seconds = np.where(flat.mask, flat.seconds, 0.0)
    parts = {"latency": seconds, "serial": seconds, "throughput": seconds, "energy": flat.joules, "cost": flat.money}
    total = np.zeros_like(seconds)
    for name, weight in weights.items():
        total += weight * parts[name]
    yield "cheapest each", assigned(c, _by_group(c, np.where(flat.mask, total, np.inf)).argmin(1))
    yield "cheapest by price", assigned(c, _by_group(c, c.prices.regret_s).argmin(1))


# -- list schedulers -------------------------------------------------------------------------------------


def heft(c: Context, stop: Stop | None = None) -> Made:
    yield "heft", lists.schedule(c.flat, c.heft_order, Rule(c.flat.seconds), stop)


def cpop(c: Context, stop: Stop | None = None) -> Made:
    """The critical path on the one device where it is quickest, all else by earliest finish."""
    priority = c.upward + ranks.downward(c.flat)
    path = _critical_path(c, priority)
    cost = c.flat.seconds.copy()
    may = c.flat.mask[path].all(0)
    if may.any():
        p = int(np.where(may, cost[path].sum(0), np.inf).argmin())
        others = [q for q in range(c.flat.count) if q != p]
        cost[np.ix_(path, others)] = np.inf
        if c.flat.grouped:
            cost = np.where(np.isinf(_by_group(c, cost)), np.inf, cost)
    yield "cpop", lists.schedule(c.flat, ranks.by_ready(c.flat, priority), Rule(cost), stop)


def _critical_path(c: Context, priority: Floats) -> list[int]:
    """From the first task of highest priority along readers of the highest priority."""
    flat = c.flat
    first = np.flatnonzero(np.diff(flat.in_start) == 0)
    at = int(first[priority[first].argmax()])
    path: list[int] = []
    while at >= 0:
        path.append(at)
        at = max(ranks.followers(flat, at), key=lambda j: (priority[j], -j), default=-1)
    return path


def peft(c: Context, stop: Stop | None = None) -> Made:
    yield "peft", _peft(c, c.mean_tails, stop, contended=False)


def peft_links(c: Context, stop: Stop | None = None) -> Made:
    """PEFT with the real time between each two devices, with and without waiting for links."""
    yield "peft by links", _peft(c, c.tails, stop, contended=False)
    yield "peft by links, queued", _peft(c, c.tails, stop, contended=True)


def _peft(c: Context, tails: Floats, stop: Stop | None, *, contended: bool) -> Assigned | None:
    known = np.where(c.flat.mask & np.isfinite(tails), tails, 0.0)
    rank = known.sum(1) / c.flat.mask.sum(1)
    order = ranks.by_ready(c.flat, rank)
    return lists.schedule(c.flat, order, Rule(c.flat.seconds + tails, contended=contended), stop)


def priced(
    c: Context, alpha: float, *, contended: bool = False, sending: float = 0.0, stop: Stop | None = None
) -> Assigned | None:
    cost = c.flat.seconds + alpha * c.flat.count * c.prices.regret_s
    return lists.schedule(c.flat, c.heft_order, Rule(cost, contended=contended, sending=sending), stop)


def price_guided(c: Context, stop: Stop | None = None) -> Iterator[tuple[str, Assigned | None]]:
    for alpha in ALPHAS:
        yield f"prices {alpha:g}", priced(c, alpha, stop=stop)
        yield f"prices {alpha:g}, queued", priced(c, alpha, contended=True, stop=stop)


def large(c: Context, stop: Stop | None = None) -> Made:
    """For big graphs prices count much: their devices have plenty of other work. So do queues that are nearly full."""
    if _queue_load_s(c) > BUSY * c.prices.bound_s:
        yield "prices 16, queued, few sendings", priced(c, 16.0, contended=True, sending=1.0)
    else:
        yield "prices 32", priced(c, 32.0)


def _queue_load_s(c: Context) -> float:
    """Seconds that each link queue is busy if tasks are spread evenly, about."""
    away = 1 - 1 / c.flat.count
    return away * float(c.flat.mean_edge_seconds.sum()) / c.flat.queues if c.flat.queues else 0.0


def heft_queued(c: Context, stop: Stop | None = None) -> Made:
    yield "heft, queued", lists.schedule(c.flat, c.heft_order, Rule(c.flat.seconds, contended=True), stop)
    yield "heft, appended", lists.schedule(c.flat, c.heft_order, Rule(c.flat.seconds, False, True), stop)


BASELINES: Mapping[str, Maker] = {  # no plan is worse than any of these
    "single devices": single_devices,
    "priority": priority_greedy,
    "heft": heft,
    "cpop": cpop,
    "peft": peft,
}
CANDIDATES: Mapping[str, Maker] = {
    **BASELINES,
    "cheapest": cheapest,
    "heft, queued": heft_queued,
    "peft by links": peft_links,
    "prices": price_guided,
}
