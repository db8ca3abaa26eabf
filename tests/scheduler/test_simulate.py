"""The simulator against one written another way, and its rules one by one."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np
import pytest

from benchmarks.task_graphs import random_graphs, task_graph
from hetero.errors import PlanError
from hetero.scheduler.simulate import Queue, simulate
from hetero.scheduler.solution import Schedule
from hetero.scheduler.taskgraph import DeviceSpec, Limits, LinkSpec, TaskGraph, connect_all

Decided = tuple[np.ndarray, np.ndarray]


@pytest.fixture(params=["1", "0"], ids=["compiled", "python"])
def native(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("HETERO_NATIVE", request.param)
    return request.param


def anyhow(g: TaskGraph, seed: int) -> Decided | None:
    """Random devices and a random topological order; None when the devices cannot reach each other."""
    rng = np.random.default_rng(seed)
    device = np.array([rng.choice(np.flatnonzero(row)) for row in g.flat.mask])
    order: list[int] = []
    start, tensors = g.inputs
    waiting = {i: {int(g.producer[t]) for t in tensors[start[i] : start[i + 1]]} for i in range(g.n)}
    while len(order) < g.n:
        ready = [i for i in waiting if i not in order and waiting[i] <= set(order)]
        order.append(int(rng.choice(ready)))
    routes = g.allowed.routes
    for t, i in enumerate(g.producer):
        for j in g.consumer[g.consumer_start[t] : g.consumer_start[t + 1]]:
            if routes[g.allowed.tensor_zone[t]][device[i]][device[j]] is None:
                return None
    return device, np.array(order)


class Calendar:
    """A link queue as a plain set of occupied intervals; the earliest fit is found by trying every end."""

    def __init__(self) -> None:
        self.taken: list[tuple[float, float]] = []

    def take(self, ready: float, length: float) -> float:
        if length == 0:
            return ready
        starts = [ready, *(end for _, end in self.taken if end > ready)]
        fits = (s for s in sorted(starts) if all(s + length <= a or s >= b for a, b in self.taken))
        at = next(fits)
        self.taken.append((at, at + length))
        return at


def again(g: TaskGraph, device: np.ndarray, order: np.ndarray) -> tuple[list[float], dict[tuple[int, int], float]]:
    """Starts, and arrivals by (tensor, device), worked out from the rules' text, the slow and obvious way."""
    links: dict[int, Calendar] = defaultdict(Calendar)
    start, finish = [0.0] * g.n, [0.0] * g.n
    there: dict[tuple[int, int], float] = {}
    done: list[int] = []
    for i in order.tolist():
        p = int(device[i])
        ready = [finish[j] for j in done if device[j] == p]
        for e in range(len(g.consumer)):
            if g.consumer[e] != i:
                continue
            t = int(np.searchsorted(g.consumer_start, e, "right")) - 1
            maker = int(g.producer[t])
            if (t, p) not in there:
                at = finish[maker]
                for k in g.allowed.routes[g.allowed.tensor_zone[t]][device[maker]][p] or ():
                    link, length = g.links[k], g.tensor_byte[t] / g.links[k].byte_per_s
                    at = (links[link.queue].take(at, length) if link.queue >= 0 else at) + length + link.latency_s
                there[t, p] = at
            ready.append(there[t, p])
        start[i] = max(ready, default=0.0)
        finish[i] = start[i] + g.seconds[i, p]
        done.append(i)
    return start, there


def test_it_agrees_with_a_simulator_written_another_way(native: str) -> None:
    compared = 0
    for seed, g in enumerate(random_graphs(150, largest=25)):
        decided = anyhow(g, seed)
        if decided is None:
            continue
        s = simulate(g, *decided)
        start, there = again(g, *decided)
        assert s.start_s.tolist() == start
        arrived = {(x.tensor, x.destination): x.arrival_s for x in s.sends}
        assert arrived == {k: v for k, v in there.items() if s.device[g.producer[k[0]]] != k[1]}
        compared += 1
    assert compared > 100


