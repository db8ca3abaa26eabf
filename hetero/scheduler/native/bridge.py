"""Hands the arrays of a task graph to the compiled kernels, and takes back what they find."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any

import numpy as np

from hetero.scheduler import native
from hetero.scheduler.flat import Flat
from hetero.scheduler.limits import SLACK
from hetero.scheduler.native import address, contiguous
from hetero.scheduler.solution import SendArrays
from hetero.scheduler.taskgraph import INF, Floats, Ints

if TYPE_CHECKING:
    from hetero.scheduler.algorithms.anneal import Annealed, Plan
    from hetero.scheduler.algorithms.judge import Judge, Score
    from hetero.scheduler.algorithms.lists import Assigned, Rule, Stop


def kernels(flat: Flat) -> Kernels | None:
    """For one task graph; None where Python does it: not built, HETERO_NATIVE=0, or with a limit of the peak power."""
    library = native.library()
    if library is None or flat.power_w < INF:
        return None
    kept = flat.__dict__.get("_kernels")
    if kept is None:
        kept = flat.__dict__["_kernels"] = Kernels(flat, library)
    return kept


class Kernels:
    """The library with the arrays of one task graph."""

    def __init__(self, flat: Flat, library: ctypes.CDLL) -> None:
        self.flat, self.library = flat, library
        first, members = flat.members if flat.grouped else (None, None)
        ints = {
            "in_start": flat.in_start,
            "in_tensor": flat.in_tensor,
            "producer": flat.producer,
            "base": flat.tensor_zone * (flat.count * flat.count),
            "out_start": flat.out_start,
            "out_tensor": flat.out_tensor,
            "consumer_start": flat.consumer_start,
            "consumer": flat.consumer,
            "route_start": flat.route_start,
            "route_link": flat.route_link,
            "link_source": flat.link_source,
            "link_target": flat.link_target,
            "link_queue": flat.link_queue,
            "group": flat.group,
            "group_start": first,
            "group_member": members,
        }
        reals = {
            "tensor_byte": flat.tensor_byte,
            "seconds": flat.seconds,
            "joules": flat.joules,
            "money": flat.money,
            "resident": flat.resident_byte,
            "s_per_byte": flat.pair_s_per_byte,
            "latency": flat.pair_latency_s,
            "shortest": flat.shortest,
            "link_rate": flat.link_byte_per_s,
            "link_latency": flat.link_latency_s,
            "link_joule": flat.link_joule_per_byte,
            "link_money": flat.link_money_per_byte,
        }
        self._kept: list[Any] = []  # C sees addresses only: the arrays must live
        numbers = {"n": flat.n, "count": flat.count, "queues": flat.queues, "tensors": len(flat.producer)}
        numbers |= {"links": len(flat.link_queue), "routes": len(flat.has_route), "grouped": int(flat.grouped)}
        self.fields: dict[str, Any] = {
            **numbers,
            **{name: self._at(a, np.int64) for name, a in ints.items()},
            **{name: self._at(a, np.float64) for name, a in reals.items()},
            "has_route": self._at(flat.has_route, np.uint8),
            "slack": SLACK,
        }
        self.plain = native.Problem(**self.fields)
        self._judged: dict[int, Any] = {}

    def _at(self, array: Any, dtype: Any) -> int | None:
        if array is None:
            return None
        made = contiguous(array, dtype)
        self._kept.append(made)
        return address(made)

    def problem(self, judge: Judge) -> Any:
        """The struct with the objective and limits of `judge`."""
        if judge.native is None:
            g, w = judge.g, judge.objective.weights
            judge.native = native.Problem(
                **self.fields,
                timed=int(judge.timed),
                summed=int(judge.summed),
                memory=int(judge.memory),
                limited=int(judge.limited),
                tail=self._at(judge.c.tails, np.float64) if judge.timed else None,
                memory_byte=self._at([d.memory_byte for d in g.devices], np.float64),
                average_w=self._at([d.average_w for d in g.devices], np.float64),
                static_each=self._at([d.static_w for d in g.devices], np.float64),
                per_second=judge.per_second,
                w_serial=w.get("serial", 0.0),
                w_throughput=w.get("throughput", 0.0),
                w_energy=w.get("energy", 0.0),
                w_cost=w.get("cost", 0.0),
                static_w=judge.static_w,
                deadline_s=g.limits.deadline_s,
                all_average_w=g.limits.average_w,
            )
        return judge.native

    def decode(self, device: Ints, order: Ints) -> tuple[float, Floats, Floats, SendArrays] | None:
        """Makespan, starts, finishes and transfers, as `simulate.decode`."""
        start, finish = np.empty(self.flat.n), np.empty(self.flat.n)
        size = ctypes.c_int64(0)
        most = self._most_sends(device) + 1
        tensor, link, to = np.empty((3, most), np.int64)
        begin, end, arrival = np.empty((3, most))
        given = (contiguous(device, np.int64), contiguous(order, np.int64))
        found: Any = (start, finish, size, tensor, link, to, begin, end, arrival)
        pointers = [ctypes.byref(x) if x is size else address(x) for x in found]
        makespan = self.library.hetero_decode(ctypes.byref(self.plain), *map(address, given), INF, *pointers)
        if makespan < 0:
            raise MemoryError
        if makespan == INF:
            return None
        columns: Any = [c[: size.value] for c in (tensor, link, begin, end, arrival, to)]
        return makespan, start, finish, SendArrays(*columns)

    def _most_sends(self, device: Ints) -> int:
        """An upper bound of the number of transfers: hops of every reading."""
        flat = self.flat
        source, target, tensor = flat.edges
        way = (flat.tensor_zone[tensor] * flat.count + device[source]) * flat.count + device[target]
        return int((flat.route_start[way + 1] - flat.route_start[way]).sum()) if len(way) else 0

    def tails(self, mean: Floats | None) -> Floats:
        """As `ranks.tails`."""
        flat = self.flat
        tail = np.empty((flat.n, flat.count))
        order = contiguous(flat.topological, np.int64)
        seconds = None if mean is None else contiguous(mean, np.float64)
        if not self.library.hetero_tails(ctypes.byref(self.plain), address(order), address(seconds), address(tail)):
            raise MemoryError
        return tail

    def by_ready(self, priority: Floats) -> Ints:
        """As `ranks.by_ready`."""
        order = np.empty(self.flat.n, np.int64)
        done = self.library.hetero_by_ready(
            ctypes.byref(self.plain), address(contiguous(priority, np.float64)), address(order)
        )
        if done < 0:
            raise MemoryError
        return order

    def schedule(self, order: Ints, rule: Rule, stop: Stop | None) -> tuple[Ints, Floats] | None:
        """Devices and starts, as `lists.schedule`."""
        device, start = np.empty(self.flat.n, np.int64), np.empty(self.flat.n)
        cost = contiguous(rule.cost, np.float64)
        order = contiguous(order, np.int64)
        regret = contiguous(stop.regret_s, np.float64) if stop else None
        args = (address(order), address(cost), int(rule.insertion), int(rule.contended), rule.sending, address(regret))
        room = stop.room_s if stop else INF
        result = self.library.hetero_list(ctypes.byref(self.plain), *args, room, address(device), address(start))
        if result < 0:
            raise MemoryError
        return (device, start) if result else None

    def score(self, judge: Judge, made: Assigned, stop: float) -> Score:
        """As `Judge.score`."""
        from hetero.scheduler.algorithms.judge import Score

        excess, value = ctypes.c_double(), ctypes.c_double()
        args = (address(contiguous(made.device, np.int64)), address(contiguous(made.order, np.int64)), stop)
        if not self.library.hetero_score(
            ctypes.byref(self.problem(judge)), *args, ctypes.byref(excess), ctypes.byref(value)
        ):
            raise MemoryError
        return Score(excess.value, value.value)

    def anneal(self, judge: Judge, start: Assigned, plan: Plan) -> Annealed:
        """As `anneal.anneal`."""
        from hetero.scheduler.algorithms.anneal import LOGS, SPAN, Annealed, size_bits
        from hetero.scheduler.algorithms.judge import Score
        from hetero.scheduler.algorithms.lists import Assigned

        near = [contiguous(a, np.int64) for a in self.flat.near]
        logs = np.array(LOGS)
        device, order = start.device.astype(np.int64), start.order.astype(np.int64)  # copies
        asked = native.Anneal(
            steps=plan.steps,
            seed=_signed(plan.seed),
            bits=size_bits(self.flat.n),
            span=SPAN,
            hot=plan.hot,
            cool=plan.cool,
            penalty=plan.penalty,
            deadline=plan.stop_at,
            logs=address(logs),
            near_start=address(near[0]),
            near_split=address(near[1]),
            near=address(near[2]),
            excess=INF,
            value=INF,
        )
        problem = self.problem(judge)
        if not self.library.hetero_anneal(ctypes.byref(problem), ctypes.byref(asked), address(device), address(order)):
            if judge.score(start).excess < INF:
                raise MemoryError
            return Annealed(start, Score(INF, INF), 0)
        return Annealed(Assigned(device, order), Score(asked.excess, asked.value), asked.done)


def _signed(seed: int) -> int:
    """The 64 bits as C reads them."""
    seed &= (1 << 64) - 1
    return seed - (1 << 64) if seed >> 63 else seed
