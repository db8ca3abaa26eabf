"""Products of matrices."""

from __future__ import annotations

import numpy as np

from hetero.dim import broadcast, show
from hetero.errors import DTypeError, ShapeError
from hetero.op import Arg, Array, Attrs, Cost, Op, Sample, TensorType, Types, define


def _matmul_infer(a: TensorType, b: TensorType) -> TensorType:
    """(..., m, k), (..., k, n) -> (..., m, n); leading axes broadcast"""
    if a.dtype != b.dtype:
        raise DTypeError(f"matmul wants one dtype, got {a.dtype.name} and {b.dtype.name}", hint="cast one side")
    if a.rank < 2 or b.rank < 2 or a.known[-1] != b.known[-2]:
        raise ShapeError(
            f"matmul wants (..., m, k) and (..., k, n), got {show(a.known)} and {show(b.known)}",
            hint="transpose one side with .mT",
        )
    return TensorType((*broadcast(a.known[:-2], b.known[:-2]), a.known[-2], b.known[-1]), a.dtype)


def _matmul(a: Array, b: Array) -> Array:
    return np.matmul(a, b).astype(a.dtype, copy=False)  # of bfloat16 NumPy gives float32


def _matmul_cost(types: Types, outs: Types, attrs: Attrs) -> Cost:
    out, k = int(outs[0].size), int(types[0].known[-1])
    return Cost(flop=2 * out * k, read=int(types[0].size) + int(types[1].size), write=out)


matmul = define(
    Op(
        name="matmul", kind="compute", infer=_matmul_infer, reference=_matmul, cost=_matmul_cost, onnx="MatMul",
        dtypes="iufc", arithmetic="same",
        samples=(
            Sample((Arg((1, 1)), Arg((1, 1)))),
            Sample((Arg((3, 4)), Arg((4, 2)))),
            Sample((Arg((17, 33)), Arg((33, 9)))),
            Sample((Arg((5, 17, 33)), Arg((33, 9)))),
            Sample((Arg((2, 1, 3, 4)), Arg((5, 4, 2)))),
            Sample((Arg((65, 130)), Arg((130, 70)))),
            Sample((Arg((3, 0)), Arg((0, 2)))),
        ),
    )
)  # fmt: skip