def chain_over(links: list[LinkSpec], **more: Any) -> TaskGraph:
    """Three tasks on three devices, a to b and c, 10 bytes each."""
    return TaskGraph.of_edges(np.ones((3, 3)), [(0, 1, 10.0), (0, 2, 10.0)], links, **more)


def test_transfers_of_one_queue_wait_for_each_other_and_latency_does_not_occupy_it() -> None:
    links = [LinkSpec("ab", 0, 1, 10.0, 5.0, queue=0), LinkSpec("ac", 0, 2, 10.0, 5.0, queue=0)]
    s = simulate(chain_over(links), np.array([0, 1, 2]), np.arange(3))
    assert [(x.start_s, x.end_s, x.arrival_s) for x in s.sends] == [(1, 2, 7), (2, 3, 8)]
    assert s.latency_s == 9


def test_links_that_do_not_queue_send_at_once() -> None:
    links = [LinkSpec("ab", 0, 1, 10.0), LinkSpec("ac", 0, 2, 10.0)]
    assert [x.start_s for x in simulate(chain_over(links), np.array([0, 1, 2]), np.arange(3)).sends] == [1, 1]


def test_a_tensor_is_sent_once_to_each_device_and_passing_through_is_not_arriving() -> None:
    links = [LinkSpec("ab", 0, 1, 10.0, queue=0), LinkSpec("bc", 1, 2, 10.0, queue=1)]
    four = {f: np.ones((4, 3)) for f in ("seconds", "joules", "money", "resident_byte")}
    one = {"producer": np.array([0]), "tensor_byte": np.array([10.0]), "consumer_start": np.array([0, 3])}
    g = chain_over(links).replace(tasks=tuple("abcd"), consumer=np.array([1, 2, 3]), **one, **four)
    s = simulate(g, np.array([0, 2, 2, 1]), np.array([0, 1, 2, 3]))
    assert [(x.link, x.destination) for x in s.sends] == [(0, 2), (1, 2), (0, 1)]


def test_a_later_decision_may_use_an_earlier_idle_time() -> None:
    queue = Queue()
    assert [queue.take(*x) for x in [(0.0, 1.0), (5.0, 1.0), (0.0, 3.0), (0.0, 2.0), (0.0, 1.0)]] == [0, 5, 1, 6, 4]


def test_a_queue_of_thousands_of_gaps_finds_what_trying_everything_finds() -> None:
    rng = np.random.default_rng(3)
    queue, slow = Queue(), Calendar()
    for _ in range(700):
        ready, length = float(rng.integers(0, 3000)), float(rng.choice([0.5, 1.0, 3.0, 9.0]))
        assert queue.take(ready, length) == slow.take(ready, length)


def test_nothing_of_0_bytes_waits() -> None:
    g = TaskGraph.of_edges(np.ones((3, 2)), [(0, 1, 100.0), (0, 2, 0.0)], connect_all(2, 1.0))
    assert simulate(g, np.array([0, 1, 1]), np.array([0, 2, 1])).start_s.tolist() == [0, 101, 1]
    assert simulate(g, np.array([0, 1, 1]), np.array([0, 1, 2])).start_s.tolist() == [0, 101, 102]


def test_memory_is_weights_and_what_lives() -> None:
    """a makes 10 B for b (same device) and c (other device); b and c make results that nobody reads."""
    links = connect_all(2, 10.0)
    weights = np.full((3, 2), 100.0)
    g = TaskGraph.of_edges(np.ones((3, 2)), [(0, 1, 10.0), (0, 2, 30.0)], links, resident_byte=weights)
    assert simulate(g, np.array([0, 0, 1]), np.arange(3)).peak_byte.tolist() == [240, 130]
    g = TaskGraph.of_edges(np.ones((3, 2)), [(0, 1, 10.0), (1, 2, 30.0)], links, resident_byte=weights)
    assert simulate(g, np.array([0, 0, 0]), np.arange(3)).peak_byte.tolist() == [340, 0]


