"""Every name of the array API 2024.12 with its parameters, and what each function answers beyond the public suite."""

from __future__ import annotations

import inspect
import math
from typing import Any

import numpy as np
import pytest

import hetero as ht
from hetero.errors import AttributeValueError, AxisError, DTypeError, ShapeError

# The standard's functions as "name: parameters"; / and * as in Python. Extensions are named with their module.
STANDARD = """
arange: start, /, stop, step, *, dtype, device
asarray: obj, /, *, dtype, device, copy
empty: shape, *, dtype, device
empty_like: x, /, *, dtype, device
eye: n_rows, n_cols, /, *, k, dtype, device
from_dlpack: x, /, *, device, copy
full: shape, fill_value, *, dtype, device
full_like: x, /, fill_value, *, dtype, device
linspace: start, stop, /, num, *, dtype, device, endpoint
meshgrid: *arrays, indexing
ones: shape, *, dtype, device
ones_like: x, /, *, dtype, device
tril: x, /, *, k
triu: x, /, *, k
zeros: shape, *, dtype, device
zeros_like: x, /, *, dtype, device
astype: x, dtype, /, *, copy, device
can_cast: from_, to, /
finfo: type, /
iinfo: type, /
isdtype: dtype, kind
result_type: *arrays_and_dtypes
clip: x, /, min, max
take: x, indices, /, *, axis
take_along_axis: x, indices, /, *, axis
matmul: x1, x2, /
matrix_transpose: x, /
tensordot: x1, x2, /, *, axes
vecdot: x1, x2, /, *, axis
broadcast_arrays: *arrays
broadcast_to: x, /, shape
concat: arrays, /, *, axis
expand_dims: x, /, axis
flip: x, /, *, axis
moveaxis: x, source, destination, /
permute_dims: x, /, axes
repeat: x, repeats, /, *, axis
reshape: x, /, shape, *, copy
roll: x, /, shift, *, axis
squeeze: x, /, axis
stack: arrays, /, *, axis
tile: x, repetitions, /
unstack: x, /, *, axis
argmax: x, /, *, axis, keepdims
argmin: x, /, *, axis, keepdims
count_nonzero: x, /, *, axis, keepdims
nonzero: x, /
searchsorted: x1, x2, /, *, side, sorter
where: condition, x1, x2, /
unique_all: x, /
unique_counts: x, /
unique_inverse: x, /
unique_values: x, /
argsort: x, /, *, axis, descending, stable
sort: x, /, *, axis, descending, stable
cumulative_prod: x, /, *, axis, dtype, include_initial
cumulative_sum: x, /, *, axis, dtype, include_initial
max: x, /, *, axis, keepdims
mean: x, /, *, axis, keepdims
min: x, /, *, axis, keepdims
prod: x, /, *, axis, dtype, keepdims
std: x, /, *, axis, correction, keepdims
sum: x, /, *, axis, dtype, keepdims
var: x, /, *, axis, correction, keepdims
all: x, /, *, axis, keepdims
any: x, /, *, axis, keepdims
diff: x, /, *, axis, n, prepend, append
linalg.cholesky: x, /, *, upper
linalg.cross: x1, x2, /, *, axis
linalg.det: x, /
linalg.diagonal: x, /, *, offset
linalg.eigh: x, /
linalg.eigvalsh: x, /
linalg.inv: x, /
linalg.matmul: x1, x2, /
linalg.matrix_norm: x, /, *, keepdims, ord
linalg.matrix_power: x, n, /
linalg.matrix_rank: x, /, *, rtol
linalg.matrix_transpose: x, /
linalg.outer: x1, x2, /
linalg.pinv: x, /, *, rtol
linalg.qr: x, /, *, mode
linalg.slogdet: x, /
linalg.solve: x1, x2, /
linalg.svd: x, /, *, full_matrices
linalg.svdvals: x, /
linalg.tensordot: x1, x2, /, *, axes
linalg.trace: x, /, *, offset, dtype
linalg.vecdot: x1, x2, /, *, axis
linalg.vector_norm: x, /, *, axis, keepdims, ord
fft.fft: x, /, *, n, axis, norm
fft.ifft: x, /, *, n, axis, norm
fft.fftn: x, /, *, s, axes, norm
fft.ifftn: x, /, *, s, axes, norm
fft.rfft: x, /, *, n, axis, norm
fft.irfft: x, /, *, n, axis, norm
fft.rfftn: x, /, *, s, axes, norm
fft.irfftn: x, /, *, s, axes, norm
fft.hfft: x, /, *, n, axis, norm
fft.ihfft: x, /, *, n, axis, norm
fft.fftfreq: n, /, *, d, dtype, device
fft.rfftfreq: n, /, *, d, dtype, device
fft.fftshift: x, /, *, axes
fft.ifftshift: x, /, *, axes
""".strip()
UNARY = """abs acos acosh asin asinh atan atanh bitwise_invert ceil conj cos cosh exp expm1 floor imag isfinite
isinf isnan log log10 log1p log2 logical_not negative positive real reciprocal round sign signbit sin sinh sqrt square
tan tanh trunc""".split()
BINARY = """add atan2 bitwise_and bitwise_left_shift bitwise_or bitwise_right_shift bitwise_xor copysign divide equal
floor_divide greater greater_equal hypot less less_equal logaddexp logical_and logical_or logical_xor maximum minimum
multiply nextafter not_equal pow remainder subtract""".split()
CONSTANTS = "e inf nan newaxis pi __array_namespace_info__ __array_api_version__".split()
DTYPES = """bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 float32 float64 complex64 complex128""".split()
LINES = [*STANDARD.splitlines(), *(f"{n}: x, /" for n in UNARY), *(f"{n}: x1, x2, /" for n in BINARY)]


