"""Memory of delays as rings of steps: what a stage gave, and what is on its way to it."""

from __future__ import annotations

import numpy as np

from hetero.op import Array


class Past:
    """The last `depth` outputs of a stage (depth, batch, size), the newest first, and the one of this step."""

    def __init__(self, rows: Array) -> None:
        self._ring = np.concatenate((np.zeros_like(rows, shape=(1, *rows.shape[1:])), rows))
        self._slot = 1  # of the newest; one step before lies one further
        self._elements = np.arange(self._ring[0].size).reshape(rows.shape[1:])

    def put(self, out: Array) -> None:
        self._slot = (self._slot - 1) % len(self._ring)
        self._ring[self._slot] = out

    def at(self, late: int | Array) -> Array:
        """So many steps before, or for each element of a sample so many."""
        slots = (self._slot + np.asarray(late)) % len(self._ring)
        if slots.ndim == 0:
            return self._ring[int(slots)]
        return self._ring.reshape(-1).take(slots * self._elements.size + self._elements)

    def rows(self) -> Array:
        return np.roll(self._ring, -self._slot, 0)[:-1]


class Coming:
    """What arrives in the next `depth` steps (depth, batch, size), the next first."""

    def __init__(self, rows: Array, shift: int) -> None:
        self._ring = np.concatenate((rows, np.zeros_like(rows, shape=(1, *rows.shape[1:]))))
        self._slot, self._shift = 0, shift  # what arrives next

    def pass_(self, brought: Array) -> Array:
        """What arrives in this step, after (batch, steps of delay * size) has set out in it."""
        ring, slot = self._ring, self._slot
        parts = brought.reshape(ring.shape[1], len(ring), ring.shape[2]).swapaxes(0, 1)
        if self._shift:
            parts = parts >> self._shift
        later = len(ring) - slot
        ring[slot:] += parts[:later]
        ring[:slot] += parts[later:]
        arrived = ring[slot].copy()
        ring[slot] = 0
        self._slot = (slot + 1) % len(ring)
        return arrived

    def rows(self) -> Array:
        return np.roll(self._ring, -self._slot, 0)[:-1]
