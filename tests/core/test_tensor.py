"""The tensor: operators, promotion, mutation, conversion, and what it refuses."""

from __future__ import annotations

import copy
import operator
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import hetero as ht
from hetero import counters
from hetero.dtype import INTEGER, REAL_FLOAT, STANDARD
from hetero.errors import AttributeValueError, AxisError, DTypeError, ShapeError

NUMPY_2 = int(np.__version__.split(".")[0]) >= 2


def _np(x: Any) -> Any:
    return np.asarray(x)


def _vec(dtype: Any) -> ht.Tensor:
    return ht.asarray([1, 1, 0], dtype=dtype)


OPERATORS = (
    operator.add, operator.sub, operator.mul, operator.truediv, operator.floordiv, operator.mod, operator.pow,
    operator.and_, operator.or_, operator.xor, operator.lshift, operator.rshift, operator.lt, operator.le, operator.gt,
    operator.ge, operator.eq, operator.ne,
)  # fmt: skip


@pytest.mark.parametrize("call", OPERATORS, ids=lambda f: f.__name__)
@pytest.mark.parametrize("dtype", STANDARD, ids=str)
def test_an_operator_gives_what_numpy_gives(call: Callable[[Any, Any], Any], dtype: Any) -> None:
    a, b = np.array([3, 2, 0]).astype(dtype), np.array([1, 2, 1]).astype(dtype)
    try:
        want = call(a, b)
    except TypeError:
        with pytest.raises(DTypeError):
            call(ht.asarray(a), ht.asarray(b))
        return
    if dtype == np.bool_ and want.dtype == np.int8:  # NumPy turns bools into int8 for //, % and **
        return
    if dtype.kind == "c" and want.dtype == np.bool_ and call not in (operator.eq, operator.ne):
        return  # NumPy still orders complex numbers; the array API does not say
    got = call(ht.asarray(a), ht.asarray(b))
    np.testing.assert_array_equal(_np(got), want, strict=True)


@pytest.mark.parametrize("left", STANDARD, ids=str)
@pytest.mark.parametrize("right", STANDARD, ids=str)
def test_two_dtypes_promote_by_numpys_table(left: Any, right: Any) -> None:
    want = np.promote_types(left, right)
    for a, b in ((_vec(left), _vec(right)), (_vec(left)[0], _vec(right)), (_vec(left), _vec(right)[0])):
        assert (a + b).dtype == want
        assert ht.result_type(a, b) == want
        assert ht.multiply(a, b).dtype == want


@pytest.mark.parametrize("dtype", [*INTEGER, *REAL_FLOAT], ids=str)
@pytest.mark.parametrize("shape", [(), (3,)])
def test_a_python_scalar_is_weak(dtype: Any, shape: tuple[int, ...]) -> None:
    x = ht.ones(shape, dtype=dtype)
    assert (x + 1).dtype == dtype
    assert (1 + x).dtype == dtype
    assert (x + True).dtype == dtype
    wide = dtype if dtype.kind == "f" else np.float64
    assert (x + 1.5).dtype == wide
    assert (1.5 * x).dtype == wide
    assert (x * 1j).dtype == (np.complex64 if dtype == np.float32 else np.complex128)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_a_small_float_stays_one(dtype: str) -> None:
    x = ht.ones(3, dtype=dtype)
    for made in (x + x, x + 1, 1.5 * x, x / 2.0, -x, x @ x, ht.exp(x), ht.sum(x), ht.mean(x), ht.sort(x), x[0]):
        assert made.dtype == x.dtype
    assert (x + ht.ones(3, dtype=ht.float32)).dtype == ht.float32
    assert (x > 0.5).dtype == ht.bool
    assert ht.finfo(x).bits == 16


def test_a_scalar_that_does_not_fit_is_an_error() -> None:
    with pytest.raises(DTypeError, match="300 does not fit uint8"):
        _ = _vec("uint8") + 300


def test_a_result_of_no_dimensions_is_an_array() -> None:
    x = ht.asarray(2.0, dtype=ht.float32)
    for made in (x + x, x * 2, -x, abs(x), x == x, ht.sum(x), ht.exp(x), _vec("float32") @ _vec("float32")):
        assert type(made._array) is np.ndarray
        assert made.shape == ()


def test_shapes_that_do_not_broadcast_are_named() -> None:
    with pytest.raises(ShapeError, match=r"\(2,\) and \(3,\).*2 and 3 differ"):
        _ = ht.ones(2) + ht.ones(3)
    with pytest.raises(ShapeError, match=r"matmul wants .* got \(2, 3\) and \(2, 3\)"):
        _ = ht.ones((2, 3)) @ ht.ones((2, 3))


def test_foreign_operands_are_refused_or_left_to_python() -> None:
    x = ht.ones(3)
    with pytest.raises(DTypeError, match="asarray"):
        _ = x + np.ones(3)
    with pytest.raises(DTypeError, match="asarray"):
        _ = np.ones(3) + x
    with pytest.raises(TypeError, match="unsupported operand"):
        _ = x + "a"  # pyright: ignore[reportOperatorIssue]
    assert (x == "a") is False
    one: Any = np.float32(1)  # a NumPy scalar is a tensor of no dimensions
    assert (x + one).dtype == np.float64


