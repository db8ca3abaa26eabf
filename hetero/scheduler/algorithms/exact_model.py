"""The least makespan as a constraint program for CP-SAT: tasks on devices, tensors on links.

Times are whole numbers of ticks, rounded down: every schedule of the simulator, rounded down, is a solution here, so
what this model proves holds for them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from hetero.scheduler.algorithms.booking import booked
from hetero.scheduler.algorithms.heads import Ends, windows
from hetero.scheduler.algorithms.lists import Assigned
from hetero.scheduler.flat import Flat
from hetero.scheduler.taskgraph import Floats

if TYPE_CHECKING:
    from ortools.sat.python import cp_model

TICKS = 10**8  # in the makespan known so far


class Model:
    """Tasks on devices, tensors on links, and a makespan of at most `most` of the `known_s` seconds."""

    def __init__(self, flat: Flat, given: Ends, known_s: float, most: float) -> None:
        from ortools.sat.python import cp_model

        self.cp = cp_model.CpModel()
        self._flat = flat
        self.tick_s = known_s / TICKS
        self._horizon = int(TICKS * most)
        self._x = self._places()
        self._sends: dict[tuple[int, int, int], tuple[Any, Any]] = {}  # tensor, from, to -> used, begin
        self._start = [self._time(f"start{i}") for i in range(flat.n)]
        self._end = [self._time(f"end{i}") for i in range(flat.n)]
        self.makespan = self._time("makespan")
        self._run_tasks()
        queues: dict[int, list[Any]] = {}
        for tensor in range(len(flat.producer)):
            self._send(tensor, queues)
        for intervals in queues.values():
            self.cp.add_no_overlap(intervals)
        for end in self._end:
            self.cp.add(self.makespan >= end)
        self._heads_and_tails(given)

    def _down(self, seconds: float) -> int:
        return int(seconds / self.tick_s * (1 - 1e-15))

    def _time(self, name: str) -> Any:
        return self.cp.new_int_var(0, self._horizon, name)

    def _places(self) -> list[dict[int, Any]]:
        """A literal for each task and device where it may run; tasks of one group share theirs."""
        x: list[dict[int, Any]] = []
        for i in range(self._flat.n):
            lead = int(self._flat.group[i])
            if lead < i:
                x.append(x[lead])
                continue
            places = np.flatnonzero(self._flat.mask[i]).tolist()
            x.append({p: self.cp.new_bool_var(f"x{i},{p}") for p in places})
            self.cp.add_exactly_one(x[-1].values())
        return x

    def _run_tasks(self) -> None:
        """Each task for as long as its device takes; one at a time on each device."""
        busy: dict[int, list[Any]] = {}
        for i, places in enumerate(self._x):
            for p, here in places.items():
                ticks = self._down(float(self._flat.seconds[i, p]))
                self.cp.add(self._end[i] >= self._start[i] + ticks).only_enforce_if(here)
                if ticks:
                    busy.setdefault(p, []).append(
                        self.cp.new_optional_fixed_size_interval_var(self._start[i], ticks, here, f"run{i},{p}")
                    )
        for intervals in busy.values():
            self.cp.add_no_overlap(intervals)

    def _heads_and_tails(self, given: Ends) -> None:
        """No task starts before, and nothing ends sooner after it, than paths and loads allow."""
        for i, places in enumerate(self._x):
            for p, here in places.items():
                head, tail = float(given.head[i, p]), float(given.tail[i, p])
                if not np.isfinite(head + tail):
                    self.cp.add(here == 0)
                    continue
                self.cp.add(self._start[i] >= self._down(head)).only_enforce_if(here)
                self.cp.add(self.makespan >= self._end[i] + self._down(tail)).only_enforce_if(here)
            self.cp.add(self._start[i] >= self._least(given.head[i], places))
            self.cp.add(self._end[i] + self._least(given.tail[i], places) <= self.makespan)
        for w in windows(self._flat, given):
            ticks = [self._down(float(s)) for s in self._flat.seconds[w.tasks, w.device]]
            terms = [t * self._x[i][w.device] for t, i in zip(ticks, w.tasks.tolist(), strict=True)]
            self.cp.add(sum(terms) + self._down(w.head_s + w.tail_s) <= self.makespan)

    def _least(self, seconds: Floats, places: Iterable[int]) -> int:
        least = min(float(seconds[p]) for p in places)
        return self._down(least) if np.isfinite(least) else 0

    def _send(self, tensor: int, queues: dict[int, list[Any]]) -> None:
        """Readers start after the tensor is on their device: made there, or sent there once."""
        flat = self._flat
        maker = int(flat.producer[tensor])
        readers = flat.consumer[flat.consumer_start[tensor] : flat.consumer_start[tensor + 1]].tolist()
        for i in readers:
            self.cp.add(self._start[i] >= self._end[maker])
        for q in sorted({q for i in readers for q in self._x[i]}):
            here = [(i, self._x[i][q]) for i in readers if q in self._x[i]]
            for p, home in self._x[maker].items():
                if p != q:
                    self._way(tensor, p, q, home, here, queues)

    def _way(
        self, tensor: int, p: int, q: int, home: Any, readers: Sequence[tuple[int, Any]], queues: dict[int, list[Any]]
    ) -> None:
        """From p to q, hop by hop; used when the producer is at p and a reader at q."""
        flat = self._flat
        route = (int(flat.tensor_zone[tensor]) * flat.count + p) * flat.count + q
        if not flat.has_route[route]:
            for _, reader in readers:
                self.cp.add_bool_or([home.negated(), reader.negated()])
            return
        maker = int(flat.producer[tensor])
        byte = float(flat.tensor_byte[tensor])
        links = flat.route_link[flat.route_start[route] : flat.route_start[route + 1]].tolist()
        if all(flat.link_queue[k] < 0 for k in links):
            rate, latency = flat.link_byte_per_s[links], flat.link_latency_s[links]
            whole = self._down(byte * float((1 / rate).sum()) + float(latency.sum()))
            for i, reader in readers:
                self.cp.add(self._start[i] >= self._end[maker] + whole).only_enforce_if([home, reader])
            return
        name = f"{tensor},{p},{q}"
        used = self.cp.new_bool_var(f"send{name}")
        self.cp.add_implication(used, home)
        for _, reader in readers:
            self.cp.add_bool_or([used, home.negated(), reader.negated()])
        self.cp.add_bool_or([used.negated(), *(r for _, r in readers)])
        ready: Any = self._end[maker]
        wait = 0  # ticks between `ready` and when the next link may begin
        for hop, k in enumerate(links):
            ticks = self._down(byte / float(flat.link_byte_per_s[k]))
            latency = self._down(float(flat.link_latency_s[k]))
            queue = int(flat.link_queue[k])
            if queue < 0:
                wait += ticks + latency
                continue
            begin = self._time(f"hop{name},{hop}")
            self._sends.setdefault((tensor, p, q), (used, begin))
            self.cp.add(begin >= ready + wait).only_enforce_if(used)
            if ticks:
                queues.setdefault(queue, []).append(
                    self.cp.new_optional_fixed_size_interval_var(begin, ticks, used, f"link{name},{hop}")
                )
            ready, wait = begin, ticks + latency
        for i, reader in readers:
            self.cp.add(self._start[i] >= ready + wait).only_enforce_if([used, reader])

    def read(self, solver: cp_model.CpSolver) -> list[Assigned]:
        """The solution as devices and an order, with its transfers booked as they were found, and without."""
        chosen = [next(p for p, here in places.items() if solver.boolean_value(here)) for places in self._x]
        device = np.array(chosen, np.int64)
        start = np.array([float(solver.value(s)) for s in self._start])
        used = [(t, q, solver.value(at)) for (t, _, q), (here, at) in self._sends.items() if solver.boolean_value(here)]
        tensor, to, begin = np.array(used, np.int64).reshape(-1, 3).T
        plain = np.zeros(0, np.int64)
        return [
            booked(self._flat, device, start, tensor, to, begin.astype(np.float64)),
            booked(self._flat, device, start, plain, plain, plain.astype(np.float64)),
        ]
