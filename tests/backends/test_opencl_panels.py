"""Convolutions by panels, and what is done on the way, against the references."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pytest

from convolutions import CASES, graph_of
from hetero.dim import concrete
from hetero.graph.build import Builder, Ref
from hetero.op import TensorType
from hetero_launch import conv_panels, panels
from hetero_launch.conv_panels import panels_of
from hetero_opencl import OpenCLBackend
from hetero_opencl.opened import ACCELERATOR, PROCESSOR
from launching import ABSENT, BACKEND, launched

pytestmark = pytest.mark.skipif(bool(ABSENT), reason=ABSENT)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("wide", [True, False], ids=["widest", "256 bits"])
def test_every_geometry_agrees(name: str, wide: bool) -> None:
    graph, feed = graph_of(CASES[name])
    launched(graph, feed, OpenCLBackend() if wide else BACKEND)


@pytest.mark.parametrize("name", ["padded", "a volume"])
def test_strips_and_parts_of_any_number_agree(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for items, kept in ((10**6, 1 << 20), (1, 1), (1, 1 << 20)):
        monkeypatch.setattr(panels, "PIECES", items)
        monkeypatch.setattr(conv_panels, "KEPT_BYTES", kept)
        launched(*graph_of(CASES[name]), OpenCLBackend(PROCESSOR))


def test_bias_and_followers_are_done_on_the_way() -> None:
    """One kernel where the input is as it should be, one more where it must be sorted into planes."""
    assert {n: launched(*graph_of(CASES[n])) for n in ("plain", "nothing follows", "padded", "strides, groups")} == {
        "plain": 1, "nothing follows": 1, "padded": 2, "strides, groups": 2,
    }  # fmt: skip


class Two:
    """What two convolutions of one input are made into."""

    def __init__(self) -> None:
        self.rng, self.b = np.random.default_rng(1), Builder(track=False)
        self.x = self.b.input("x", TensorType((1, 4, 6, 6), np.dtype("float32")))

    def drawn(self, *shape: int) -> Ref:
        return self.b.constant(self.rng.standard_normal(shape).astype("float32"))

    def conv(self, w: Ref) -> Ref:
        zero, one = (0, 0), (1, 1)
        return self.b("conv", self.x, w, strides=one, dilations=one, pads_before=zero, pads_after=zero, groups=1)

    def relu(self, x: Ref) -> Ref:
        return self.b("maximum", x, self.b.constant(np.zeros((), "float32")))


MADE: Mapping[str, tuple[int, Callable[[Two, Ref], list[Ref]]]] = {  # kernels, and what is made of the first
    "both are added": (2, lambda t, a: [t.relu(t.b("add", t.conv(t.drawn(8, 4, 1, 1)), a))]),
    "shown as it is": (2, lambda t, a: [a, t.relu(a)]),
    "used twice": (3, lambda t, a: [t.relu(a), t.b("sum", a, axes=(1,), keepdims=False)]),
    "stretched": (2, lambda t, a: [t.b("add", a, t.b.input("b", TensorType((3, 8, 6, 6), np.dtype("float32"))))]),
    "with itself": (2, lambda t, a: [t.b("multiply", a, a)]),
    "weights made of constants": (
        1, lambda t, a: [t.relu(t.conv(t.b("broadcast_to", t.drawn(1, 4, 1, 1), shape=(8, 4, 1, 1))))]
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MADE)
def test_only_who_can_follow_does(name: str) -> None:
    two = Two()
    kernels, make = MADE[name]
    graph = two.b.build(make(two, two.conv(two.drawn(8, 4, 1, 1))))
    feed = [two.rng.standard_normal(concrete(t.known)).astype("float32") for t in graph.input_types.values()]
    assert launched(graph, feed) == kernels


def test_what_depends_on_constants_alone_is_computed_once() -> None:
    builder = Builder(track=False)
    x = builder.input("x", TensorType((500, 300), np.dtype("float32")))
    row = builder.constant(np.arange(300, dtype="float32"))
    table = builder("cumsum", builder("broadcast_to", row, shape=(500, 300)), axis=0, exclusive=False, reverse=False)
    feed = [np.ones((500, 300), "float32")]
    assert launched(builder.build([builder("add", x, table)]), feed) == 1
    assert launched(builder.build([table, builder("add", x, table)]), feed) == 1


def test_constants_that_are_used_again_and_again_are_computed_once() -> None:
    """Two to the power of 40 times, if each asked for its inputs anew."""
    builder = Builder(track=False)
    x = builder.input("x", TensorType((200, 300), np.dtype("float32")))
    table = builder("broadcast_to", builder.constant(np.ones((1, 300), "float32")), shape=(200, 300))
    for _ in range(40):
        product = builder("cumprod", table, axis=0, exclusive=False, reverse=False)
        table = builder("maximum", table, product)
    assert launched(builder.build([builder("add", x, table)]), [np.ones((200, 300), "float32")]) == 1


def test_accelerators_and_unknown_weights_take_the_other_ways() -> None:
    graph, feed = graph_of(CASES["padded"])
    assert launched(graph, feed, OpenCLBackend(ACCELERATOR)) == 3  # the sum, the bias, the follower
    two = Two()
    weights = two.b.input("w", TensorType((8, 4, 1, 1), np.dtype("float32")))
    graph = two.b.build([two.relu(two.conv(weights))])
    feed = [two.rng.standard_normal(concrete(t.known)).astype("float32") for t in graph.input_types.values()]
    assert launched(graph, feed) == 2  # the product, then the follower


def test_weights_lie_side_by_side_in_panels() -> None:
    weights = np.arange(2 * 3 * 4 * 5).reshape(6, 4, 5)
    made = panels_of(weights, 2, 2)
    assert made.shape == (2, 2, 20, 2)
    assert np.array_equal(made[1, 0, :, 1], weights[4].reshape(-1))
    assert not made[:, 1, :, 1].any()
