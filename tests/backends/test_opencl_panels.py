"""Convolutions by panels, and what is done on the way, against the references."""

from __future__ import annotations

import numpy as np
import pytest

import hetero_launch.panels as panels
from convolutions import CASES, graph_of
from hetero.graph.build import Builder, Ref
from hetero.graph.ir import Graph
from hetero.op import Array, TensorType
from hetero.spi import Device
from hetero_launch.executable import LaunchExecutable
from hetero_launch.panels import panels_of
from hetero_opencl import OpenCLBackend
from hetero_opencl.opened import ACCELERATOR, PROCESSOR

BACKEND = OpenCLBackend(PROCESSOR)
FOUND = BACKEND.probe()
DEVICE = FOUND.devices[0] if FOUND.devices else Device("opencl")
pytestmark = pytest.mark.skipif(not FOUND.devices, reason=f"no OpenCL device: {FOUND.reason}")
TOLERANCE = {"float32": 1e-5, "float64": 1e-12}


def launched(graph: Graph, feed: list[Array], backend: OpenCLBackend = BACKEND) -> int:
    """Compares with the references; gives the number of kernels."""
    executable = backend.compile(graph, DEVICE)
    assert isinstance(executable, LaunchExecutable)
    outs = executable(*(backend.from_host(a, DEVICE) for a in feed))
    for out, type, want in zip(outs, graph.output_types.values(), graph.evaluate(*feed), strict=True):
        got = backend.to_host(out, type, DEVICE)
        assert got.dtype == want.dtype
        if want.dtype == bool:
            assert (got != want).mean() < 0.01  # a sum may lie on either side of zero
        else:
            np.testing.assert_allclose(got, want, atol=TOLERANCE[want.dtype.name], rtol=1e-5)
    return executable.kernels


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("wide", [True, False], ids=["widest", "256 bits"])
def test_every_geometry_agrees(name: str, wide: bool) -> None:
    graph, feed = graph_of(CASES[name])
    launched(graph, feed, OpenCLBackend() if wide else BACKEND)


@pytest.mark.parametrize("name", ["padded", "a volume"])
def test_strips_and_parts_of_any_number_agree(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for items, kept in ((10**6, 1 << 20), (1, 1), (1, 1 << 20)):
        monkeypatch.setattr(panels, "ITEMS", items)
        monkeypatch.setattr(panels, "KEPT_BYTES", kept)
        launched(*graph_of(CASES[name]), OpenCLBackend(PROCESSOR))


def test_bias_and_followers_are_done_on_the_way() -> None:
    """One kernel where the input is as it should be, one more where it must be sorted into planes."""
    assert {n: launched(*graph_of(CASES[n])) for n in ("plain", "nothing follows", "padded", "strides, groups")} == {
        "plain": 1, "nothing follows": 1, "padded": 2, "strides, groups": 2,
    }  # fmt: skip


def network(make: str) -> tuple[Graph, list[Array]]:
    """Two convolutions and what is made of them."""
    rng, builder = np.random.default_rng(1), Builder(track=False)
    x = builder.input("x", TensorType((1, 4, 6, 6), np.dtype("float32")))

    def conv(w: Ref) -> Ref:
        return builder(
            "conv", x, w, strides=(1, 1), dilations=(1, 1), pads_before=(0, 0), pads_after=(0, 0), groups=1
        )  # fmt: skip

    def drawn(*shape: int) -> Ref:
        return builder.constant(rng.standard_normal(shape).astype("float32"))

    a, zero = conv(drawn(8, 4, 1, 1)), builder.constant(np.zeros((), "float32"))
    if make == "both are added":
        outs = [builder("maximum", builder("add", conv(drawn(8, 4, 1, 1)), a), zero)]
    elif make == "shown as it is":
        outs = [a, builder("maximum", a, zero)]
    elif make == "used twice":
        outs = [builder("maximum", a, zero), builder("sum", a, axes=(1,), keepdims=False)]
    elif make == "stretched":
        outs = [builder("add", a, builder.input("b", TensorType((3, 8, 6, 6), np.dtype("float32"))))]
    elif make == "with itself":
        outs = [builder("multiply", a, a)]
    else:  # weights that are computed from constants
        row = builder("broadcast_to", drawn(1, 4, 1, 1), shape=(8, 4, 1, 1))
        outs = [
            builder(
                "maximum", conv(builder("permute", builder("permute", row, axes=(1, 0, 2, 3)), axes=(1, 0, 2, 3))), zero
            )
        ]
    graph = builder.build(outs)
    return graph, [rng.standard_normal(t.known).astype("float32") for t in graph.input_types.values()]


@pytest.mark.parametrize(
    ("make", "kernels"),
    [
        ("both are added", 2),
        ("shown as it is", 2),
        ("used twice", 3),
        ("stretched", 2),
        ("with itself", 2),
        ("late", 1),
    ],
)
def test_only_who_can_follow_does(make: str, kernels: int) -> None:
    assert launched(*network(make)) == kernels


def test_what_depends_on_constants_alone_is_computed_once() -> None:
    builder = Builder(track=False)
    x = builder.input("x", TensorType((500, 300), np.dtype("float32")))
    row = builder.constant(np.arange(300, dtype="float32"))
    table = builder("cumsum", builder("broadcast_to", row, shape=(500, 300)), axis=0, exclusive=False, reverse=False)
    feed = [np.ones((500, 300), "float32")]
    assert launched(builder.build([builder("add", x, table)]), feed) == 1
    assert launched(builder.build([table, builder("add", x, table)]), feed) == 1


def test_accelerators_and_unknown_weights_take_the_other_ways() -> None:
    graph, feed = graph_of(CASES["padded"])
    assert launched(graph, feed, OpenCLBackend(ACCELERATOR)) > 2


def test_weights_lie_side_by_side_in_panels() -> None:
    weights = np.arange(2 * 3 * 4 * 5).reshape(6, 4, 5)
    made = panels_of(weights, 2, 2)
    assert made.shape == (2, 2, 20, 2)
    assert np.array_equal(made[1, 0, :, 1], weights[4].reshape(-1))
    assert not made[:, 1, :, 1].any()
