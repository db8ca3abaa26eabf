"""Values while a plan runs: which node holds each one, and the copies made between nodes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from threading import Lock
from typing import TYPE_CHECKING

from hetero import registry
from hetero.op import Array, Types
from hetero.spi import Buffer, Device
from hetero.transfer import download, move

if TYPE_CHECKING:
    from hetero.scheduler.plan import Plan
    from hetero.scheduler.result import Moved


class Held:
    """Buffers by value and node. Safe to use from several threads."""

    def __init__(self, types: Types) -> None:
        self._types = types
        self._at: dict[int, dict[int, tuple[Device, Buffer]]] = {}
        self._given: set[tuple[int, int]] = set()  # inputs as they were fed: not lost with a device
        self._copies: list[tuple[int, int, int, float, float]] = []  # value, from, to, start, end
        self._start = time.perf_counter()
        self._lock = Lock()

    def put_host(self, value: int, node: int, array: Array) -> None:
        """An input of the person, at the node where it starts."""
        self._given.add((value, node))
        self.put(value, node, registry.find("numpy"), array)

    def put(self, value: int, node: int, device: Device, buffer: Buffer) -> None:
        with self._lock:
            self._at.setdefault(value, {})[node] = (device, buffer)

    def bring(self, value: int, node: int, device: Device) -> Buffer:
        """The value on `device` for `node`: a real copy when another node, or another device, has it."""
        with self._lock:
            places = self._at[value]
            source = node if node in places else next(iter(places))
            at, buffer = places[source]
        if source == node and at == device:
            return buffer
        began = time.perf_counter()
        copied = move(buffer, self._types[value], at, device)
        ended = time.perf_counter()
        with self._lock:
            if source != node:
                self._copies.append((value, source, node, began - self._start, ended - self._start))
            places[node] = (device, copied)
        return copied

    def forget(self, node: int) -> None:
        """What was on the node is lost; the inputs that were fed there are not."""
        with self._lock:
            for value, places in self._at.items():
                if (value, node) not in self._given:
                    places.pop(node, None)
                elif not places[node][0].host:
                    del places[node]

    def where(self, values: Sequence[int]) -> int | None:
        """A node that holds all of `values`; None where none does."""
        with self._lock:
            if not values:
                return None
            common = set(self._at.get(values[0], {}))
            for value in values[1:]:
                common &= set(self._at.get(value, {}))
            return min(common, default=None)

    def on_host(self, value: int) -> Array:
        """A copy for the person."""
        device, buffer = next(iter(self._at[value].values()))
        return download(buffer, self._types[value], device)

    def moves(self, plan: Plan) -> tuple[Moved, ...]:
        """The copies between nodes, as they were measured."""
        from hetero.scheduler.result import Moved

        names = plan.tasks.device_names
        model = plan.model
        assert model is not None
        tensor = {v: plan.tasks.tensor_name(t) for t, v in enumerate(model.lowered.values)}
        return tuple(
            Moved(tensor.get(v, str(v)), names[a], names[b], self._types[v].nbytes, start, end, "measured")
            for v, a, b, start, end in self._copies
        )
