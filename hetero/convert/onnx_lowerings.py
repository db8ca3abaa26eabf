"""Every family of lowerings: importing this fills `hetero.convert.onnx_call.TABLE`."""

from hetero.convert import (
    onnx_control,
    onnx_einsum,
    onnx_function,
    onnx_image,
    onnx_indexing,
    onnx_math,
    onnx_movement,
    onnx_nn,
    onnx_quantize,
    onnx_random,
    onnx_recurrent,
    onnx_reduce,
    onnx_signal,
)

__all__ = [
    "onnx_control",
    "onnx_einsum",
    "onnx_function",
    "onnx_image",
    "onnx_indexing",
    "onnx_math",
    "onnx_movement",
    "onnx_nn",
    "onnx_quantize",
    "onnx_random",
    "onnx_recurrent",
    "onnx_reduce",
    "onnx_signal",
]
