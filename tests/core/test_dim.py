"""Named dimensions behave like the numbers they stand for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hetero.dim import Dim, broadcast, concrete, prod, show
from hetero.errors import ShapeError

B, T = Dim.symbol("batch"), Dim.symbol("time")
numbers = st.integers(-50, 50)


@given(b=numbers, t=numbers, k=numbers)
def test_arithmetic_commutes_with_binding(b: int, t: int, k: int) -> None:
    values = {"batch": b, "time": t}

    def bound(size: object) -> object:
        return size.bind(values) if isinstance(size, Dim) else size

    assert bound(B * T + k) == b * t + k
    assert bound(k - B * 3) == k - b * 3
    assert bound((B + T) * (B - T)) == (b + t) * (b - t)
    assert bound(-B) == -b


def test_equal_polynomials_are_equal_and_hash_alike() -> None:
    assert B * 2 + T == T + B + B
    assert hash(B * 2 + T) == hash(T + B + B)
    assert B != T
    assert B - B == 0


def test_exact_division_only() -> None:
    assert (B * 6) // 3 == B * 2
    assert (B * T) // T == B
    with pytest.raises(ShapeError, match="not known to be a multiple"):
        _ = B // 2


def test_what_needs_a_number_names_the_dimension() -> None:
    with pytest.raises(ShapeError, match="batch has no value yet"):
        range(B)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    with pytest.raises(ShapeError, match="batch"):
        _ = B < 3
    with pytest.raises(ShapeError, match=r"\(batch, 3\)"):
        concrete((B, 3))


def test_text() -> None:
    assert str(B * B * 2 - T + 1) == "2*batch*batch - 1*time + 1"
    assert show((B, 3)) == "(batch, 3)"
    assert show((B,)) == "(batch,)"
    assert show(None) == "?"


def test_broadcasting_follows_numpy_and_stretches_only_one() -> None:
    assert broadcast((B, 1, 3), (4, 1)) == (B, 4, 3)
    assert broadcast((B, 3), (1, 3)) == (B, 3)
    assert broadcast() == ()
    with pytest.raises(ShapeError, match=r"batch and 5 differ|5 and batch differ"):
        broadcast((B,), (5,))
    assert prod((B, 2, 3)) == B * 6
