"""Runs what a damaged file holds: results, or a HeteroError, and nothing else."""

from __future__ import annotations

import random
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import numpy as np

from hetero import execute, stages
from hetero.compile import Program, compile
from hetero.dim import Dim
from hetero.errors import DeviceError, HeteroError
from hetero.graph.ir import Graph
from hetero.ops.control import body_cost
from hetero.spi import Device

BYTES = 64 << 20
FLOP = 10**8


def compile_small(graph: Graph, device: Device, policy: str | None = None) -> Program:
    """`compile`, for what takes little time and memory: that a file asks for much is no damage."""
    if sum(t.nbytes for t in graph.types) > BYTES or body_cost(graph).flop > FLOP:
        raise DeviceError("too large for a test")
    return compile(graph, device, policy)


@contextmanager
def only_small() -> Generator[None, None, None]:
    """Inside, whatever is large is refused instead of run."""
    modules: tuple[Any, ...] = (execute, stages)
    before = [m.compile for m in modules]
    for module in modules:
        module.compile = compile_small
    try:
        yield
    finally:
        for module, function in zip(modules, before, strict=True):
            module.compile = function


def small_feed(graph: Graph, rng: random.Random) -> dict[str, Any] | None:
    """Small arrays of the inputs' types; None where an input is large."""
    sizes = {name: rng.choice([0, 1, 2, 3, 5]) for name in sorted(graph.symbols)}
    feed: dict[str, Any] = {}
    for name, t in graph.input_types.items():
        bound = [n.bind(sizes) if isinstance(n, Dim) else n for n in t.shape or ()]
        shape = tuple(int(n) for n in bound)
        if min(shape, default=0) < 0 or np.prod(shape, dtype=float) > 1 << 20:
            return None
        values = np.random.default_rng(rng.randrange(1 << 30)).integers(-3, 4, shape)
        feed[name] = (np.abs(values) if t.dtype.kind == "u" else values).astype(t.dtype)
    return feed


def runs_or_is_refused(name: str, graph: Graph, rng: random.Random) -> bool:
    """Whether it ran; an AssertionError where it ended otherwise than with results or a refusal.

    A reference that NumPy stops is one whose shape rule lets too much pass: that is a failure too.
    """
    try:
        feed = small_feed(graph, rng)
        if feed is None:
            return False
        with only_small():
            graph.run(feed, device="numpy:0")
    except HeteroError as e:
        if "cannot be computed" in str(e):
            raise AssertionError(f"{name}: {e}\n{graph!s:.3000}") from e
        return False
    except Exception as e:
        raise AssertionError(f"{name}: {e!r}\n{graph!s:.3000}") from e
    return True