def _found(name: str) -> Any:
    out: Any = ht
    for part in name.split("."):
        out = getattr(out, part)
    return out


def _parameters(call: Any) -> str:
    """The parameters as the table writes them."""
    out: list[str] = []
    before: Any = None
    kinds = inspect.Parameter
    for p in inspect.signature(call).parameters.values():
        if before == kinds.POSITIONAL_ONLY and p.kind != before:
            out.append("/")
        if p.kind == kinds.KEYWORD_ONLY and before not in (kinds.KEYWORD_ONLY, kinds.VAR_POSITIONAL):
            out.append("*")
        out.append(f"*{p.name}" if p.kind == kinds.VAR_POSITIONAL else p.name)
        before = p.kind
    return ", ".join([*out, "/"] if before == kinds.POSITIONAL_ONLY else out)


@pytest.mark.parametrize("line", LINES, ids=lambda line: line.split(":")[0])
def test_a_function_of_the_standard_has_its_parameters(line: str) -> None:
    name, _, parameters = line.partition(": ")
    assert _parameters(_found(name)) == parameters
    assert _found(name).__doc__
    assert _found(name).__name__ == name.rpartition(".")[2]


@pytest.mark.parametrize("name", [*CONSTANTS, *DTYPES])
def test_a_name_of_the_standard_is_there(name: str) -> None:
    assert hasattr(ht, name)
    assert name in ht.__all__


def test_all_names_what_is_there() -> None:
    for module in (ht, ht.linalg, ht.fft, ht.random):
        assert len(set(module.__all__)) == len(module.__all__)
        assert all(hasattr(module, name) for name in module.__all__)


def _np(x: Any) -> Any:
    return np.asarray(x)


def test_info_tells_what_there_is() -> None:
    info = ht.__array_namespace_info__()
    assert "numpy:0" in [str(d) for d in info.devices()]
    assert str(info.default_device()) == "numpy:0"
    assert set(info.dtypes(kind="real floating")) == {"float32", "float64"}
    assert len(info.dtypes()) == 13
    assert info.default_dtypes()["integral"] == ht.int64
    assert info.capabilities()["boolean indexing"] is True


