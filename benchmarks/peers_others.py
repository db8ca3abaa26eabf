"""Peers whose rows are stated and have no bar: NumExpr, tinygrad, OpenVINO. Each is imported when it is named."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from importlib import import_module
from typing import Any

from hetero.op import Array

GELU = "half * x * (one + tanh(root * (x + cubic * x * x * x)))"
NUMBERS = {"half": 0.5, "one": 1.0, "root": 0.7978845608028654, "cubic": 0.044715}


def numexpr_gelu(x: Array) -> Callable[[], Any]:
    """In blocks, on all cores."""
    numexpr: Any = import_module("numexpr")
    numbers = {name: x.dtype.type(value) for name, value in NUMBERS.items()}  # in the text they would be doubles
    return partial(numexpr.evaluate, GELU, {"x": x, **numbers})


def tinygrad_gelu(x: Array) -> Callable[[], Any]:
    """Traced by its own jit, on OpenCL; the result is ready when the device has been waited for."""
    tinygrad: Any = import_module("tinygrad")
    try:
        device = tinygrad.Device["CL"]
    except Exception as e:  # it has no error of its own for that
        raise ImportError(f"tinygrad finds no OpenCL by itself: {e}") from e

    half, one, root, cubic = NUMBERS.values()

    def formula(t: Any) -> Any:
        return (half * t * (one + (root * (t + cubic * t * t * t)).tanh())).realize()

    fast, there = tinygrad.TinyJit(formula), tinygrad.Tensor(x, device="CL").realize()

    def run() -> None:
        fast(there)
        device.synchronize()

    return run


def openvino(path: str, feed: Mapping[str, Array], precision: str = "f32") -> Callable[[], Any]:
    """The file on the processor, in float32; with `precision` "" in what OpenVINO takes by itself (bfloat16, where the
    processor has products of it)."""
    ov: Any = import_module("openvino")
    core = ov.Core()
    model = core.read_model(path)
    model.reshape({name: list(a.shape) for name, a in feed.items()})
    hint = {"INFERENCE_PRECISION_HINT": precision} if precision else {}
    request = core.compile_model(model, "CPU", hint).create_infer_request()
    return partial(request.infer, dict(feed))
