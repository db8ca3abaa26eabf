"""Data residency: the op that lets private data go."""

from __future__ import annotations

from hetero.errors import AttributeValueError
from hetero.op import REQUIRED, Arg, Array, Cost, Emit, Op, Sample, TensorType, Types, Value, define

HOW = ("aggregate", "noise", "threshold", "user")  # why what is released no longer tells of a person


def _release_infer(x: TensorType, *, how: str) -> TensorType:
    """(...) -> (...)"""
    if how not in HOW:
        raise AttributeValueError(f"nothing is released by {how!r}", hint=f"how is one of {', '.join(HOW)}")
    return x


def _release(x: Array, *, how: str) -> Array:
    return x


def _release_decompose(emit: Emit, x: Value, *, how: str) -> Value:
    return x


def _release_cost(types: Types, outs: Types, attrs: object) -> Cost:
    """It declares, and moves nothing."""
    return Cost(0, 0, 0)


release = define(
    Op(
        name="release", kind="control", infer=_release_infer, reference=_release, cost=_release_cost,
        decompose=_release_decompose, attrs={"how": REQUIRED},
        samples=(Sample((Arg((3, 4)),), {"how": "aggregate"}), Sample((Arg(()),), {"how": "user"})),
    )
)  # fmt: skip