@pytest.mark.parametrize(("a", "b"), [((3,), (3,)), ((2, 3), (3,)), ((3,), (3, 2)), ((4, 2, 3), (3, 5))])
def test_matmul_takes_vectors_matrices_and_batches(a: tuple[int, ...], b: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=a), rng.normal(size=b)
    np.testing.assert_allclose(_np(ht.asarray(x) @ ht.asarray(y)), x @ y)
    np.testing.assert_allclose(_np(ht.matmul(ht.asarray(x), ht.asarray(y))), x @ y)


# -- mutation -------------------------------------------------------------------------------------------------


def test_views_do_not_alias() -> None:
    x = ht.asarray([1.0, 2.0, 3.0])
    part, turned, same = x[1:], ht.reshape(x, (3, 1)), ht.asarray(x)
    x[1] = 9.0
    assert x.tolist() == [1, 9, 3]
    assert part.tolist() == [2, 3]
    assert turned.tolist() == [[1], [2], [3]]
    assert same is x
    part += 1.0
    assert part.tolist() == [3, 4]
    assert x.tolist() == [1, 9, 3]


def test_setting_elements_does_not_reach_a_numpy_array_or_back() -> None:
    a = np.zeros(3)
    x = ht.asarray(a)
    x[0] = 1.0
    assert a.tolist() == [0, 0, 0]
    a[1] = 5.0
    assert x.tolist() == [1, 0, 0]
    seen = np.asarray(x)
    x[2] = 7.0
    assert seen.tolist() == [1, 0, 0]
    with pytest.raises(ValueError, match="read-only"):
        seen[0] = 3.0


def test_setting_one_element_of_an_unshared_tensor_copies_nothing() -> None:
    x = ht.zeros(4)
    address = x._array.ctypes.data
    x[1] = 2.0
    assert x._array.ctypes.data == address
    keep = x[:2]
    x[1] = 3.0
    assert x._array.ctypes.data != address
    assert keep.tolist() == [0, 2]


def test_in_place_keeps_dtype_and_shape() -> None:
    x = ht.ones(3, dtype=ht.int32)
    before = x
    x += 1
    x *= x
    x -= ht.asarray([1, 2, 3], dtype=ht.int32)
    assert x is before
    assert x.tolist() == [3, 2, 1]
    with pytest.raises(DTypeError, match="add in place would turn int32"):
        x += 1.5
    with pytest.raises(ShapeError, match="in place"):
        x += ht.ones((2, 3), dtype=ht.int32)
    assert x.tolist() == [3, 2, 1]


def test_a_value_that_would_lose_something_is_not_set() -> None:
    x = ht.zeros(3, dtype=ht.int32)
    for value in (1.5, ht.ones(1), 1j, 2**40):
        with pytest.raises(DTypeError):
            x[0] = value
    with pytest.raises(AttributeValueError, match="asarray"):
        x[0] = [1]  # pyright: ignore[reportArgumentType]
    with pytest.raises(ShapeError):
        x[...] = ht.zeros(2, dtype=ht.int32)
    assert x.tolist() == [0, 0, 0]


# -- conversion -----------------------------------------------------------------------------------------------


def test_python_scalars_come_out() -> None:
    assert int(ht.asarray(3)) == 3
    assert float(ht.asarray(2.5)) == 2.5
    assert complex(ht.asarray(1j)) == 1j
    assert bool(ht.asarray(0.0)) is False
    assert [10, 20][ht.asarray(1)] == 20  # pyright: ignore
    assert ht.ones((1, 1)).item() == 1.0
    with pytest.raises(ShapeError, match=r"shape \(\) becomes a bool, this one has \(3,\)"):
        bool(ht.ones(3))
    with pytest.raises(DTypeError, match="float64 does not become an index"):
        operator.index(ht.asarray(1.0))
    with pytest.raises(DTypeError, match="complex128 does not become a float"):
        float(ht.asarray(1j))


def test_length_and_iteration() -> None:
    x = ht.reshape(ht.arange(6), (3, 2))
    assert len(x) == 3
    assert [row.tolist() for row in x] == [[0, 1], [2, 3], [4, 5]]
    with pytest.raises(TypeError, match="no length"):
        len(ht.asarray(1))


def test_text_shows_values_dtype_and_device() -> None:
    assert repr(ht.asarray([1.0, 2.5], dtype=ht.float32)) == "tensor([1. , 2.5], dtype=float32, device=numpy:0)"
    assert str(ht.ones(2).device) == "numpy:0"


def test_a_tensor_is_pickled_and_copied() -> None:
    x = ht.asarray([[1, 2], [3, 4]], dtype=ht.int16)
    for made in (pickle.loads(pickle.dumps(x)), copy.copy(x), copy.deepcopy(x)):
        assert made.tolist() == x.tolist()
        assert made.dtype == x.dtype
        assert made.device == x.device
        made[0, 0] = 9
        assert x[0, 0].item() == 1


def test_a_tensor_is_not_hashable() -> None:
    with pytest.raises(TypeError, match="unhashable"):
        hash(ht.ones(1))


