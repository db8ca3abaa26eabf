"""What Loihi's learning engine makes of a rule, and of random numbers: both as small integers, before anything runs.

A product of a rule is (mantissa f_1 f_2 ...) >> right << left: the mantissa has 4 bits, and `right` is by how much the
widths of the factors exceed the accumulator's 15 bits. How mantissa and exponent come from the text is Lava 0.10's way.

Lava's fixed-point LearningDense draws a few scalars in a step, from generators of their own: decays of x traces from
the seed, impulses of x traces from seed + 1, those of y traces from seed + 2 and seed + 3, weights always from 2. None
depends on data, so that a table of integers holds all that they decide.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from math import exp
from typing import Any, NamedTuple

import numpy as np

from hetero.errors import AttributeValueError
from hetero.op import Array
from hetero.ops.products import Product, parse

TRACES = ("x1", "x2", "y1", "y2", "y3")
TRACE_TOP = 127  # of 7 bits
ROUNDING = 2 * len(TRACES) + 1  # numbers of a step: a threshold for each decay, each impulse, a threshold for weights
RANK_BITS = 8

_WIDTHS = {"x0": 1, "y0": 1, "w": 9} | dict.fromkeys(TRACES, 7)
_LARGEST = {"x0": 1, "y0": 1, "w": 256} | dict.fromkeys(TRACES, TRACE_TOP)
_ACCUMULATOR, _MANTISSA = 15, 4  # bits
_EXPONENTS = -7, 8


class Scaled(NamedTuple):
    """A product: applies where its `gate`, x0 or y0, spikes."""

    mantissa: int
    exponent: int
    gate: str
    factors: tuple[str, ...]

    @property
    def right(self) -> int:
        return max(0, sum(_WIDTHS[f] for f in self.factors) + _MANTISSA - _ACCUMULATOR)

    @property
    def left(self) -> int:
        return self.exponent - _EXPONENTS[0]

    @property
    def largest(self) -> int:
        """The largest product before any shift."""
        value = abs(self.mantissa)
        for f in self.factors:
            value *= _LARGEST[f]
        return value

    def __str__(self) -> str:
        return "*".join([f"{abs(self.mantissa)}*2^{self.exponent}", self.gate, *self.factors])


@cache
def scaled(rule: str) -> tuple[Scaled, ...]:
    """The products of a rule as Loihi keeps them; an AttributeValueError lists all that it cannot."""
    wrong: list[str] = []
    made = [_scaled(p, wrong) for p in parse(rule)]
    if wrong:
        raise AttributeValueError(
            f"the learning rule {rule!r} is not one of Loihi's: {'; '.join(wrong)}",
            hint="a factor is m*2^e with a whole m of -8 to 7 and e of -7 to 8",
        )
    return tuple(made)


def text(rule: str) -> str:
    """The rule as Lava reads it, with the same mantissas and exponents."""
    return "".join(f"{'-' if s.mantissa < 0 else '+'}{s}" for s in scaled(rule))


def _scaled(product: Product, wrong: list[str]) -> Scaled:
    mantissa, exponent = product.mantissa, product.exponent
    while mantissa % 1 and exponent >= _EXPONENTS[0]:  # 0.75 is 3*2^-2; Lava itself takes whole numbers only
        mantissa, exponent = mantissa * 2, exponent - 1
    while abs(mantissa) > 7 and mantissa % 2 == 0 and exponent < _EXPONENTS[1]:
        mantissa, exponent = mantissa / 2, exponent + 1
    said = f"{product.mantissa:g}*2^{product.exponent}*{'*'.join(product.variables)}"
    if mantissa % 1 or not (-8 <= mantissa <= 7 and _EXPONENTS[0] <= exponent <= _EXPONENTS[1]):
        wrong.append(f"the factor of {said} is no mantissa of {_MANTISSA} bits times 2^-7 .. 2^8")
        return Scaled(0, 0, "x0", ())
    gate = next(v for v in product.variables if v in ("x0", "y0"))
    factors = list(product.variables)
    factors.remove(gate)
    made = Scaled(int(mantissa), exponent, gate, tuple(factors))
    if made.largest >= 2**31:
        wrong.append(f"{said} may reach {made.largest}, beyond 32 bits")
    return made


# -- rounding -------------------------------------------------------------------------------------------------


@cache
def faded(tau: float) -> tuple[Array, Array]:
    """What a trace decays to, for each of its values: the whole part 2^8 + the rank of the rest among `rests`.

    With r drawn, v becomes floor(k v) + [r < rest], k = exp(-1 / tau); tau = 0 clears it.
    """
    value = (exp(-1 / tau) if tau else 0.0) * np.arange(TRACE_TOP + 1)
    whole = np.floor(value)
    rests, rank = np.unique(value - whole, return_inverse=True)
    return (whole.astype(np.int32) << RANK_BITS) + rank.astype(np.int32), rests


def rounding_of(attrs: Mapping[str, Any], steps: int) -> Array:
    """(steps, 11) int32: what `loihi_learn_dense` takes in each step, for the seed, times and impulses of `attrs`."""
    seed = int(attrs["seed"])
    made = np.zeros((steps, ROUNDING), np.int32)
    for k, name in enumerate(TRACES):
        first = seed + 2 * (name[0] == "y")
        decay = np.random.default_rng(first).random(2 * steps + 1)[2::2]  # one before the run, two in each step
        made[:, k] = np.searchsorted(faded(float(attrs[f"{name}_tau"]))[1], decay, side="right")
        drawn = np.random.default_rng(first + 1).integers(0, TRACE_TOP + 1, 2 * steps + 1)[2::2]
        impulse = float(attrs[f"{name}_impulse"])
        rest = np.round((impulse - np.floor(impulse)) * 256)  # 8 bits, compared with a number of 7, as Lava does
        made[:, len(TRACES) + k] = np.floor(impulse) + (drawn < rest)
    made[:, -1] = np.floor(np.random.default_rng(2).random(steps + 1)[1:] * 128)
    return made


__all__ = ["RANK_BITS", "ROUNDING", "TRACES", "TRACE_TOP", "Scaled", "faded", "rounding_of", "scaled", "text"]