def test_dtypes_are_asked_about() -> None:
    assert ht.can_cast(ht.int32, ht.float64)
    assert not ht.can_cast(ht.float64, ht.int32)
    assert ht.isdtype(ht.int8, ("bool", "integral"))
    assert not ht.isdtype(ht.float32, "complex floating")
    assert ht.finfo(ht.complex64).dtype == ht.float32
    assert type(ht.finfo(ht.float32).eps) is float
    assert ht.iinfo(ht.uint8).max == 255
    assert ht.result_type(ht.int8, 1.0) == ht.float64
    with pytest.raises(AttributeValueError, match="no kind"):
        ht.isdtype(ht.int8, "integer")
    with pytest.raises(DTypeError, match="finfo is for"):
        ht.iinfo(ht.float32)


@pytest.mark.parametrize("axis", [None, 0, 1, -1, (0, 2)])
@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("name", ["sum", "prod", "max", "min", "mean", "std", "var", "all", "any", "count_nonzero"])
def test_a_reduction_gives_what_numpy_gives(name: str, axis: Any, keepdims: bool) -> None:
    a = np.random.default_rng(0).normal(size=(3, 4, 2)).astype(np.float32)
    want = np.asarray(getattr(np, name)(a, axis=axis, keepdims=keepdims))
    got = getattr(ht, name)(ht.asarray(a), axis=axis, keepdims=keepdims)
    assert got.dtype == want.dtype
    np.testing.assert_allclose(_np(got), want, rtol=1e-6)


@pytest.mark.parametrize("name", ["argmax", "argmin"])
def test_the_first_of_equal_extremes_counts(name: str) -> None:
    a = np.array([[1, 3, 3], [0, 0, 2]])
    for axis in (None, 0, 1):
        got = getattr(ht, name)(ht.asarray(a), axis=axis)
        np.testing.assert_array_equal(_np(got), getattr(np, name)(a, axis=axis))
    assert getattr(ht, name)(ht.asarray(a), keepdims=True).shape == (1, 1)


def test_small_integers_add_up_in_64_bits() -> None:
    assert ht.sum(ht.full((300,), 100, dtype=ht.int8)).tolist() == 30_000
    assert ht.sum(ht.ones(3, dtype=ht.uint8)).dtype == ht.uint64
    assert ht.cumulative_sum(ht.ones(3, dtype=ht.int16)).dtype == ht.int64
    assert ht.sum(ht.ones(3, dtype=ht.int8), dtype=ht.int8).dtype == ht.int8
    assert ht.sum(ht.ones(3, dtype=ht.float32)).dtype == ht.float32


def test_shapes_are_changed_as_numpy_does() -> None:
    a = np.arange(24).reshape(2, 3, 4)
    x = ht.asarray(a)
    for got, want in (
        (ht.flip(x), np.flip(a)), (ht.flip(x, axis=(0, -1)), np.flip(a, (0, -1))),
        (ht.moveaxis(x, 0, 2), np.moveaxis(a, 0, 2)),
        (ht.moveaxis(x, (0, 1), (-1, 0)), np.moveaxis(a, (0, 1), (-1, 0))),
        (ht.roll(x, 5), np.roll(a, 5)), (ht.roll(x, (1, -2), axis=(0, 2)), np.roll(a, (1, -2), (0, 2))),
        (ht.repeat(x, 2), np.repeat(a, 2)), (ht.repeat(x, 3, axis=1), np.repeat(a, 3, 1)),
        (ht.repeat(x, ht.asarray([2, 0, 1]), axis=1), np.repeat(a, [2, 0, 1], 1)),
        (ht.tile(x, (2, 1, 1, 3)), np.tile(a, (2, 1, 1, 3))), (ht.tile(x, (2,)), np.tile(a, (2,))),
        (ht.concat([x, x], axis=None), np.concatenate([a, a], None)), (ht.stack([x, x], axis=-1), np.stack([a, a], -1)),
        (ht.squeeze(ht.expand_dims(x, -2), -2), a), (ht.permute_dims(x, (-1, 0, 1)), a.transpose(2, 0, 1)),
        (ht.diff(x, n=2), np.diff(a, n=2)), (ht.diff(x, axis=0, prepend=x), np.diff(a, axis=0, prepend=a)),
        (ht.tril(x, k=1), np.tril(a, 1)), (ht.triu(x, k=-1), np.triu(a, -1)),
        (ht.take(x, ht.asarray([1, -1]), axis=2), a[..., [1, -1]]),
        (ht.searchsorted(ht.asarray([1, 3, 5]), x, side="right"), np.searchsorted([1, 3, 5], a, "right")),
        (ht.tensordot(x, x, axes=((0, 2), (0, 2))), np.tensordot(a, a, ((0, 2), (0, 2)))),
        (ht.vecdot(x, x), (a * a).sum(-1)), (ht.clip(x, 3, 7), np.clip(a, 3, 7)),
    ):  # fmt: skip
        np.testing.assert_array_equal(_np(got), want, strict=True)
    assert [u.tolist() for u in ht.unstack(x, axis=1)] == [a[:, i].tolist() for i in range(3)]
    for got, want in zip(ht.meshgrid(x[0, 0], x[0, :, 0]), np.meshgrid(a[0, 0], a[0, :, 0]), strict=True):
        np.testing.assert_array_equal(_np(got), want)


