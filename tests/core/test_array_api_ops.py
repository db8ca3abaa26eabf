"""The ops for indexing, sorting, sums and random numbers: shapes as inferred, decompositions as the reference."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hetero import dtype as dt
from hetero import ops
from hetero.errors import AxisError, HeteroError
from hetero.graph.build import Builder
from hetero.op import OPS, Array, Op, Sample, TensorType, arguments

FAMILIES = ("indexing", "sorting", "cumulative", "matrix", "fft", "random", "normal")
PICKED = {"f": "float32", "i": "int32", "u": "uint32", "b": "bool", "c": "complex64"}


def _owned() -> list[Op]:
    modules = {f"{ops.__name__}.{f}" for f in FAMILIES}
    return [op for op in OPS.values() if op.infer.__module__ in modules]


CASES = [(op, s, PICKED[k]) for op in _owned() for s in op.samples for k in op.dtypes]
IDS = [f"{op.name}-{name}-{i}" for i, (op, _, name) in enumerate(CASES)]


@pytest.mark.parametrize(("op", "sample", "dtype"), CASES, ids=IDS)
def test_reference_gives_the_inferred_types(op: Op, sample: Sample, dtype: str) -> None:
    arrays = arguments(sample, dt.of(dtype), 0)
    attrs = op.complete(sample.attrs)
    types = op.infer_types(tuple(TensorType(a.shape, a.dtype) for a in arrays), attrs)
    for made, type in zip(op.evaluate(arrays, attrs), types, strict=True):
        assert made.dtype == type.dtype
        assert type.shape is None or made.shape == type.shape


COMPOSITE = [case for case in CASES if case[0].composite]


@pytest.mark.parametrize(
    ("op", "sample", "dtype"), COMPOSITE, ids=[f"{c[0].name}-{i}" for i, c in enumerate(COMPOSITE)]
)
def test_decomposition_equals_the_reference(op: Op, sample: Sample, dtype: str) -> None:
    arrays = arguments(sample, dt.of(dtype), 0)
    attrs = op.complete(sample.attrs)
    builder = Builder()
    refs = [builder.input(f"x{i}", TensorType(a.shape, a.dtype)) for i, a in enumerate(arrays)]
    assert op.decompose is not None
    made = op.decompose(builder, *refs, **attrs)
    graph = builder.build(made if isinstance(made, tuple) else (made,))
    for got, want in zip(graph.evaluate(*arrays), op.evaluate(arrays, attrs), strict=True):
        assert got.dtype == want.dtype
        if op.kind == "random" or want.dtype.kind in "biu":
            np.testing.assert_array_equal(got, want, strict=True)
        else:
            np.testing.assert_allclose(got, want, rtol=2e-5, atol=2e-5)


ZEROS, ONES = (0,) * 4, (0xFFFFFFFF,) * 4
PI_KEY = (0xA4093822, 0x299F31D0, 0x13198A2E, 0x03707344)  # words 2, 3: the upper half of the known counter


def test_philox_gives_the_known_answer_for_zeros() -> None:
    words = OPS["philox"].reference(np.array(ZEROS, np.uint32), shape=(4,))
    assert [f"{w:08x}" for w in words] == ["6627e8d5", "e169c58d", "bc57ac4c", "9b00dbd8"]


@pytest.mark.parametrize(
    ("key", "counter", "answer"),
    [
        (ONES, 0xFFFFFFFFFFFFFFFF, "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        (PI_KEY, 0x85A308D3243F6A88, "d16cfe09 94fdcceb 5001e420 24126ea1"),
    ],
)
def test_philox_gives_the_known_answers_of_random123(key: tuple[int, ...], counter: int, answer: str) -> None:
    from hetero.ops.random import philox_blocks

    out = np.empty((1, 4), np.uint32)
    philox_blocks(np.array(key, np.uint32), counter, out)
    assert " ".join(f"{w:08x}" for w in out[0]) == answer


def test_philox_of_a_longer_shape_starts_with_the_shorter() -> None:
    key = np.array([1, 2, 3, 4], np.uint32)
    long = OPS["philox"].reference(key, shape=(20_001,))
    assert np.array_equal(long[:17], OPS["philox"].reference(key, shape=(17,)))
    assert len(np.unique(long)) > 19_990


def _call(name: str, *arrays: Any, **attrs: Any) -> Array:
    op = OPS[name]
    return op.reference(*map(np.asarray, arrays), **op.complete(attrs))


@pytest.mark.parametrize("index", [3, -4])
def test_an_index_outside_is_an_error_with_the_size(index: int) -> None:
    x = np.arange(3.0)
    for call in (
        lambda: _call("take", x, [index], axis=0),
        lambda: _call("take_along_axis", x, [index], axis=0),
        lambda: _call("gather_nd", x, [[index]]),
        lambda: _call("scatter_nd", x, [[index]], [1.0]),
        lambda: _call("put_along_axis", x, [index], [1.0], axis=0),
    ):
        with pytest.raises(AxisError, match=f"{index} is out of bounds .*size 3"):
            call()


def test_equal_elements_keep_their_order_both_ways() -> None:
    x = np.array([2, 1, 2, 1])
    assert _call("argsort", x, axis=0).tolist() == [1, 3, 0, 2]
    assert _call("argsort", x, axis=0, descending=True).tolist() == [0, 2, 1, 3]


def test_every_nan_is_unique() -> None:
    values, first, inverse, counts = OPS["unique"].reference(np.array([np.nan, 1.0, np.nan, 1.0]), axis=None)
    assert values.shape == (3,)
    assert first[0] == 1
    assert counts.tolist() == [2, 1, 1]
    assert inverse.tolist() == [1, 0, 2, 0]


@pytest.mark.parametrize(
    ("name", "shapes", "attrs"),
    [
        ("take", [(3,), (2,)], {"axis": 1}),
        ("take_along_axis", [(3, 4), (3,)], {"axis": 0}),
        ("put_along_axis", [(3,), (2,), (3,)], {"axis": 0}),
        ("gather_nd", [(3, 4), (2, 3)], {}),
        ("scatter_nd", [(3, 4), (2, 1), (2, 3)], {}),
        ("topk", [(3,)], {"k": 4, "axis": 0}),
        ("searchsorted", [(3, 2), (2,)], {}),
        ("sort", [(3,)], {"axis": 1}),
        ("cumsum", [(3,)], {"axis": -1}),
        ("philox", [(3,)], {"shape": (2,)}),
    ],
)
def test_shapes_that_do_not_fit_are_refused(name: str, shapes: list[tuple[int, ...]], attrs: dict[str, Any]) -> None:
    op = OPS[name]
    index = {1} if name in ("take", "take_along_axis", "put_along_axis", "gather_nd", "scatter_nd") else ()
    types = tuple(TensorType(s, dt.int64 if i in index else dt.float32) for i, s in enumerate(shapes))
    with pytest.raises(HeteroError):
        op.infer_types(types, op.complete(attrs))
