"""Data residency as a property of tensors: `release` says where private data stops being private."""

from __future__ import annotations

from typing import Any

from hetero.tensor import Operand, apply


def release(x: Operand, *, how: str) -> Any:
    """(...) -> (...): the same values, from here on free to leave the zone that `x` is private to.

    how: "aggregate" (a count, a mean over many), "noise" (made differentially private), "threshold" (a decision), or
    "user" (the person allowed it). It is your declaration: the scheduler believes it and writes it into the audit of
    every plan, `plan.audit()`. Without one, a tensor computed from a private tensor stays in its zone.

    Raises AttributeValueError for another `how`.
    """
    return apply("release", x, how=how)
