"""The least makespan by constraint programming (CP-SAT of ortools, extra `exact`), for small task graphs, with a bound.

Times are whole numbers of ticks, rounded down: every schedule of the simulator, rounded down, is a solution here, so
the bound holds; the assignment and the order found are simulated in full precision by the caller.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

from hetero.scheduler.algorithms.booking import booked
from hetero.scheduler.algorithms.hooks import Answer, Asked
from hetero.scheduler.algorithms.lists import Assigned
from hetero.scheduler.algorithms.ranks import tails
from hetero.scheduler.flat import Flat
from hetero.scheduler.simulate import simulate
from hetero.scheduler.solution import Schedule
from hetero.scheduler.taskgraph import Floats, TaskGraph

if TYPE_CHECKING:
    from ortools.sat.python import cp_model

LARGEST = 60  # tasks that take time, above which no proof is tried
TICKS = 10**8  # in the makespan known so far
WORKERS = 2
MISSING = "not proven: pip install 'hetero[exact]' brings the exact solver"


@dataclass(frozen=True, slots=True, eq=False)
class Proof:
    """What was found: a better schedule, or None; a bound in seconds; whether the search ended by itself."""

    made: Assigned | None
    bound_s: float
    ended: bool


def installed() -> bool:
    """Whether ortools is there; it is imported when it is first used."""
    return find_spec("ortools") is not None


def prove(asked: Asked) -> Answer:
    """The least makespan, from the best schedule and the best bound so far; other objectives are left alone."""
    weight = asked.objective.weights.get("latency", 0.0)
    if set(asked.objective.weights) != {"latency"} or asked.value <= 0:
        return Answer(None)
    if not installed():
        return Answer(None, note=MISSING)
    known = simulate(asked.g, asked.start.device, asked.start.order)
    proof = least_makespan(asked.g, known, asked.bound / weight, asked.seconds, asked.seed)
    note = "exact: searched to the end" if proof.ended else f"exact: stopped after {asked.seconds:.2g} s"
    return Answer(proof.made, proof.bound_s * weight, note)


def least_makespan(g: TaskGraph, known: Schedule, bound_s: float, budget_s: float, seed: int) -> Proof:
    """What CP-SAT finds within its time."""
    from ortools.sat.python import cp_model

    model = _Model(g.flat, known, bound_s)
    solver = cp_model.CpSolver()
    solver.parameters.max_time_in_seconds = max(budget_s, 0.01)
    solver.parameters.num_workers = WORKERS
    solver.parameters.random_seed = seed % 2**31
    status = solver.solve(model.cp)
    ended = status in (cp_model.OPTIMAL, cp_model.INFEASIBLE)
    if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        return Proof(None, bound_s, ended)
    tries = model.read(solver)
    made = min(tries, key=lambda a: simulate(g, a.device, a.order).latency_s)
    return Proof(made, max(bound_s, solver.best_objective_bound * model.tick_s), ended)


class _Model:
    """Tasks on devices, tensors on links, and the makespan."""

    def __init__(self, flat: Flat, known: Schedule, bound_s: float) -> None:
        from ortools.sat.python import cp_model

        self.cp = cp_model.CpModel()
        self._flat, self._known = flat, known
        self.tick_s = known.latency_s / TICKS
        self._horizon = TICKS
        self._x = self._places()
        self._sends: dict[tuple[int, int, int], tuple[Any, Any]] = {}  # tensor, from, to -> used, begin
        self._start = [self._time(f"start{i}") for i in range(flat.n)]
        self._end = [self._time(f"end{i}") for i in range(flat.n)]
        self._makespan = self.cp.new_int_var(self._down(bound_s), self._horizon, "makespan")
        self._run_tasks()
        queues: dict[int, list[Any]] = {}
        for tensor in range(len(flat.producer)):
            self._send(tensor, queues)
        for intervals in queues.values():
            self.cp.add_no_overlap(intervals)
        for end in self._end:
            self.cp.add(self._makespan >= end)
        self._heads_and_tails(tails(flat))
        self._hint()
        self.cp.minimize(self._makespan)

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
        load: dict[int, list[tuple[int, Any]]] = {}
        for i, places in enumerate(self._x):
            for p, here in places.items():
                ticks = self._down(float(self._flat.seconds[i, p]))
                self.cp.add(self._end[i] >= self._start[i] + ticks).only_enforce_if(here)
                if ticks:
                    busy.setdefault(p, []).append(
                        self.cp.new_optional_fixed_size_interval_var(self._start[i], ticks, here, f"run{i},{p}")
                    )
                    load.setdefault(p, []).append((ticks, here))
        for intervals in busy.values():
            self.cp.add_no_overlap(intervals)
        for terms in load.values():  # said once more as sums: the linear relaxation sees nothing of intervals
            self.cp.add(sum(ticks * here for ticks, here in terms) <= self._makespan)

    def _heads_and_tails(self, tails: Floats) -> None:
        """No task starts before, and nothing ends sooner after it, than the longest path allows."""
        heads = heads_of(self._flat)
        for i, places in enumerate(self._x):
            for p, here in places.items():
                self.cp.add(self._start[i] >= self._down(float(heads[i, p]))).only_enforce_if(here)
                tail = self._down(float(tails[i, p]))
                self.cp.add(self._makespan >= self._end[i] + tail).only_enforce_if(here)

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

    def _hint(self) -> None:
        """The schedule that is known, rounded down, as a place to start from."""
        for i, places in enumerate(self._x):
            if int(self._flat.group[i]) == i:
                for p, here in places.items():
                    self.cp.add_hint(here, p == int(self._known.device[i]))
            self.cp.add_hint(self._start[i], self._down(float(self._known.start_s[i])))
            self.cp.add_hint(self._end[i], self._down(float(self._known.finish_s[i])))

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


def heads_of(flat: Flat) -> Floats:
    """(n, P) seconds before which a task cannot start on a device, if nothing waits for anything."""
    head = np.zeros((flat.n, flat.count))
    source, target, _ = flat.edges
    into: list[list[int]] = [[] for _ in range(flat.n)]
    for e, j in enumerate(target.tolist()):
        into[j].append(e)
    ways = flat.edge_seconds(np.arange(len(source)))
    done = np.where(flat.mask, flat.seconds, np.inf)
    for j in flat.topological.tolist():
        for e in into[j]:
            i = int(source[e])
            head[j] = np.maximum(head[j], ((head[i] + done[i])[:, None] + ways[e]).min(0))
    return head
