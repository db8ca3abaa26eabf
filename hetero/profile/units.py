"""The units that values in files may have, and what each is worth in the base unit of its field.

A base unit takes the SI prefixes `f p n u m k M G T P E` in front (`ms`, `pJ`, `TB/s`). Bytes also take `Ki Mi Gi Ti`
(powers of 1024), and may be given as bits: `Mbit/s` is 125,000 B/s, `1 nJ/bit` is 8 nJ/B. `USD` and ratios take none.
"""

from __future__ import annotations

from decimal import Decimal
from functools import cache

SI = {"": 0, "f": -15, "p": -12, "n": -9, "u": -6, "m": -3, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
BINARY = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}

# base unit -> spellings of it that take an SI prefix, each with its worth
_SPELLINGS: dict[str, dict[str, str]] = {
    "op/s": {"op/s": "1"},
    "B": {"B": "1", "bit": "0.125"},
    "B/s": {"B/s": "1", "bit/s": "0.125"},
    "s": {"s": "1"},
    "W": {"W": "1"},
    "J": {"J": "1"},
    "J/op": {"J/op": "1"},
    "J/B": {"J/B": "1", "J/bit": "8"},
    "Hz": {"Hz": "1"},
}
_BINARY_TOO = ("B", "B/s")


@cache
def accepted(base: str) -> dict[str, Decimal]:
    """Every unit that stands for `base`, with its worth."""
    units = {
        prefix + spelling: Decimal(worth).scaleb(power)
        for spelling, worth in _SPELLINGS.get(base, {}).items()
        for prefix, power in SI.items()
    }
    if base in _BINARY_TOO:
        units |= {prefix + base: Decimal(worth) for prefix, worth in BINARY.items()}
    return units or {base: Decimal(1)}


def to_base(value: float, unit: str, base: str) -> float | None:
    """`value` in the base unit, exact in decimal; None when the unit is not one of that kind."""
    worth = accepted(base).get(unit)
    return None if worth is None else float(Decimal(repr(value)) * worth)
