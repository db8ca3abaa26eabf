"""Random task graphs of the families that schedulers are judged on; the same for the same seed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np

from hetero.scheduler.taskgraph import DeviceSpec, Floats, LinkSpec, TaskGraph, connect_all

Edges = list[tuple[int, int]]


def layered(rng: np.random.Generator, n: int) -> Edges:
    """Layers of random width; each task reads from one to three tasks of the layer before, or of any earlier one."""
    width = max(1, int(np.sqrt(n) * rng.uniform(0.5, 1.5)))
    layer, first = np.zeros(n, np.int64), [0]
    at = 0
    while at < n:
        size = min(n - at, int(rng.integers(1, 2 * width + 1)))
        layer[at : at + size] = len(first) - 1
        at += size
        first.append(at)
    edges: Edges = []
    for i in range(first[1], n):
        k = int(layer[i])
        low = first[k - 1] if rng.random() < 0.8 else first[max(0, k - 3)]
        several = min(int(rng.integers(1, 4)), first[k] - low)
        edges += [(int(j), i) for j in rng.choice(np.arange(low, first[k]), several, replace=False)]
    return edges


def fork_join(rng: np.random.Generator, n: int) -> Edges:
    """Forks into chains that join again, one after the other."""
    edges: Edges = []
    at = 0
    while at < n - 1:
        branches, length = int(rng.integers(2, 7)), int(rng.integers(1, 4))
        ends, free = [], at + 1
        for _ in range(branches):
            before = at
            for _ in range(length):
                if free < n:
                    edges.append((before, free))
                    before, free = free, free + 1
            ends.append(before)
        if free >= n:
            break
        edges += [(e, free) for e in ends if e != at]
        at = free
    return sorted(set(edges))


def chain(rng: np.random.Generator, n: int) -> Edges:
    return [(i, i + 1) for i in range(n - 1)]


def out_tree(rng: np.random.Generator, n: int) -> Edges:
    return [(int(rng.integers(max(0, i - 8), i)), i) for i in range(1, n)]


def in_tree(rng: np.random.Generator, n: int) -> Edges:
    return sorted((n - 1 - i, n - 1 - j) for j, i in out_tree(rng, n))


def network(rng: np.random.Generator, n: int) -> Edges:
    """A chain with branches and skips, as in convolutional networks: residual blocks and inception modules."""
    edges: Edges = []
    at = 0
    while at < n - 1:
        if rng.random() < 0.5:
            length = int(rng.integers(2, 5))
            last = min(at + length, n - 1)
            edges += [(i, i + 1) for i in range(at, last)]
            if last - at > 1:
                edges.append((at, last))
            at = last
        else:
            branches = int(rng.integers(2, 5))
            free, ends = at + 1, []
            for _ in range(branches):
                before = at
                for _ in range(int(rng.integers(1, 4))):
                    if free < n - 1:
                        edges.append((before, free))
                        before, free = free, free + 1
                ends.append(before)
            last = min(free, n - 1)
            edges += [(e, last) for e in ends if e != last]
            at = last
    return sorted(set(edges))


FAMILIES: Mapping[str, Callable[[np.random.Generator, int], Edges]] = {
    "layered": layered,
    "fork-join": fork_join,
    "chain": chain,
    "out-tree": out_tree,
    "in-tree": in_tree,
    "network": network,
}


def random_seconds(rng: np.random.Generator, n: int, count: int, *, related: bool, unsupported: float) -> Floats:
    """Each task a size; related devices have one speed, unrelated ones another speed for each task."""
    size = rng.uniform(1, 10, n)[:, None]
    speed = rng.uniform(1, 4, count) if related else rng.uniform(0.5, 2, (n, count))
    seconds = size * speed
    off = rng.random((n, count)) < unsupported
    off[np.arange(n), rng.integers(0, count, n)] = False
    return np.where(off, np.inf, seconds)


def random_links(rng: np.random.Generator, count: int, byte_per_s: float, kind: str) -> list[LinkSpec]:
    """`full`: a queue for each direction of each pair; `bus`: one queue for all; `star`: by way of device 0, a
    half-duplex queue for each arm; `line`: device to device; `free`: no waiting."""
    latency = float(rng.choice([0.0, 0.1]))
    if kind in ("full", "free"):
        return connect_all(count, byte_per_s, latency, shared=kind == "full")
    if kind == "bus":
        pairs = [(p, q, 0) for p in range(count) for q in range(count) if p != q]
    elif kind == "star":
        pairs = [x for p in range(1, count) for x in ((0, p, p - 1), (p, 0, p - 1))]
    else:
        pairs = [x for p in range(count - 1) for x in ((p, p + 1, 2 * p), (p + 1, p, 2 * p + 1))]
    return [LinkSpec(f"{p}-{q}", p, q, byte_per_s, latency, 0.01, 0.001, queue=k) for p, q, k in pairs]


LINKS = ("full", "bus", "star", "line", "free")


def task_graph(
    seed: int,
    *,
    family: str = "layered",
    n: int = 30,
    count: int = 3,
    ccr: float = 1.0,
    links: str = "full",
    related: bool = False,
    unsupported: float = 0.1,
    static_w: float = 0.0,
) -> TaskGraph:
    """One graph; `ccr` is mean seconds of a transfer over mean seconds of a task."""
    rng = np.random.default_rng(seed)
    edges = FAMILIES[family](rng, n)
    seconds = random_seconds(rng, n, count, related=related, unsupported=unsupported)
    mean = float(np.mean(seconds[np.isfinite(seconds)]))
    size = rng.uniform(0.1, 1.9, len(edges)) * ccr * mean
    return TaskGraph.of_edges(
        seconds,
        [(i, j, float(b)) for (i, j), b in zip(edges, size, strict=True)],
        random_links(rng, count, 1.0, links),
        devices=[DeviceSpec(f"d{p}", static_w=static_w) for p in range(count)],
        joules=np.where(np.isfinite(seconds), seconds, 0.0) * rng.uniform(0.5, 2, (1, count)),
    )


def random_graphs(number: int, first: int = 0, largest: int = 40) -> Iterator[TaskGraph]:
    """Every family, kind of link, device relation and communication ratio, drawn from the seed."""
    for seed in range(first, first + number):
        rng = np.random.default_rng([seed, 1])
        yield task_graph(
            seed,
            family=str(rng.choice(list(FAMILIES))),
            n=int(rng.integers(1, largest + 1)),
            count=int(rng.integers(1, 6)),
            ccr=float(10 ** rng.uniform(-2, 1)),
            links=str(rng.choice(LINKS)),
            related=bool(rng.random() < 0.3),
            unsupported=float(rng.choice([0.0, 0.1, 0.3])),
        )


# -- networks over an uplink ------------------------------------------------------------------------------


def edge_network(seed: int, *, n: int = 120, copies: int = 1, uplink_byte_per_s: float = 12.5e6) -> TaskGraph:
    """Like a convolutional network between a camera node and a cloud: GPU, server CPU, small board, neural chip.

    `copies` networks (sensors) share the devices and end in one task; inputs are at the board. Invented numbers of
    real proportions: 5 to 500 Mflop a task, activations of 50 kB to 3 MB that shrink along the network.
    """
    rng = np.random.default_rng([seed, n, copies])
    speed = np.array([5e12, 3e11, 1.5e11, 4e11])  # flop/s reached
    launch = np.array([8e-6, 4e-6, 3e-5, 1e-4])
    rows, edges, size = [np.array([np.inf, np.inf, 0.0, np.inf])], [], []
    for _ in range(copies):
        first = len(rows)
        flop = 10 ** rng.uniform(6.7, 8.7, n)
        seconds = flop[:, None] / (speed * rng.uniform(0.4, 1.0, (n, 4))) + launch
        seconds[rng.random(n) < 0.25, 3] = np.inf  # the chip lacks a quarter of the ops
        along = np.linspace(0, 1, n)
        byte = 10 ** (6.5 - 1.8 * along + rng.uniform(-0.3, 0.3, n))
        rows += list(seconds)
        edges += [(0, first)] + [(first + i, first + j) for i, j in network(rng, n)]
        size += [6e5] + [float(byte[i - first]) for i, _ in edges[len(size) + 1 :]]
    last = len(rows)
    rows.append(np.array([1e-5, 1e-5, 1e-5, np.inf]))
    has_reader = {i for i, _ in edges}
    for i in range(1, last):
        if i not in has_reader:
            edges.append((i, last))
            size.append(4e3)
    return TaskGraph.of_edges(
        np.array(rows),
        [(i, j, b) for (i, j), b in zip(edges, size, strict=True)],
        _edge_links(uplink_byte_per_s),
        devices=[DeviceSpec(x, "central" if k < 2 else "edge") for k, x in enumerate(("gpu", "cpu", "board", "chip"))],
        pins={0: (2,), last: (2,)},
        name=f"network {seed} of {n} x {copies} over {uplink_byte_per_s:g} byte/s",
    )


def _edge_links(uplink: float) -> list[LinkSpec]:
    """PCIe between GPU and CPU, an uplink with a queue for each way, USB to the chip."""
    gpu, cpu, board, chip = range(4)
    pairs = [
        (gpu, cpu, 12e9, 1e-5, 0, 1),
        (cpu, board, uplink, 2.5e-3, 2, 3),
        (board, chip, 3e8, 1e-4, 4, 5),
    ]
    both = [[(a, b, rate, wait, q), (b, a, rate, wait, r)] for a, b, rate, wait, q, r in pairs]
    return [LinkSpec(f"{a}-{b}", a, b, rate, wait, queue=q) for pair in both for a, b, rate, wait, q in pair]
