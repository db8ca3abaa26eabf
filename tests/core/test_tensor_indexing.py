"""`x[key]` and `x[key] = v` against NumPy: by the host's short way, by ops as on a device, and in a trace."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import hetero as ht
from hetero import subscript
from hetero.errors import AxisError, DTypeError, GraphError, ShapeError
from hetero.tensor import apply

SHAPES = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)
quick = settings(max_examples=60, deadline=None)


def _filled(shape: tuple[int, ...]) -> Any:
    return np.arange(int(np.prod(shape)), dtype=np.int64).reshape(shape)


def _to_tensors(key: Any) -> Any:
    if isinstance(key, tuple):
        return tuple(_to_tensors(k) for k in key)  # pyright: ignore[reportUnknownVariableType]
    return ht.asarray(key) if isinstance(key, np.ndarray | np.bool_) else key


@st.composite
def keys(draw: st.DrawFn, shape: tuple[int, ...]) -> Any:
    """Ints, slices, None, one `...`, integer arrays that broadcast together, and masks, mixed in any order."""
    wide = draw(st.sampled_from([(), (1,), (2,), (2, 1), (1, 3)]))
    items: list[Any] = []
    axis = 0
    while axis < len(shape) and draw(st.integers(0, 5)):
        n = shape[axis]
        kind = draw(st.sampled_from(["int", "slice", "slice", "none", "array", "array", "mask"]))
        if kind == "none":
            items.append(None)
            continue
        if kind == "slice":
            items.append(draw(st.slices(n)))
        elif kind == "int" and n:
            items.append(draw(st.integers(-n, n - 1)))
        elif kind == "array" and n:
            items.append(draw(hnp.arrays(np.int64, wide, elements=st.integers(-n, n - 1))))
        elif kind == "mask" and not any(isinstance(i, np.ndarray) for i in items):
            rank = draw(st.integers(1, min(2, len(shape) - axis)))
            items.append(draw(hnp.arrays(np.bool_, shape[axis : axis + rank])))
            axis += rank
            wide = ()  # other index arrays must broadcast with the mask's count
            continue
        else:
            break
        axis += 1
    if draw(st.booleans()):  # in the middle only where it stands for no axis, so that masks stay in place
        items.insert(draw(st.integers(0, len(items))) if axis == len(shape) else len(items), ...)
    return tuple(items) if len(items) != 1 or draw(st.booleans()) else items[0]


@given(data=st.data(), shape=SHAPES)
@quick
def test_picking_gives_what_numpy_gives(data: st.DataObject, shape: tuple[int, ...]) -> None:
    key = data.draw(keys(shape))
    a = _filled(shape)
    try:
        want = a[key]
    except (IndexError, DeprecationWarning):  # NumPy 1 warns of an index outside an empty result
        return
    x, key = ht.asarray(a), _to_tensors(key)
    np.testing.assert_array_equal(np.asarray(x[key]), want, strict=True)
    np.testing.assert_array_equal(np.asarray(subscript.get(apply, x, key)), want, strict=True)


@given(data=st.data(), shape=SHAPES)
@quick
def test_setting_gives_what_numpy_gives(data: st.DataObject, shape: tuple[int, ...]) -> None:
    key = data.draw(keys(shape))
    a = _filled(shape)
    try:
        want = a.copy()
        value: Any = -1 - np.arange(want[key].size).reshape(want[key].shape) if data.draw(st.booleans()) else -7
        if len(np.unique(a[key])) < a[key].size:
            value = -7  # which of several values stays is nobody's promise
        want[key] = value
    except (IndexError, DeprecationWarning):  # NumPy 1 warns of an index outside an empty result
        return
    key, v = _to_tensors(key), _to_tensors(np.asarray(value))
    x = ht.asarray(a)
    x[key] = v
    np.testing.assert_array_equal(np.asarray(x), want, strict=True)
    np.testing.assert_array_equal(np.asarray(subscript.put(apply, ht.asarray(a), key, v)), want, strict=True)


@pytest.mark.parametrize(
    "key",
    [
        (0,), (slice(1, None), None), (..., 1), (slice(None, None, -2),), (np.array([2, 0]),),
        (np.array([[1], [2]]), slice(None), np.array([0, 3])), (0, slice(None), np.array([0, 3])),
        (slice(None), np.array([1]), np.array([0, 3])), (None, np.array([2, 0]), ..., 1, 3),
    ],
)  # fmt: skip
def test_a_trace_picks_and_sets_the_same(key: tuple[Any, ...]) -> None:
    a = _filled((3, 2, 4))
    key_ = _to_tensors(key)

    def both(x: ht.Tensor) -> tuple[ht.Tensor, ht.Tensor]:
        picked = x[key_]
        x[key_] = -1
        return picked, x

    picked, changed = ht.jit(both)(ht.asarray(a))
    want = a.copy()
    want[key] = -1
    np.testing.assert_array_equal(np.asarray(picked), a[key], strict=True)
    np.testing.assert_array_equal(np.asarray(changed), want, strict=True)


def test_a_trace_sets_by_mask_but_does_not_pick_by_one() -> None:
    def clipped(x: ht.Tensor) -> ht.Tensor:
        x[x < 2] = 2
        return x

    assert ht.jit(clipped)(ht.arange(4)).tolist() == [2, 2, 2, 3]
    with pytest.raises(GraphError, match="depends on values"):
        ht.jit(lambda x: x[x < 2])(ht.arange(4))  # pyright: ignore[reportUnknownLambdaType]


@pytest.mark.parametrize(
    ("key", "error", "says"),
    [
        ((0, 0, 0), AxisError, "3 indices into a tensor of 2"),
        (3, AxisError, "index 3 is outside axis 0 of size 3"),
        ((..., ...), AxisError, "one `...`"),
        (1.5, AxisError, "float is no index"),
        (ht.asarray([0.5]), DTypeError, "integers or bools, not float64"),
        (ht.asarray([True, False]), ShapeError, r"mask of shape \(2,\) on axes of sizes \(3,\)"),
        (ht.asarray([3]), AxisError, "out of bounds"),
    ],
)
def test_a_key_that_does_not_fit_is_named(key: Any, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        subscript.get(apply, ht.zeros((3, 4)), key)
    with pytest.raises((AxisError, DTypeError, ShapeError)):
        _ = ht.zeros((3, 4))[key]


def test_one_size_of_a_reshape_is_worked_out() -> None:
    assert ht.reshape(ht.zeros((2, 6)), (3, -1)).shape == (3, 4)
    for wrong in ((-1, -1), (5, -1), (0, -1)):
        with pytest.raises(ShapeError):
            ht.reshape(ht.zeros((2, 6)), wrong)
