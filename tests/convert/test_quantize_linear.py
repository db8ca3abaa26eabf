"""quantize_linear and dequantize_linear: against ONNX Runtime, in files, their gradients, and numbers of 4 bits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

import hetero as ht
from hetero import dtype as dt
from hetero.convert.onnx_in import from_onnx
from hetero.convert.onnx_out import to_onnx
from hetero.errors import GraphError, HeteroError, ModelError
from hetero.graph.build import Builder
from hetero.graph.ir import Graph
from hetero.op import OPS, Array, TensorType
from hetero.ops.quantize import bounds

onnxruntime.set_default_logger_severity(4)

GRAINS: tuple[Any, ...] = (
    ((6, 10), (), 0, 0),
    ((3, 5, 4), (5,), 1, 0),
    ((2, 3, 7), (7,), 2, 0),
    ((70, 3), (3, 3), 0, 32),
)
CODES = ("int8", "uint8", "int16", "uint16", "int4", "uint4")


def there_and_back(grain: Any, code: str) -> Graph:
    """x -> codes -> numbers, with scales and zero points as constants."""
    shape, scales, axis, block = grain
    rng = np.random.default_rng(1)
    builder = Builder("there and back", track=False)
    x = builder.input("x", TensorType(shape, dt.float32))
    scale = builder.constant(rng.uniform(0.02, 0.3, scales).astype(np.float32))
    low, high = bounds(dt.of(code))
    zero = builder.constant(rng.integers(low, high + 1, scales).astype(dt.of(code)))
    codes = builder("quantize_linear", x, scale, zero, axis=axis, block=block)
    return builder.build({"y": builder("dequantize_linear", codes, scale, zero, axis=axis, block=block)})


def numbers(shape: tuple[int, ...]) -> Array:
    return np.random.default_rng(0).normal(0, 2, shape).astype(np.float32)


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("grain", GRAINS, ids=str)
def test_onnx_runtime_gives_the_same_to_the_last_bit(grain: Any, code: str) -> None:
    graph = there_and_back(grain, code)
    x = numbers(grain[0])
    session: Any = onnxruntime.InferenceSession(to_onnx(graph).SerializeToString())
    (wanted,) = session.run(None, {"x": x})
    np.testing.assert_array_equal(graph.evaluate(x)[0], wanted)
    np.testing.assert_array_equal(graph.run({"x": x}, device="numpy")["y"], wanted)


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("grain", GRAINS, ids=str)
def test_a_graph_comes_back_from_its_onnx_file_as_it_went(grain: Any, code: str) -> None:
    graph = there_and_back(grain, code)
    back = from_onnx(to_onnx(graph).SerializeToString())
    assert [(n.op.name, dict(n.attrs), n.inputs) for n in back.nodes] == [
        (n.op.name, dict(n.attrs), n.inputs) for n in graph.nodes
    ]
    assert [(a.dtype, a.tobytes()) for a in back.constants.values()] == [
        (a.dtype, a.tobytes()) for a in graph.constants.values()
    ]


@pytest.mark.parametrize(
    ("code", "grain", "opset"), [("int4", GRAINS[0], 20), ("int16", GRAINS[0], 20), ("int8", GRAINS[3], 19)]
)
def test_an_opset_that_is_too_old_is_said(code: str, grain: Any, opset: int) -> None:
    with pytest.raises(ModelError, match=r"wants opset 21|takes no int"):
        to_onnx(there_and_back(grain, code), opset=opset)


def vjp(op: str, g: Array, values: tuple[Array, ...], **attrs: int) -> list[Array]:
    """The op's gradient rule, run."""
    builder = Builder(track=False)
    refs = [builder.input(f"v{k}", TensorType(v.shape, v.dtype)) for k, v in enumerate((g, *values))]
    rule = OPS[op].vjp
    assert rule is not None
    made = rule(builder, *refs, **attrs)
    return list(builder.build(made, prune=False).evaluate(g, *values))


