"""Matrix products by panels, and what is done on the way, against the references."""

from __future__ import annotations

import numpy as np
import pytest

from hetero.dim import concrete
from hetero.graph.build import Builder, Ref
from hetero.graph.ir import Graph
from hetero.op import Array, TensorType
from hetero_launch import matmul_panels, panels
from hetero_launch.matmul_panels import strips_of
from hetero_opencl import OpenCLBackend
from hetero_opencl.opened import ACCELERATOR, PROCESSOR
from launching import ABSENT, DEVICE, launched
from products import CASES, graph_of

pytestmark = pytest.mark.skipif(bool(ABSENT), reason=ABSENT)
F32 = np.dtype("float32")


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("style", ["widest", "256 bits"])
def test_every_product_is_one_kernel_with_what_follows(name: str, style: str) -> None:
    backend = OpenCLBackend() if style == "widest" else OpenCLBackend(PROCESSOR)
    assert launched(*graph_of(CASES[name]), backend) == 1


@pytest.mark.parametrize("name", ["neither whole rows nor whole strips", "left stretched", "deep"])
@pytest.mark.parametrize(("pieces", "groups"), [(10**6, 1), (10**6, 4), (10**6, 1000), (1, 4)])
def test_parts_of_any_number_agree(name: str, pieces: int, groups: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever takes them."""
    monkeypatch.setattr(panels, "PIECES", pieces)
    monkeypatch.setattr(panels, "GROUPS", groups)
    launched(*graph_of(CASES[name]), OpenCLBackend())


def test_a_kernel_leaves_no_turn_behind() -> None:
    """Else the next one would think that work is done."""
    backend = OpenCLBackend()
    for _ in range(3):
        launched(*graph_of(CASES["many"]), backend)
    runtime = backend.runtime(DEVICE)
    assert runtime.download(runtime.turns, TensorType((2,), np.dtype("int32"))).tolist() == [0, 0]


@pytest.mark.parametrize("name", [n for n, case in CASES.items() if case.dtype == "float32"])
def test_a_left_side_that_is_put_in_order_first_gives_the_same(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a large one is, by one more kernel."""
    monkeypatch.setattr(matmul_panels, "WORTH_BYTES", 0)
    monkeypatch.setattr(matmul_panels, "MANY", 0)
    assert launched(*graph_of(CASES[name]), OpenCLBackend()) == 2


def test_columns_are_told_from_rows_and_from_stretched_batches() -> None:
    """A square result: only the last axis is that of columns. What is neither is done by a kernel of its own."""

    def graph(shape: tuple[int, ...]) -> tuple[Graph, list[Array]]:
        b, rng = Builder(track=False), np.random.default_rng(0)
        types = [TensorType(s, F32) for s in ((2, 20, 20), (2, 20, 20), shape)]
        x, y, other = (b.input(f"in{k}", t) for k, t in enumerate(types))
        made = b("add", b("matmul", x, y), other)
        return b.build([made]), [rng.standard_normal(concrete(t.known)).astype(F32) for t in types]

    kernels = {s: launched(*graph(s), OpenCLBackend()) for s in ((20,), (1, 1, 20), (20, 1), (2, 1, 1), (20, 20), (1,))}
    assert kernels == {(20,): 1, (1, 1, 20): 1, (20, 1): 2, (2, 1, 1): 2, (20, 20): 2, (1,): 1}


def two(b: Builder, x: Ref) -> tuple[Ref, Ref]:
    rng = np.random.default_rng(1)
    left, right = (b("matmul", x, b.constant(rng.standard_normal((20, 30)).astype(F32))) for _ in range(2))
    return left, right


def test_only_who_can_follow_does() -> None:
    feed = [np.random.default_rng(0).standard_normal((17, 20)).astype(F32)]
    found: list[int] = []
    for make in (
        lambda b, p, q: [b("add", p, q)],  # one follows, the other comes before
        lambda b, p, q: [p, b("tanh", p), b("tanh", q)],  # p is shown
        lambda b, p, q: [b("multiply", p, p), b("tanh", q)],  # p is used twice
    ):
        b = Builder(track=False)
        x = b.input("x", TensorType((17, 20), F32))
        found.append(launched(b.build(make(b, *two(b, x))), feed, OpenCLBackend()))
    assert found == [2, 3, 3]


def test_accelerators_take_the_other_way() -> None:
    assert launched(*graph_of(CASES["whole strips"]), OpenCLBackend(ACCELERATOR)) == 2  # the product, the follower


def test_a_sum_of_nothing_is_followed_too() -> None:
    b = Builder(track=False)
    x, w = (b.input(n, TensorType(s, F32)) for n, s in (("x", (9, 0)), ("w", (0, 20))))
    y = b("add", b("matmul", x, w), b.constant(np.ones(20, F32)))
    assert launched(b.build([y]), [np.zeros((9, 0), F32), np.zeros((0, 20), F32)], OpenCLBackend()) == 2


def test_the_right_side_lies_in_strips() -> None:
    made = strips_of(np.arange(3 * 5).reshape(3, 5), 4)
    assert made.shape == (2, 3, 4)
    assert np.array_equal(made[0], [[0, 1, 2, 3], [5, 6, 7, 8], [10, 11, 12, 13]])
    assert np.array_equal(made[1], [[4, 0, 0, 0], [9, 0, 0, 0], [14, 0, 0, 0]])
