"""Every family of lowerings: importing this fills `hetero.convert.onnx_call.TABLE`."""

from hetero.convert import onnx_indexing, onnx_math, onnx_movement, onnx_nn, onnx_reduce

__all__ = ["onnx_indexing", "onnx_math", "onnx_movement", "onnx_nn", "onnx_reduce"]
