"""What no schedule can beat, whatever the order: from the load of the devices and from the longest path."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from hetero.scheduler.algorithms.context import Context
from hetero.scheduler.limits import static_w

ROUNDING = 1e-12  # relative; the sums behind a bound and behind a schedule round differently


def path_s(c: Context) -> float:
    """Seconds of the longest path, each task wherever it is quickest for that path, even several times."""
    return float((c.flat.seconds + c.tails).min(1).max())


def load_s(c: Context) -> float:
    """Seconds of the most loaded device, the work spread as evenly as fractions allow."""
    return c.prices.bound_s


def latency(c: Context) -> float:
    return max(path_s(c), load_s(c))


def serial(c: Context) -> float:
    return float(c.flat.seconds.min(1).sum())


def energy(c: Context) -> float:
    """Each task where it takes the least, and static power for as long as the schedule must last."""
    least = np.where(c.flat.mask, c.flat.joules, np.inf).min(1).sum()
    still = static_w(c.g)
    return float(least) + (still * latency(c) if still else 0.0)


def cost(c: Context) -> float:
    return float(np.where(c.flat.mask, c.flat.money, np.inf).min(1).sum())


BOUNDS: Mapping[str, Callable[[Context], float]] = {
    "latency": latency,
    "serial": serial,
    "throughput": load_s,
    "energy": energy,
    "cost": cost,
}


def bound(c: Context) -> float:
    """A lower bound of the objective: the weighted sum of each part's."""
    return sum(w * BOUNDS[name](c) for name, w in c.objective.weights.items()) * (1 - ROUNDING)
