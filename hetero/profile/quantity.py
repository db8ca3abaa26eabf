"""A number with its unit, where it comes from and how far it may be off; and intervals, which carry that through."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

Status = Literal["datasheet", "measured", "estimated"]
Scope = Literal["", "core", "chip", "module", "board", "system"]
STATUSES: tuple[Status, ...] = get_args(Status)
SCOPES: tuple[Scope, ...] = get_args(Scope)


@dataclass(frozen=True, slots=True)
class Interval:
    """low <= mid <= high of a value that is never negative."""

    low: float
    mid: float
    high: float

    def __add__(self, other: Interval | float) -> Interval:
        o = interval(other)
        return Interval(self.low + o.low, self.mid + o.mid, self.high + o.high)

    __radd__ = __add__

    def __mul__(self, other: Interval | float) -> Interval:
        o = interval(other)
        return Interval(self.low * o.low, self.mid * o.mid, self.high * o.high)

    __rmul__ = __mul__

    def __truediv__(self, other: Interval | float) -> Interval:
        o = interval(other)
        return Interval(_divide(self.low, o.high), _divide(self.mid, o.mid), _divide(self.high, o.low))

    def __rtruediv__(self, other: float) -> Interval:
        return interval(other) / self

    def max(self, other: Interval | float) -> Interval:
        """The larger of the two, end by end."""
        o = interval(other)
        return Interval(max(self.low, o.low), max(self.mid, o.mid), max(self.high, o.high))

    def scale(self, factor: float) -> Interval:
        return Interval(self.low * factor, self.mid * factor, self.high * factor)


def interval(value: Interval | Quantity | float) -> Interval:
    """`value` as an interval; a plain number is exact."""
    if isinstance(value, Interval):
        return value
    if isinstance(value, Quantity):
        return Interval(value.low, value.value, value.high)
    return Interval(value, value, value)


def _divide(a: float, b: float) -> float:
    """a / b, where something through nothing takes for ever and nothing through nothing no time."""
    if b:
        return a / b
    return math.inf if a else 0.0


@dataclass(frozen=True, slots=True)
class Quantity:
    """One value of a profile. `uncertainty` is relative: the truth is taken to lie within value * (1 -+ uncertainty).

    `source` is a key of the profile's sources. `scope` says what a power was measured at: chip, module, board ...
    """

    value: float
    unit: str
    source: str
    year: int
    status: Status
    uncertainty: float
    note: str = ""
    scope: Scope = ""

    @property
    def low(self) -> float:
        return max(0.0, self.value * (1 - self.uncertainty))

    @property
    def high(self) -> float:
        return self.value * (1 + self.uncertainty)

    @property
    def interval(self) -> Interval:
        return Interval(self.low, self.value, self.high)


GIVEN = "given"


def given(value: float, unit: str, uncertainty: float = 0.0, note: str = "") -> Quantity:
    """A quantity made in code, in the base unit, that no document stands behind: its source is "given"."""
    return Quantity(float(value), unit, GIVEN, 2025, "estimated", uncertainty, note)
