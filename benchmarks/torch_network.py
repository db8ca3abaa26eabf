"""An ONNX network of convolutions as a person's torch model: op by op, eager, in inference mode."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, TypeAlias

import numpy as np

from hetero.op import Array

Attrs: TypeAlias = "Mapping[str, Any]"


class TorchNetwork:
    """Calls the nodes of an ONNX file in order; weights are tensors made once, freed values are freed."""

    def __init__(self, path: str) -> None:
        import onnx

        self._torch: Any = import_module("torch")
        graph = onnx.load(path).graph
        self._fixed: dict[str, Any] = {t.name: self._held(onnx.numpy_helper.to_array(t)) for t in graph.initializer}
        self._calls: list[tuple[Callable[..., Any], tuple[str, ...], str, Attrs]] = []
        for node in graph.node:
            attrs = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
            if node.op_type == "ConstantOfShape":
                value = onnx.numpy_helper.to_array(attrs["value"])
                shape = tuple(self._fixed[node.input[0]].tolist())
                self._fixed[node.output[0]] = self._held(np.full(shape, value[0]))
            else:
                self._calls.append((OPS[node.op_type], tuple(node.input), node.output[0], attrs))
        self._last = {name: k for k, (_, names, _, _) in enumerate(self._calls) for name in names}
        self._result = graph.output[0].name

    def _held(self, array: Array) -> Any:
        return self._torch.from_numpy(np.array(array))

    def __call__(self, feed: Mapping[str, Array]) -> Array:
        torch = self._torch
        known = self._fixed | {name: torch.from_numpy(array) for name, array in feed.items()}
        with torch.inference_mode():
            for k, (call, names, result, attrs) in enumerate(self._calls):
                known[result] = call(torch, *(known[n] for n in names), **attrs)
                for name in names:
                    if self._last[name] == k:
                        del known[name]
        return known[self._result].numpy()


def _same_both_ends(pads: list[int] | None, rank: int) -> list[int]:
    """torch pads both ends of an axis by one number"""
    pads = pads or [0] * (2 * rank)
    assert pads[:rank] == pads[rank:], f"torch has no pads {pads}"
    return pads[:rank]


def _conv(torch: Any, x: Any, w: Any, b: Any = None, **attrs: Any) -> Any:
    rank = x.dim() - 2
    pads = _same_both_ends(attrs.get("pads"), rank)
    one = [1] * rank
    return torch.conv2d(x, w, b, attrs.get("strides", one), pads, attrs.get("dilations", one), attrs.get("group", 1))


def _norm(torch: Any, x: Any, scale: Any, bias: Any, mean: Any, variance: Any, **attrs: Any) -> Any:
    return torch.batch_norm(x, scale, bias, mean, variance, False, 0.0, attrs.get("epsilon", 1e-5), False)


def _max_pool(torch: Any, x: Any, **attrs: Any) -> Any:
    """torch refuses pads of one end, and networks pad so at the last edge: those are padded apart."""
    kernel, strides, pads = attrs["kernel_shape"], attrs["strides"], attrs.get("pads", [0, 0, 0, 0])
    if pads[:2] != pads[2:]:
        x = torch.nn.functional.pad(x, (pads[1], pads[3], pads[0], pads[2]), value=-np.inf)
        pads = [0, 0]
    return torch.max_pool2d(x, kernel, strides, pads[:2])


def _average_pool(torch: Any, x: Any, **attrs: Any) -> Any:
    pads = _same_both_ends(attrs.get("pads"), 2)
    return torch.nn.functional.avg_pool2d(x, attrs["kernel_shape"], attrs["strides"], pads, count_include_pad=False)


def _gemm(torch: Any, a: Any, b: Any, c: Any, **attrs: Any) -> Any:
    return torch.addmm(c, a, b.t() if attrs.get("transB") else b)


OPS: Mapping[str, Callable[..., Any]] = {
    "Conv": _conv,
    "BatchNormalization": _norm,
    "MaxPool": _max_pool,
    "AveragePool": _average_pool,
    "GlobalAveragePool": lambda torch, x: x.mean((2, 3), keepdim=True),
    "Relu": lambda torch, x: torch.relu(x),
    "Sum": lambda torch, a, b: a + b,
    "Concat": lambda torch, *x, axis: torch.cat(x, axis),
    "Dropout": lambda torch, x, **attrs: x,
    "Reshape": lambda torch, x, shape: x.reshape(tuple(shape.tolist())),
    "Gemm": _gemm,
    "Softmax": lambda torch, x, axis=1: torch.softmax(x.flatten(axis), axis).reshape(x.shape),
}
