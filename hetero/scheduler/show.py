"""Numbers with units and tables, as people read them."""

from __future__ import annotations

from collections.abc import Sequence

from hetero.profile.quantity import Interval


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns of one width, the last one free."""
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    widths[-1] = 0
    return ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows]


def span(value: Interval, unit: str) -> str:
    """`12.3 ms (9.1 ms to 17 ms)`"""
    if value.low == value.high:
        return quantity(value.mid, unit)
    return f"{quantity(value.mid, unit)} ({quantity(value.low, unit)} to {quantity(value.high, unit)})"


def quantity(value: float, unit: str) -> str:
    """With a prefix: `3.2 ms`, `14 kB`, `0 J`."""
    if value == 0 or value != value or value == float("inf"):
        return f"{value:g} {unit}"
    for factor, prefix in _PREFIXES:
        if abs(value) >= factor * 0.9995:
            return f"{value / factor:.3g} {prefix}{unit}"
    return f"{value / 1e-12:.3g} p{unit}" if unit != "B" else f"{value:.3g} {unit}"


_PREFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""), (1e-3, "m"), (1e-6, "u"), (1e-9, "n"))
