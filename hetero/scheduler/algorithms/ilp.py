"""Additive objectives over many devices as an integer program on the local polytope, solved by scipy's HiGHS.

x[i, p]     task i runs on device p
m[e, p, q]  reading e goes from device p to device q: sums to x of its producer and of its reader
y[t, p, q]  tensor t is sent from p to q: at least m of each of its readings. Costs money; a single reader's y is its m.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from hetero.scheduler.flat import Flat
from hetero.scheduler.taskgraph import Floats, Ints


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """An assignment and what none is below."""

    device: Ints
    bound: float


@dataclass(slots=True, eq=False)
class _Rows:
    """Linear constraints low <= A v <= high, as triplets."""

    row: list[Ints]
    column: list[Ints]
    value: list[Floats]
    low: list[Floats]
    high: list[Floats]
    count: int = 0

    def add(self, row: Ints, column: Ints, value: Floats, low: Floats, high: Floats) -> None:
        """`row` counts from 0 within this block of len(low) rows."""
        self.row.append(row + self.count)
        self.column.append(column)
        self.value.append(value)
        self.low.append(low)
        self.high.append(high)
        self.count += len(low)


def integer_program(flat: Flat, task: Floats, per_byte: Floats, per_send: Floats, budget_s: float) -> Found | None:
    """The optimum, or the best found in time with its bound; None when nothing was found in time."""
    from scipy.optimize import Bounds, LinearConstraint, milp
    from scipy.sparse import csr_array

    n, count, edges = flat.n, flat.count, len(flat.consumer)
    source, target, tensor = flat.edges
    shared = np.flatnonzero(np.diff(flat.consumer_start) > 1)
    pairs = count * count
    first_m, first_y = n * count, n * count + edges * pairs
    size = first_y + len(shared) * pairs
    way = _ways(flat, per_byte, per_send)
    cost = np.zeros(size)
    cost[:first_m] = np.where(np.isfinite(task), task, 0.0).ravel()
    single = np.diff(flat.consumer_start)[tensor] == 1
    usable = np.where(np.isfinite(way), way, 0.0)
    cost[first_m:first_y] = (usable[tensor] * single[:, None, None]).ravel()
    cost[first_y:] = usable[shared].ravel()
    upper = np.ones(size)
    upper[:first_m] = np.isfinite(task).ravel()
    upper[first_m:first_y] = np.isfinite(way[tensor]).ravel()
    rows = _Rows([], [], [], [], [])
    _one_device_each(rows, n, count)
    _marginals(rows, source, target, first_m, count)
    _sent(rows, tensor, shared, single, first_m, first_y, pairs)
    _together(rows, flat)
    matrix = csr_array(
        (np.concatenate(rows.value), (np.concatenate(rows.row), np.concatenate(rows.column))), shape=(rows.count, size)
    )
    scale = float(np.abs(cost).max()) or 1.0
    whole = np.zeros(size)
    whole[:first_m] = 1  # with x whole, the rest is whole by itself
    zero: Any = np.zeros(size)
    ends: tuple[Any, Any] = np.concatenate(rows.low), np.concatenate(rows.high)
    most: Any = upper
    bounds, limits = Bounds(zero, most), LinearConstraint(matrix, *ends)
    found = milp(
        cost / scale,
        integrality=whole,
        bounds=bounds,
        constraints=limits,
        options={"time_limit": max(budget_s, 0.01), "mip_rel_gap": 0.0},
    )
    if found.x is None:
        return None
    device = found.x[:first_m].reshape(n, count).argmax(1)
    bound = found.mip_dual_bound if found.mip_dual_bound is not None else found.fun
    return Found(device, float(bound) * scale * (1 - 1e-9))  # HiGHS solves to its tolerance


def _ways(flat: Flat, per_byte: Floats, per_send: Floats) -> Floats:
    """(T, P, P) what each tensor costs on each way; inf without one."""
    zone = flat.tensor_zone
    rate = per_byte[zone]
    finite = np.where(np.isfinite(rate), rate, 0.0)
    return np.where(np.isfinite(rate), flat.tensor_byte[:, None, None] * finite + per_send[zone], np.inf)


def _one_device_each(rows: _Rows, n: int, count: int) -> None:
    one = np.ones(n)
    rows.add(np.repeat(np.arange(n), count), np.arange(n * count), np.ones(n * count), one, one)


def _marginals(rows: _Rows, source: Ints, target: Ints, first_m: int, count: int) -> None:
    """m of a reading sums to x of its producer over q, and to x of its reader over p."""
    edges = len(source)
    e, p, q = (a.ravel() for a in np.meshgrid(np.arange(edges), np.arange(count), np.arange(count), indexing="ij"))
    m = first_m + (e * count + p) * count + q
    zero = np.zeros(edges * count)
    e2, r = (a.ravel() for a in np.meshgrid(np.arange(edges), np.arange(count), indexing="ij"))
    for end, index in ((source, p), (target, q)):
        row = np.concatenate([e * count + index, e2 * count + r])
        column = np.concatenate([m, end[e2] * count + r])
        rows.add(row, column, np.concatenate([np.ones(len(m)), -np.ones(len(e2))]), zero, zero)


def _sent(rows: _Rows, tensor: Ints, shared: Ints, single: Ints, first_m: int, first_y: int, pairs: int) -> None:
    """y of a tensor is at least m of each of its readings."""
    number = np.full(int(tensor.max(initial=-1)) + 1, -1)
    number[shared] = np.arange(len(shared))
    edge = np.flatnonzero(~single)
    k, w = (a.ravel() for a in np.meshgrid(np.arange(len(edge)), np.arange(pairs), indexing="ij"))
    y, m = first_y + number[tensor[edge[k]]] * pairs + w, first_m + edge[k] * pairs + w
    row = np.concatenate([np.arange(len(k)), np.arange(len(k))])
    value = np.concatenate([np.ones(len(k)), -np.ones(len(k))])
    rows.add(row, np.concatenate([y, m]), value, np.zeros(len(k)), np.full(len(k), np.inf))


def _together(rows: _Rows, flat: Flat) -> None:
    """Tasks of one group run on one device."""
    if not flat.grouped:
        return
    other = np.flatnonzero(flat.group != np.arange(flat.n))
    k, p = (a.ravel() for a in np.meshgrid(np.arange(len(other)), np.arange(flat.count), indexing="ij"))
    here, there = other[k] * flat.count + p, flat.group[other[k]] * flat.count + p
    row = np.concatenate([np.arange(len(k)), np.arange(len(k))])
    value = np.concatenate([np.ones(len(k)), -np.ones(len(k))])
    rows.add(row, np.concatenate([here, there]), value, np.zeros(len(k)), np.zeros(len(k)))