def test_memory_beyond_a_device_is_a_violation() -> None:
    devices = [DeviceSpec("small", memory_byte=35.0), DeviceSpec("large")]
    g = TaskGraph.of_edges(np.ones((3, 2)), [(0, 1, 20.0), (0, 2, 30.0)], connect_all(2, 1.0), devices=devices)
    assert simulate(g, np.array([0, 0, 0]), np.arange(3)).violations == (
        "memory of 'small': at most 35 B wanted, 50 B found",
    )
    assert simulate(g, np.array([1, 1, 1]), np.arange(3)).violations == ()


def with_power(peak_w: float, average_w: float = float("inf")) -> TaskGraph:
    """Two tasks of 10 W for 1 s each, with nothing between them, on devices that draw 1 W anyhow."""
    devices = [DeviceSpec("a", static_w=1.0), DeviceSpec("b", static_w=1.0)]
    limits = Limits(peak_w=peak_w, average_w=average_w)
    return TaskGraph.of_edges(np.ones((2, 2)), [], [], devices=devices, joules=np.full((2, 2), 10.0), limits=limits)


def test_tasks_wait_until_the_power_suffices() -> None:
    both, apart = np.array([0, 1]), np.arange(2)
    assert simulate(with_power(22.0), both, apart).latency_s == 1
    delayed = simulate(with_power(21.9), both, apart)
    assert (delayed.latency_s, delayed.peak_w, delayed.violations) == (2, 12, ())
    never = simulate(with_power(11.9), both, apart)
    assert never.violations[0] == "peak power of all devices: at most 11.9 W wanted, 22 W found"


def test_average_power_is_energy_over_makespan() -> None:
    s = simulate(with_power(float("inf"), 21.0), np.array([0, 1]), np.arange(2))
    assert s.violations == ("average power of all devices: at most 21 W wanted, 22 W found",)
    assert (s.dynamic_j, s.static_j, s.energy_j) == (20, 2, 22)


def test_a_power_limit_holds_at_every_moment_whatever_the_order() -> None:
    for seed in range(40):
        g = task_graph(seed, n=20, count=4, unsupported=0.0)
        watts = g.joules / g.seconds
        limited = g.replace(limits=Limits(peak_w=float(watts.max() * 1.3)))
        decided = anyhow(limited, seed)
        assert decided is not None
        s = simulate(limited, *decided)
        assert s.violations == ()
        running = watts[np.arange(g.n), s.device]
        worst = max(running[(s.start_s <= t) & (t < s.finish_s)].sum() for t in s.start_s)
        assert worst <= limited.limits.peak_w * (1 + 1e-9)
        assert s.peak_w == pytest.approx(worst)


def test_what_is_no_schedule_is_refused_with_all_its_mistakes() -> None:
    g = task_graph(0, n=6, count=2)
    pinned = g.replace(pins={1: (0,)})
    with pytest.raises(PlanError, match=r"may not run on d1[\s\S]*comes before|comes before[\s\S]*may not run on d1"):
        simulate(pinned, np.array([0, 1, 0, 0, 0, 0]), np.arange(6)[::-1])
    with pytest.raises(PlanError, match="each of the 6 tasks once"):
        simulate(g, np.zeros(6, int), np.zeros(6, int))
    with pytest.raises(PlanError, match="below 2"):
        simulate(g, np.full(6, 7), np.arange(6))


def test_sends_read_like_a_tuple() -> None:
    s: Schedule = simulate(chain_over(connect_all(3, 10.0)), np.array([0, 1, 2]), np.arange(3))
    assert list(s.sends) == [s.sends[0], s.sends[1]] == list(s.sends[:2])
    assert len(s.sends) == 2
