"""Every op with odd attributes and inputs: refused by its shape rule, or it runs; nothing in between.

HETERO_FUZZ_EXAMPLES (2,000 unless told otherwise) calls, the same ones for the same number.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from typing import Any

from hetero import dtype as dt
from hetero.errors import HeteroError
from hetero.graph.attributes import faults
from hetero.graph.build import Builder
from hetero.graph.ir import Graph, Node
from hetero.op import OPS, Op, Sample, TensorType
from hetero.testing.hostile import runs_or_is_refused

EXAMPLES = int(os.environ.get("HETERO_FUZZ_EXAMPLES", "2000"))

INTS = [-(2**31), -7, -2, -1, 0, 0, 1, 1, 2, 3, 4, 7, 100, 2**31, 2**62]
FLOATS = [float("nan"), float("inf"), -1.0, 0.0, 0.5, 2.0, -1e38]
WORDS = ["", "none", "add", "edge", "reflect", "float16", "int8", "bool", "complex64", "bfloat16", "right", "nothing"]


def odd(value: Any, rng: random.Random) -> Any:
    """Another value of the same kind."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return rng.choice(INTS)
    if isinstance(value, float):
        return rng.choice(FLOATS)
    if isinstance(value, str):
        return rng.choice(WORDS)
    if isinstance(value, tuple):
        items = list(value)
        if items and rng.random() < 0.7:
            k = rng.randrange(len(items))
            items[k] = odd(items[k], rng)
            return tuple(items)
        return tuple(items[:-1] if items and rng.random() < 0.5 else [*items, *items[-1:]])
    return rng.choice([None, *INTS])


def sizes_near(shape: tuple[int, ...], rng: random.Random) -> tuple[int, ...]:
    """A size changed, an axis more or less."""
    sizes = list(shape)
    kind = rng.randrange(4)
    if kind == 0 and sizes:
        sizes[rng.randrange(len(sizes))] = rng.choice([0, 1, 2, 3, 5])
    elif kind == 1 and sizes:
        del sizes[rng.randrange(len(sizes))]
    elif kind == 2:
        sizes.insert(rng.randrange(len(sizes) + 1), rng.choice([0, 1, 2, 3]))
    return tuple(sizes)


def one_op(op: Op, sample: Sample, rng: random.Random) -> Graph | None:
    """A graph of `op`, like a sample of it with something odd; None where it is refused."""
    builder = Builder(op.name, track=False)
    attrs: dict[str, Any] = op.complete(sample.attrs)
    for _ in range(rng.choice([0, 1, 1, 2]) if attrs else 0):
        key = rng.choice(sorted(attrs))
        attrs[key] = odd(attrs[key], rng)
    args = list(sample.args)
    if rng.random() < 0.1:
        args = [*args, *args[-1:]] if rng.random() < 0.5 else args[:-1]
    refs: list[Any] = []
    usual = rng.choice([dt.float32, dt.float32, dt.int32, dt.int64, dt.bool_, dt.float16, dt.complex64, dt.uint8])
    for k, arg in enumerate(args):
        shape = sizes_near(arg.shape, rng) if rng.random() < 0.3 else arg.shape
        dtype = rng.choice([dt.float32, dt.int64]) if rng.random() < 0.05 else dt.of(arg.dtype) if arg.dtype else usual
        refs.append(builder.input(f"x{k}", TensorType(shape, dtype)))
    if list(faults(Node(op, (), (), attrs))):
        return None
    try:
        return builder.build(builder.emit(op, refs, attrs))
    except HeteroError:
        return None
    except Exception as e:
        raise AssertionError(f"{op.name} of {', '.join(str(r.type) for r in refs)} with {attrs}: {e!r}") from e


def sampled_ops() -> Iterator[tuple[Op, Sample]]:
    for op in OPS.values():
        yield from ((op, sample) for sample in op.samples)


def test_fuzz_ops_with_odd_attributes_run_or_are_refused() -> None:
    cases = list(sampled_ops())
    ran = 0
    for seed in range(EXAMPLES):
        rng = random.Random(seed)
        op, sample = cases[seed % len(cases)]
        graph = one_op(op, sample, rng)
        if graph is not None:
            ran += runs_or_is_refused(f"{op.name}, number {seed}", graph, rng)
    assert ran > EXAMPLES // 10
