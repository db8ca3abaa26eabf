"""Ops that give every partial result along an axis. The dtype stays; integers wrap."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from hetero.op import REQUIRED, Arg, Array, Attrs, Cost, Op, Sample, TensorType, Types, define
from hetero.ops.elementwise import check_kinds
from hetero.ops.indexing import check_axis


def _cost(types: Types, outs: Types, attrs: Attrs) -> Cost:
    n = int(types[0].size)
    return Cost(flop=n, read=n, write=n)


def _cumulative(name: str, call: Callable[..., Any], first: int, onnx: str = "") -> Op:
    def infer(x: TensorType, *, axis: int, exclusive: bool, reverse: bool) -> TensorType:
        """(..., n, ...) -> (..., n, ...)"""
        check_axis(name, axis, x.rank)
        check_kinds(name, "iufc", (x,))
        return x

    def reference(x: Array, *, axis: int, exclusive: bool, reverse: bool) -> Array:
        """With `exclusive` an element does not count in its own result; with `reverse` from the end."""
        x = np.flip(x, axis) if reverse else x
        out = np.asarray(call(x, axis=axis, dtype=x.dtype))
        if exclusive:
            start = np.full((*x.shape[:axis], min(1, x.shape[axis]), *x.shape[axis + 1 :]), first, x.dtype)
            out = np.concatenate([start, out[(slice(None),) * axis + (slice(0, -1),)]], axis)
        return np.flip(out, axis) if reverse else out

    return define(
        Op(
            name=name, kind="compute", infer=infer, reference=reference, cost=_cost, dtypes="iufc", onnx=onnx,
            attrs={"axis": REQUIRED, "exclusive": False, "reverse": False},
            samples=(
                Sample((Arg((7,)),), {"axis": 0}),
                Sample((Arg((3, 5)),), {"axis": 0, "exclusive": True}),
                Sample((Arg((3, 300)),), {"axis": 1, "reverse": True}),
                Sample((Arg((2, 5, 3)),), {"axis": 1, "exclusive": True, "reverse": True}),
                Sample((Arg((3, 0)),), {"axis": 1, "exclusive": True}),
            ),
        )
    )  # fmt: skip


cumsum = _cumulative("cumsum", np.cumsum, 0, "CumSum")
cumprod = _cumulative("cumprod", np.cumprod, 1)