def test_linear_algebra_agrees_with_numpy() -> None:
    rng = np.random.default_rng(0)
    a = rng.normal(size=(2, 4, 4))
    s = a @ a.swapaxes(-1, -2) + np.eye(4)
    b = rng.normal(size=(2, 4, 3))
    x, y, z = ht.asarray(a), ht.asarray(s), ht.asarray(b)
    la, na = ht.linalg, np.linalg
    for got, want in (
        (la.cholesky(y), na.cholesky(s)), (la.cholesky(y, upper=True), na.cholesky(s).swapaxes(-1, -2)),
        (la.det(x), na.det(a)), (la.inv(x), na.inv(a)), (la.solve(x, z), na.solve(a, b)),
        (la.solve(x, z[0, :, 0]), na.solve(a, b[:1, :, :1])[..., 0]), (la.eigvalsh(y), na.eigvalsh(s)),
        (la.svdvals(z), na.svd(b, compute_uv=False)), (la.pinv(z), na.pinv(b)), (la.slogdet(x)[1], na.slogdet(a)[1]),
        (la.matrix_power(x, 5), na.matrix_power(a, 5)), (la.matrix_power(x, -2), na.matrix_power(a, -2)),
        (la.matrix_power(x, 0), na.matrix_power(a, 0)), (la.matrix_rank(z), na.matrix_rank(b)),
        (la.trace(x), np.trace(a, axis1=-2, axis2=-1)), (la.diagonal(z, offset=-1), np.diagonal(b, -1, -2, -1)),
        (la.cross(z[0], z[1]), np.cross(b[0], b[1])), (la.outer(z[0, 0], z[0, 1]), np.outer(b[0, 0], b[0, 1])),
    ):  # fmt: skip
        np.testing.assert_allclose(_np(got), want, rtol=1e-9, atol=1e-9)
    values, vectors = la.eigh(y)
    np.testing.assert_allclose(_np(y @ vectors), _np(vectors * ht.expand_dims(values, -2)), atol=1e-9)
    u, sv, vh = la.svd(z, full_matrices=False)
    np.testing.assert_allclose(_np(u * ht.expand_dims(sv, -2) @ vh), b, atol=1e-9)
    q, r = la.qr(z, mode="complete")
    np.testing.assert_allclose(_np(q @ r), b, atol=1e-9)
    for order in ("fro", "nuc", 1, -1, 2, -2, math.inf, -math.inf):
        want = np.stack([na.norm(m, order) for m in a])
        np.testing.assert_allclose(_np(la.matrix_norm(x, ord=order)), want)
    for order in (0, 1, 2, 3, -1, 0.5, math.inf, -math.inf):
        np.testing.assert_allclose(_np(la.vector_norm(z, axis=1, ord=order)), na.norm(b, order, axis=1))


