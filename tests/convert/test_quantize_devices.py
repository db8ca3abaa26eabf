"""Quantised graphs on every backend that is here: as near to the original as on NumPy."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest

import hetero as ht
from hetero import dtype as dt
from hetero.convert.quantize_graph import Quantized, quantize
from hetero.graph.build import Builder
from hetero.graph.ir import Graph
from hetero.op import Array, TensorType

PLAIN = {"strides": (1, 1), "dilations": (1, 1), "pads_before": (1, 1), "pads_after": (1, 1)}
KINDS = (
    ("int8", "int8"),
    ("int8", "uint8"),
    ("int8", None),
    ("int4", "int8"),
    ("int4", None),
    ("bfloat16", "bfloat16"),
)


def network() -> Graph:
    rng = np.random.default_rng(0)
    builder = Builder("small", track=False)
    x = builder.input("x", TensorType((4, 3, 8, 8), dt.float32))
    y = builder("conv", x, builder.constant(rng.normal(0, 0.2, (8, 3, 3, 3)), dt.float32), **PLAIN)
    y = builder("reshape", builder("relu", y), shape=(4, 512))
    y = builder("matmul", y, builder.constant(rng.normal(0, 0.1, (512, 6)), dt.float32))
    return builder.build({"y": builder("add", y, builder.constant(rng.normal(0, 1, 6), dt.float32))})


def samples() -> Array:
    return np.random.default_rng(1).normal(0, 1, (4, 3, 8, 8)).astype(np.float32)


@cache
def made(weights: Any, activations: Any) -> Quantized:
    return quantize(network(), samples(), weights=weights, activations=activations, device="numpy")


def ran(graph: Graph, place: str) -> Array:
    try:
        return graph.run({"x": samples()}, device=place)["y"]
    except ht.BackendError as e:
        if any(said in str(e) for said in ("has no device here", "no backend", "has no bfloat16")):
            pytest.skip(str(e))
        raise


@pytest.mark.parametrize("place", ["opencl", "onnxruntime"])
@pytest.mark.parametrize(("weights", "activations"), KINDS)
def test_a_device_comes_as_near_as_numpy(weights: Any, activations: Any, place: str) -> None:
    done = made(weights, activations)
    wanted = network().run({"x": samples()}, device="numpy")["y"]
    found = ran(done.graph, place)
    sqnr = 10 * np.log10(np.square(wanted).sum() / np.square(found - wanted).sum())
    assert sqnr > done.report.outputs[0].sqnr_db - 3


@pytest.mark.parametrize("place", ["opencl", "onnxruntime"])
def test_products_of_bytes_run_there_too(place: str) -> None:
    whole = made("int8", "uint8").integers
    np.testing.assert_allclose(ran(whole, place), ran(whole, "numpy"), rtol=1e-4, atol=1e-4)
