"""From times to rates: what a launch, an operation and a byte of each class take, so that their sums come nearest.

Each observation is a sum over its passes: launches, plus operations (or bytes) times a rate. The rate of a class is a
line between the middles of size buckets, so the sum is linear in what is looked for, and non-negative least squares
on relative errors finds it. Few observations speak for one class and one size; so a rate is also drawn, gently, to
that of the next size and of the class above it. Weights are set anew a few times so that absolute errors count and
not their squares: one spoilt measurement among ten changes little.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import floor, inf, isfinite

import numpy as np
from numpy.typing import NDArray

from hetero.scheduler.cost import Pass

BUCKET = 2  # width of a size bucket in log2
TO_NEXT, TO_PARENT = 0.1, 0.05  # how strongly a rate is drawn to its neighbour in size, and to the class above
LAUNCH_TO_PARENT = 0.2
TURNS = 6  # of reweighting
APART = ("step.", "elementwise.", "transcendental.", "pool.", "gather.")  # classes whose kinds differ by nature
LEAST_RESIDUAL = 0.05  # below, residuals weigh alike

# Classes whose time goes by the bytes; all others by their operations.
BY_BYTE = (
    "elementwise.plain", "reduction", "movement", "gather", "region", "scan", "matmul.vector", "normalise", "view",
)  # fmt: skip
BY_BYTE_PARTS = (".columns", ".bias", ".few")

Key = tuple[str, str, int]  # "launch" or "rate", class, bucket


@dataclass(frozen=True, slots=True)
class Observation:
    """The passes of one graph and the time it took."""

    passes: tuple[Pass, ...]
    seconds: float


@dataclass(frozen=True)
class Rates:
    """What was fitted: class -> launch, class -> bucket -> seconds for one operation or byte."""

    launch_s: Mapping[str, float]
    rate: Mapping[str, Mapping[int, float]]
    spread: Mapping[str, float] = field(default_factory=dict[str, float])  # class -> relative, of its residuals

    def seconds(self, passes: Sequence[Pass]) -> float:
        """The prediction; infinite where a class was never seen."""
        return sum(self._one(p) for p in passes)

    def _one(self, p: Pass) -> float:
        name = p.op_class
        while name not in self.rate:
            name = name.rpartition(".")[0]
            if not name:
                return inf
        buckets = self.rate[name]
        at = np.interp(_place(p.size), list(buckets), list(buckets.values()))
        return self.launch_s[name] * p.times + amount(p) * float(at)


def by_byte(op_class: str) -> bool:
    return op_class.startswith(BY_BYTE) or any(part in op_class for part in BY_BYTE_PARTS)


def amount(p: Pass) -> float:
    """What the time goes by."""
    return p.byte if by_byte(p.op_class) or not p.op else p.op


def parent(op_class: str) -> str:
    return op_class.rpartition(".")[0]


def _place(size: float) -> float:
    """Where a size lies, in buckets: a whole number is the middle of one."""
    return size / BUCKET - 0.5


def fit(observations: Sequence[Observation]) -> Rates:
    """Rates for all classes, found apart for classes that never meet in one observation."""
    launch: dict[str, float] = {}
    rate: dict[str, dict[int, float]] = {}
    spread: dict[str, float] = {}
    for group in _apart(observations):
        made = _fit_group(group)
        launch |= made.launch_s
        rate.update({name: dict(r) for name, r in made.rate.items()})
        spread |= made.spread
    return Rates(launch, rate, spread)


def _apart(observations: Sequence[Observation]) -> list[list[Observation]]:
    """Observations in groups that share no root class."""
    leader: dict[str, str] = {}

    def find(x: str) -> str:
        while leader.setdefault(x, x) != x:
            x = leader[x]
        return x

    for o in observations:
        roots = [p.op_class.partition(".")[0] for p in o.passes]
        for r in roots[1:]:
            leader[find(r)] = find(roots[0])
    groups: dict[str, list[Observation]] = {}
    for o in observations:
        if o.passes:
            groups.setdefault(find(o.passes[0].op_class.partition(".")[0]), []).append(o)
    return list(groups.values())


# -- one group --------------------------------------------------------------------------------------------------


class _System:
    """Rows of a least-squares problem, unknowns by key."""

    def __init__(self) -> None:
        self.keys: dict[Key, int] = {}
        self.rows: list[dict[int, float]] = []

    def column(self, key: Key) -> int:
        return self.keys.setdefault(key, len(self.keys))

    def matrix(self, rows: Sequence[Mapping[int, float]]) -> NDArray[np.float64]:
        out = np.zeros((len(rows), len(self.keys)))
        for i, row in enumerate(rows):
            for j, value in row.items():
                out[i, j] = value
        return out


def _fit_group(observations: Sequence[Observation]) -> Rates:
    system = _System()
    facts = [_fact(system, o) for o in observations]
    unit = _units(observations)
    ties = _ties(system, unit)
    scale = np.array([unit["launch" if k[0] == "launch" else "rate", k[1]] for k in system.keys])
    seen, drawn = system.matrix(facts) * scale, system.matrix(ties) * scale
    found = _solve(seen, drawn) * scale
    value = {key: float(found[j]) for key, j in system.keys.items()}
    rate: dict[str, dict[int, float]] = {}
    for (kind, name, bucket), v in sorted(value.items()):
        if kind == "rate":
            rate.setdefault(name, {})[bucket] = v
    launch = {name: v for (kind, name, _), v in value.items() if kind == "launch"}
    rates = Rates(launch, rate)
    return Rates(launch, rate, _spreads(rates, observations))


def _fact(system: _System, o: Observation) -> dict[int, float]:
    """What an observation says: the sum over its passes, in parts of its time, is one."""
    row: dict[int, float] = {}
    for p in o.passes:
        place = _place(p.size)
        below, share = floor(place), place - floor(place)
        terms = {("launch", p.op_class, 0): p.times}
        for bucket, part in ((below, 1 - share), (below + 1, share)):
            if part:
                terms["rate", p.op_class, bucket] = amount(p) * part
        for key, value in terms.items():
            j = system.column(key)
            row[j] = row.get(j, 0.0) + value / o.seconds
    return row


def _units(observations: Sequence[Observation]) -> dict[tuple[str, str], float]:
    """For each class a typical launch time and rate, from the quickest observations of classes beside it: its own are
    not trusted where there are few of them."""
    own: dict[tuple[str, str], float] = {}
    for o in observations:
        for p in o.passes:
            for kind, value in (("launch", o.seconds / max(p.times, 1.0)), ("rate", o.seconds / max(amount(p), 1.0))):
                key = (kind, p.op_class)
                own[key] = min(own.get(key, inf), value)
    beside: dict[tuple[str, str], list[float]] = {}
    for (kind, name), value in own.items():
        above = parent(name)
        while above:
            beside.setdefault((kind, above), []).append(value)
            above = parent(above)
    middle = {"launch": min, "rate": np.median}  # no launch takes longer than the quickest run
    unit = {key: float(middle[key[0]](values)) for key, values in beside.items()}
    for (kind, name), value in own.items():
        typical = value if kind == "rate" and name.startswith(APART) else unit.get((kind, parent(name)), value)
        unit[kind, name] = min(value, typical)
    return unit


def _ties(system: _System, unit: Mapping[tuple[str, str], float]) -> list[dict[int, float]]:
    """Rates of neighbouring sizes, and of a class and the one above it, are drawn together."""
    for kind, name, bucket in list(system.keys):
        above = parent(name)
        while above:
            system.column((kind, above, bucket))
            above = parent(above)
    for kind, name, bucket in list(system.keys):  # sizes that only a class beside it was seen at
        for other in [n for k, n in unit if k == kind == "rate" and parent(n) == name]:
            system.column((kind, other, bucket))
    ties: list[dict[int, float]] = []
    of_class: dict[str, list[int]] = {}
    for kind, name, bucket in system.keys:
        if kind == "rate":
            of_class.setdefault(name, []).append(bucket)
        above = parent(name)
        if above:
            weight = (LAUNCH_TO_PARENT if kind == "launch" else TO_PARENT) / unit[kind, name]
            ties.append({system.keys[kind, name, bucket]: weight, system.keys[kind, above, bucket]: -weight})
    for name, buckets in of_class.items():
        buckets.sort()
        for a, b in pairwise(buckets):
            weight = TO_NEXT / (b - a) / unit["rate", name]
            ties.append({system.keys["rate", name, a]: weight, system.keys["rate", name, b]: -weight})
    return ties


def _solve(seen: NDArray[np.float64], drawn: NDArray[np.float64]) -> NDArray[np.float64]:
    from scipy.optimize import nnls  # late: nothing but calibration needs it

    weight = np.ones(len(seen))
    found = np.zeros(seen.shape[1])
    for _ in range(TURNS):
        root = np.sqrt(weight)[:, None]
        a = np.vstack([seen * root, drawn])
        b = np.concatenate([root[:, 0], np.zeros(len(drawn))])
        found = np.asarray(nnls(a, b, maxiter=30 * seen.shape[1])[0])
        residual = np.abs(seen @ found - 1)
        weight = 1 / np.maximum(residual, LEAST_RESIDUAL)
        weight /= weight.mean()
    return found


def _spreads(rates: Rates, observations: Sequence[Observation]) -> dict[str, float]:
    """Relative spread of each class: what four of five observations that it takes part in stay within."""
    wrong: dict[str, list[float]] = {}
    for o in observations:
        off = abs(rates.seconds(o.passes) / o.seconds - 1)
        for name in {p.op_class for p in o.passes}:
            while name:
                wrong.setdefault(name, []).append(off)
                name = parent(name)
    return {name: float(np.quantile(v, 0.8)) for name, v in wrong.items() if isfinite(v[0])}