@pytest.mark.parametrize("grain", GRAINS, ids=str)
def test_the_gradient_is_that_of_clamping_with_the_rounding_held_fixed(grain: Any) -> None:
    shape, scales, axis, block = grain
    rng = np.random.default_rng(2)
    x, g = rng.normal(0, 2, shape), rng.normal(0, 1, shape)
    scale, zero = rng.uniform(0.02, 0.03, scales), rng.integers(-90, 90, scales).astype(np.int8)

    def wide(a: Array) -> Array:
        if not block:
            return a.reshape([-1 if a.ndim and i == axis else 1 for i in range(x.ndim)])
        return np.repeat(a, block, axis)[: shape[0]]

    ratio = x / wide(scale)
    held, clamped = np.rint(ratio) - ratio, np.rint(ratio) + wide(zero)

    def smooth(x: Array, scale: Array, zero: Array) -> float:
        free = x / wide(scale) + held + wide(zero)
        whole = np.where(clamped > 127, 127, np.where(clamped < -128, -128, free))
        return float(np.sum(g * (whole - wide(zero)) * wide(scale)))

    attrs = {"axis": axis, "block": block}
    codes = OPS["quantize_linear"].reference(x, scale, zero, **attrs)
    assert 0 < np.mean((codes == -128) | (codes == 127)) < 1, "some are clamped, some are not"
    d_codes, d_scale, d_zero = vjp("dequantize_linear", g, (codes, scale, zero), **attrs)
    dx, more_scale, more_zero = vjp("quantize_linear", d_codes, (x, scale, zero), **attrs)
    given = (x, scale, zero.astype(np.float64))
    for k, found in enumerate((dx, d_scale + more_scale, d_zero + more_zero)):
        way = rng.normal(0, 1, given[k].shape)
        near = [tuple(v + s * 1e-6 * way if i == k else v for i, v in enumerate(given)) for s in (1, -1)]
        slope = (smooth(*near[0]) - smooth(*near[1])) / 2e-6
        assert np.isclose(np.sum(found * way), slope, rtol=1e-4, atol=1e-3), k


def weights(code: str) -> tuple[Graph, Array]:
    """Weights of 4 bits in blocks of 32, times x."""
    rng = np.random.default_rng(3)
    low, high = bounds(dt.of(code))
    whole = rng.integers(low, high + 1, (257, 301))
    builder = Builder("narrow", track=False)
    x = builder.input("x", TensorType((2, 257), dt.float32))
    scale = rng.uniform(0.5, 1, (9, 301)).astype(np.float32)
    w = builder("dequantize_linear", builder.constant(whole, dt.of(code)), builder.constant(scale), axis=0, block=32)
    wide = whole * np.repeat(scale, 32, 0)[:257]
    return builder.build({"y": builder("matmul", x, w)}), wide


@pytest.mark.parametrize("code", ["int4", "uint4"])
@pytest.mark.parametrize("place", ["numpy", "opencl"])
def test_weights_of_4_bits_run_on_a_device_that_has_no_such_numbers(code: str, place: str) -> None:
    graph, wide = weights(code)
    x = numbers((2, 257))
    try:
        with ht.use(place):
            made = graph.run({"x": x})["y"]
    except ht.BackendError as e:
        pytest.skip(str(e))
    np.testing.assert_allclose(made, x @ wide, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("code", ["int4", "uint4"])
def test_numbers_of_4_bits_are_saved_two_in_a_byte(code: str, tmp_path: Path) -> None:
    graph, _ = weights(code)
    graph.save(str(tmp_path / "narrow.hetero"))
    assert (tmp_path / "narrow.hetero").stat().st_size < 257 * 301 / 2 + 9 * 301 * 4 + 3000
    assert Graph.load(str(tmp_path / "narrow.hetero")) == graph
    model = to_onnx(graph).SerializeToString()
    assert len(model) < 257 * 301 / 2 + 9 * 301 * 4 + 3000
    assert [a.tobytes() for a in from_onnx(model).constants.values()] == [a.tobytes() for a in graph.constants.values()]


def test_a_file_with_too_few_bytes_of_4_bit_numbers_is_refused(tmp_path: Path) -> None:
    from hetero.graph.store import _unpacked  # pyright: ignore[reportPrivateUsage]

    with pytest.raises(GraphError, match="3 bytes are not 7 numbers"):
        _unpacked(np.zeros(3, np.uint8), dt.of("int4"), (7,))


WRONG: tuple[tuple[tuple[Any, ...], dict[str, Any], str], ...] = (
    (((3, 4), (3,), "int8"), {"axis": 1}, r"wants a scale of \(4,\), got \(3,\)"),
    (((3, 4), (4,), "int8"), {"axis": 2}, "axis in 0 .. 1, got 2"),
    (((64, 4), (3, 4), "int8"), {"block": 32}, r"in blocks of 32 along axis 0 wants a scale of \(2, 4\)"),
    (((3, 4), (), "int32"), {}, "gives int8"),
    (((3, 4), (), "int8"), {"block": -1}, "from 0 on"),
)


@pytest.mark.parametrize(("given", "attrs", "said"), WRONG)
def test_what_does_not_fit_is_refused(given: Any, attrs: dict[str, Any], said: str) -> None:
    shape, scales, code = given
    builder = Builder(track=False)
    x = builder.input("x", TensorType(shape, dt.float32))
    scale, zero = np.ones(scales, np.float32), np.zeros(scales, code)
    with pytest.raises(HeteroError, match=said):
        builder("quantize_linear", x, builder.constant(scale), builder.constant(zero), **attrs)
