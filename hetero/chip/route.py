"""Cores on the mesh, and the ways between them: dimension order, first along the row, then along the column."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

from hetero.op import Array

ROUNDS = 4  # of swaps over all cores
Tile: TypeAlias = tuple[int, int]  # row, column
Matrix: TypeAlias = Any  # scipy.Matrix, whose types are not complete


def route(a: Tile, b: Tile) -> list[Tile]:
    """The tiles from a to b, both included."""
    row, step = a[0], 1 if b[1] >= a[1] else -1
    along = [(row, c) for c in range(a[1], b[1], step)]
    step = 1 if b[0] >= a[0] else -1
    return [*along, *((r, b[1]) for r in range(row, b[0], step)), b]


def hops(a: Array, b: Array) -> Array:
    """Links passed between tiles: a and b (..., 2) -> (...)"""
    return np.abs(a - b).sum(axis=-1)


def place(traffic: Matrix, shape: tuple[int, int, int]) -> Array:
    """A tile (row, column) for each core, so that spikes times hops are few: (n, n) -> (n, 2)

    The core with most traffic goes to the middle; then always the one that those already there talk to most, to the
    free slot that is best for it; then pairs are swapped as long as that helps. No chance is in it.
    """
    from scipy.sparse import csr_array  # late, as in mapping.py

    rows, columns, per_tile = shape
    both: Matrix = csr_array(traffic + traffic.T)
    n = both.shape[0]
    middle = np.array([(rows - 1) / 2, (columns - 1) / 2])
    tiles = np.indices((rows, columns)).reshape(2, -1).T
    free = np.full(rows * columns, per_tile, np.int64)
    at = np.full(n, -1, np.int64)  # core -> tile number
    talk = np.zeros(n)
    weight = np.asarray(both.sum(axis=1)).ravel() * 1e-9  # breaks ties: busy cores first
    for _ in range(n):
        core = int(np.argmax(np.where(at < 0, talk + weight, -1)))
        cost = _cost(both, core, at, tiles, rows, columns) + 1e-9 * np.abs(tiles - middle).sum(axis=1)
        best = int(np.argmin(np.where(free > 0, cost, np.inf)))
        at[core] = best
        free[best] -= 1
        near = slice(both.indptr[core], both.indptr[core + 1])
        talk[both.indices[near]] += both.data[near]
    _swap(both, at, tiles, free, rows, columns)
    return tiles[at]


def _cost(both: Matrix, core: int, at: Array, tiles: Array, rows: int, columns: int) -> Array:
    """Spikes times hops of a core, for each tile that it could be on."""
    near = slice(both.indptr[core], both.indptr[core + 1])
    other, weight = both.indices[near], both.data[near]
    there = (at[other] >= 0) & (other != core)
    where, weight = tiles[at[other[there]]], weight[there]
    along = np.bincount(where[:, 1], weight, minlength=columns)
    down = np.bincount(where[:, 0], weight, minlength=rows)
    far = np.abs(np.arange(columns)[:, None] - np.arange(columns)) @ along
    low = np.abs(np.arange(rows)[:, None] - np.arange(rows)) @ down
    return np.add.outer(low, far).ravel()


def _swap(both: Matrix, at: Array, tiles: Array, free: Array, rows: int, columns: int) -> None:
    """Moves each core to the tile that is best for it, or swaps it with a core there, where the sum gets less."""
    n = len(at)
    for _ in range(ROUNDS):
        better = False
        for core in range(n):
            cost = _cost(both, core, at, tiles, rows, columns)
            to, was = int(np.argmin(cost)), int(at[core])
            gain = cost[was] - cost[to]
            if gain <= 0:
                continue
            if free[to] > 0:
                free[was], free[to], at[core] = free[was] + 1, free[to] - 1, to
                better = True
                continue
            for other in np.flatnonzero(at == to):
                theirs = _cost(both, int(other), at, tiles, rows, columns)
                shared = 2 * both[core, int(other)] * hops(tiles[was], tiles[to])  # both stay as far from each other
                if gain + theirs[to] - theirs[was] - shared > 1e-9:
                    at[core], at[other] = to, was
                    better = True
                    break
        if not better:
            return