def test_a_matrix_without_an_answer_is_a_singular_error() -> None:
    with pytest.raises(ht.SingularError, match="inv"):
        ht.linalg.inv(ht.zeros((2, 2)))
    with pytest.raises(ShapeError, match=r"\(\.\.\., n, n\), got \(2, 3\)"):
        ht.linalg.det(ht.zeros((2, 3)))


@pytest.mark.parametrize("norm", ["backward", "ortho", "forward"])
@pytest.mark.parametrize("n", [None, 5, 8])
def test_transforms_agree_with_numpy(norm: Any, n: int | None) -> None:
    a = np.random.default_rng(0).normal(size=(3, 6))
    x, c = ht.asarray(a), ht.asarray(a + 1j * a[::-1])
    for name, tensor in (
        ("fft", c), ("ifft", c), ("rfft", x), ("irfft", c), ("hfft", c), ("ihfft", x), ("fft", x),
    ):  # fmt: skip
        got = getattr(ht.fft, name)(tensor, n=n, axis=1, norm=norm)
        np.testing.assert_allclose(_np(got), getattr(np.fft, name)(_np(tensor), n, 1, norm), atol=1e-12)
    s = None if n is None else (4, n)
    for name, tensor in (("fftn", c), ("ifftn", c), ("rfftn", x), ("irfftn", c)):
        got = getattr(ht.fft, name)(tensor, s=s, axes=(0, 1), norm=norm)
        np.testing.assert_allclose(_np(got), getattr(np.fft, name)(_np(tensor), s, (0, 1), norm), atol=1e-12)


def test_transforms_keep_single_precision() -> None:
    x = ht.ones(8, dtype=ht.float32)
    assert ht.fft.rfft(x).dtype == ht.complex64
    assert ht.fft.irfft(ht.fft.rfft(x)).dtype == ht.float32
    assert ht.fft.fftfreq(4, d=0.5).tolist() == np.fft.fftfreq(4, 0.5).tolist()
    assert ht.fft.ifftshift(ht.fft.fftshift(ht.arange(5))).tolist() == list(range(5))


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda: ht.sum(ht.ones(3), axis=1), AxisError, "axis 1 is not in a tensor of 1"),
        (lambda: ht.permute_dims(ht.ones((2, 3)), (0,)), AxisError, "each of the 2 axes"),
        (lambda: ht.squeeze(ht.ones((2, 3)), 0), ShapeError, "has size 2, not 1"),
        (lambda: ht.stack([ht.ones(2), ht.ones(3)]), ShapeError, "one shape"),
        (lambda: ht.max(ht.ones((0, 3))), ShapeError, "no elements"),
        (lambda: ht.where(ht.ones(3), 1, 2), DTypeError, "bool condition"),
        (lambda: ht.logical_not(ht.ones(1)), DTypeError, "wants bool"),
        (lambda: ht.add(1, 2), DTypeError, "asarray"),
        (lambda: ht.zeros((-1,)), ShapeError, "0 or more"),
        (lambda: ht.zeros((1.5,)), ShapeError, "tuple of ints"),  # pyright: ignore[reportArgumentType]
        (lambda: ht.ones(2, dtype="float99"), DTypeError, "no dtype is called 'float99'"),
        (lambda: ht.fft.fft(ht.arange(3)), DTypeError, "float or complex"),
        (lambda: ht.clip(ht.arange(3), 0.5), DTypeError, "whole bounds"),
        (lambda: ht.arange(0, 3, 0), AttributeValueError, "not 0"),
    ],
)
def test_what_does_not_fit_is_said(call: Any, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        call()


def test_ints_become_floats_where_a_function_needs_them() -> None:
    assert ht.exp(ht.asarray([0], dtype=ht.int8)).dtype == ht.float64
    assert ht.divide(ht.asarray([1], dtype=ht.int8), 2).dtype == ht.float64
    assert ht.floor(ht.asarray([1], dtype=ht.int8)).dtype == ht.int8
    assert ht.abs(ht.asarray([3 + 4j], dtype=ht.complex64)).dtype == ht.float32
    assert ht.real(ht.ones(2)).dtype == ht.float64
    assert ht.conj(ht.ones(2)).tolist() == [1, 1]
