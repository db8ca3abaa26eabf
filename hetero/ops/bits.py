"""The same bits under another dtype."""

from __future__ import annotations

from hetero import dtype as dt
from hetero.errors import DTypeError
from hetero.op import REQUIRED, Arg, Array, Attrs, Cost, Op, Sample, TensorType, Types, define


def _bitcast_infer(x: TensorType, *, dtype: str) -> TensorType:
    """(...) -> (...) of `dtype`, which has the same width"""
    to = dt.of(dtype)
    if to.itemsize != x.dtype.itemsize or (to == dt.bool_ != x.dtype):
        raise DTypeError(f"bitcast wants a dtype as wide as {x.dtype.name}, got {to.name}", hint="use cast")
    return x.with_dtype(to)


def _bitcast(x: Array, *, dtype: str) -> Array:
    return x.view(dt.of(dtype))


def _cost(types: Types, outs: Types, attrs: Attrs) -> Cost:
    n = int(outs[0].size)
    return Cost(flop=0, read=n, write=n)


bitcast = define(
    Op(
        name="bitcast", kind="elementwise", infer=_bitcast_infer, reference=_bitcast, cost=_cost, onnx="BitCast",
        dtypes="f", attrs={"dtype": REQUIRED},
        samples=(
            Sample((Arg((7,), dtype="float32"),), {"dtype": "int32"}),
            Sample((Arg((3, 5), dtype="float64"),), {"dtype": "uint64"}),
            Sample((Arg((301,), -100, 100, "int32"),), {"dtype": "float32"}),
            Sample((Arg((5,), -100, 100, "int8"),), {"dtype": "uint8"}),
        ),
    )
)  # fmt: skip