def test_transposes() -> None:
    x = ht.reshape(ht.arange(24), (2, 3, 4))
    assert x.mT.shape == (2, 4, 3)
    assert x[0].T.shape == (4, 3)
    with pytest.raises(ShapeError, match="mT turns the last two"):
        _ = x.T


def test_the_namespace_is_hetero() -> None:
    x = ht.ones(1)
    assert x.__array_namespace__() is ht
    assert x.__array_namespace__(api_version="2024.12") is ht
    with pytest.raises(AttributeValueError, match=r"2024\.12"):
        x.__array_namespace__(api_version="2011.01")


def test_host_operators_are_counted() -> None:
    counters.reset_stats()
    x = ht.ones(3)
    _ = x + x
    _ = x + 1.0
    _ = 1.0 + x
    _ = ht.add(x, x)
    _ = ht.exp(x)
    assert counters.stats().ops["numpy:0"] == {"add": 4, "exp": 1}
    counters.reset_stats()
    assert not counters.stats().ops


# -- other libraries --------------------------------------------------------------------------------------------


def test_dlpack_shares_host_memory_both_ways() -> None:
    a = np.arange(4.0)
    x = ht.from_dlpack(a)
    assert np.shares_memory(x._array, a)
    assert x.__dlpack_device__() == (1, 0)
    back = np.from_dlpack(x)  # pyright: ignore[reportArgumentType]
    assert np.shares_memory(back, a) or not NUMPY_2  # NumPy 1 imports read-only and exports only what is not
    x[0] = 9.0  # a new buffer: the memory is shared
    assert a[0] == 0


def test_dlpack_copies_when_asked_to() -> None:
    a = np.arange(4.0)
    assert not np.shares_memory(ht.from_dlpack(a, copy=True)._array, a)
    with pytest.raises(DTypeError, match="does not speak DLPack"):
        ht.from_dlpack([1, 2])
    with pytest.raises(BufferError, match="no stream"):
        ht.ones(1).__dlpack__(stream=1)
    with pytest.raises(BufferError, match="exports to the host"):
        ht.ones(1).__dlpack__(dl_device=(2, 0))


def test_a_read_only_buffer_is_exported() -> None:
    x = ht.broadcast_to(ht.ones(1), (3,))
    assert np.from_dlpack(x).tolist() == [1, 1, 1]  # pyright: ignore[reportArgumentType]


def test_numpy_functions_take_a_tensor_as_an_array() -> None:
    x = ht.asarray([3.0, 4.0])
    assert np.linalg.norm(_np(x)) == 5
    assert np.asarray(x, dtype=np.float32).dtype == np.float32
    assert np.array(x).flags.writeable
    assert x.numpy().flags.writeable
    with pytest.raises(TypeError):
        np.add(x, 1)  # pyright: ignore


def test_asarray_takes_what_holds_numbers() -> None:
    for obj, dtype in (
        (True, "bool"), (1, "int64"), (1.0, "float64"), (1j, "complex128"), ([1, 2], "int64"), ([1, 2.5], "float64"),
        (range(3), "int64"), (np.float32(1), "float32"), (memoryview(b"ab"), "uint8"), (bytearray(b"ab"), "uint8"),
        ([ht.asarray(1.0), 2], "float64"), (np.array([1, 2], ">i4"), "int32"),
    ):  # fmt: skip
        assert ht.asarray(obj).dtype == dtype
    assert ht.asarray([[1], [2]], dtype=ht.float32).tolist() == [[1.0], [2.0]]


@pytest.mark.parametrize("wrong", ["text", [[1], [1, 2]], [None], 2**70, {"a": 1}, object()])
def test_asarray_refuses_what_does_not(wrong: Any) -> None:
    with pytest.raises(DTypeError):
        ht.asarray(wrong)


def test_asarray_without_a_copy_shares_or_fails() -> None:
    a = np.ones(3)
    assert np.shares_memory(ht.asarray(a, copy=False)._array, a)
    a.flags.writeable = False
    assert np.shares_memory(ht.asarray(a)._array, a)  # nobody can write to it
    with pytest.raises(AttributeValueError, match="copy=False"):
        ht.asarray(a, dtype=ht.float32, copy=False)
    with pytest.raises(AttributeValueError, match="copy=False"):
        ht.asarray([1, 2], copy=False)


def test_an_unknown_device_is_an_error_with_the_known_ones() -> None:
    with pytest.raises(LookupError, match="numpy"):
        ht.ones(1, device="nowhere")
    assert ht.ones(1).to_device("numpy").device.name == "numpy:0"
    with pytest.raises(AttributeValueError, match="stream"):
        ht.ones(1).to_device("numpy", stream=1)


@pytest.mark.parametrize("index", [5, -6, (0, 0), "a", 1.5])
def test_an_index_outside_is_an_error(index: Any) -> None:
    x = ht.arange(5)
    with pytest.raises(AxisError):
        _ = x[index]
    with pytest.raises((AxisError, AttributeValueError)):
        x[index] = 0
    assert x.tolist() == [0, 1, 2, 3, 4]
