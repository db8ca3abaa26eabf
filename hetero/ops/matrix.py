"""Ops that factor, solve or cut matrices: the last two axes are one matrix, axes in front are a batch.

Factorisations are LAPACK's, through NumPy. A matrix with no answer is a SingularError.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from hetero import dtype as dt
from hetero.dim import Shape, Size, broadcast, show
from hetero.errors import AttributeValueError, ShapeError, SingularError
from hetero.op import Arg, Array, Attrs, Cost, Emit, Op, Sample, TensorType, Types, Value, define
from hetero.ops.elementwise import check_kinds, check_wide

_SQUARE = (Sample((Arg((1, 1), 1, 2),)), Sample((Arg((3, 3)),)), Sample((Arg((2, 5, 5)),)), Sample((Arg((0, 3, 3)),)))


def check_matrix(name: str, x: TensorType, *, square: bool = False, kinds: str = "fc") -> tuple[Shape, Size, Size]:
    """(batch, m, n) of a stack of matrices, or an error; LAPACK has no floats of 16 bits."""
    check_kinds(name, kinds, (x,))
    if kinds == "fc":
        check_wide(name, (x,))
    shape = x.known
    if len(shape) < 2 or (square and shape[-1] != shape[-2]):
        raise ShapeError(f"{name} wants {'(..., n, n)' if square else '(..., m, n)'}, got {show(shape)}")
    return shape[:-2], shape[-2], shape[-1]


def _cubic(types: Types, outs: Types, attrs: Attrs) -> Cost:
    """About n^3 a matrix; the constant differs by method."""
    n = min(int(types[0].known[-1]), int(types[0].known[-2]))
    size = int(types[0].size)
    return Cost(flop=size * n, read=sum(int(t.size) for t in types), write=sum(int(t.size) for t in outs))


def _move_cost(types: Types, outs: Types, attrs: Attrs) -> Cost:
    n = int(outs[0].size)
    return Cost(flop=0, read=n, write=n)


def _solved(name: str, call: Callable[..., Any], *arrays: Array, **options: Any) -> Any:
    """`call`, with NumPy's LinAlgError made ours."""
    try:
        return call(*arrays, **options)
    except np.linalg.LinAlgError as e:
        raise SingularError(f"{name}: {e}", hint="no answer for one of the matrices; check their rank") from None


def _matrix_op(
    name: str,
    infer: Callable[..., Any],
    reference: Callable[..., Any],
    samples: tuple[Sample, ...],
    *,
    dtypes: str = "f",
    **attrs: Any,
) -> Op:
    return define(
        Op(
            name=name, kind="compute", infer=infer, reference=reference, cost=_cubic, dtypes=dtypes, attrs=attrs,
            samples=samples,
        )
    )  # fmt: skip


# -- square matrices ------------------------------------------------------------------------------------------------


def _cholesky_infer(x: TensorType, *, upper: bool) -> TensorType:
    """(..., n, n) -> (..., n, n)"""
    check_matrix("cholesky", x, square=True)
    return x


def _cholesky(x: Array, *, upper: bool) -> Array:
    """The lower factor l with l @ l^H = x; the upper one is l^H. Only the lower triangle of x is read."""
    factor = _solved("cholesky", np.linalg.cholesky, x)
    return np.conj(np.swapaxes(factor, -1, -2)) if upper else factor


def _det_infer(x: TensorType) -> TensorType:
    """(..., n, n) -> (...)"""
    batch, _, _ = check_matrix("det", x, square=True)
    return x.with_shape(batch)


def _det(x: Array) -> Array:
    return np.asarray(np.linalg.det(x)).astype(x.dtype, copy=False)


def _inv_infer(x: TensorType) -> TensorType:
    """(..., n, n) -> (..., n, n)"""
    check_matrix("inv", x, square=True)
    return x


def _inv(x: Array) -> Array:
    return _solved("inv", np.linalg.inv, x)


def _slogdet_infer(x: TensorType) -> Types:
    """(..., n, n) -> sign (...), log of |det| (...)"""
    batch, _, _ = check_matrix("slogdet", x, square=True)
    return x.with_shape(batch), TensorType(batch, dt.real_of(x.dtype))


def _slogdet(x: Array) -> tuple[Array, Array]:
    sign, logdet = np.linalg.slogdet(x)
    return np.asarray(sign), np.asarray(logdet)


def _eigh_infer(x: TensorType) -> Types:
    """symmetric (..., n, n) -> ascending eigenvalues (..., n), eigenvectors in columns (..., n, n)"""
    batch, n, _ = check_matrix("eigh", x, square=True)
    return TensorType((*batch, n), dt.real_of(x.dtype)), x


def _eigh(x: Array) -> tuple[Array, Array]:
    values, vectors = _solved("eigh", np.linalg.eigh, x)
    return values, vectors


def _eigvalsh_infer(x: TensorType) -> TensorType:
    """symmetric (..., n, n) -> ascending eigenvalues (..., n)"""
    batch, n, _ = check_matrix("eigvalsh", x, square=True)
    return TensorType((*batch, n), dt.real_of(x.dtype))


def _eigvalsh(x: Array) -> Array:
    return _solved("eigvalsh", np.linalg.eigvalsh, x)


def _solve_infer(a: TensorType, b: TensorType) -> TensorType:
    """(..., n, n), (..., n, k) -> (..., n, k); leading axes broadcast"""
    batch, n, _ = check_matrix("solve", a, square=True)
    right, rows, k = check_matrix("solve", b)
    if rows != n:
        raise ShapeError(f"solve wants (..., n, n) and (..., n, k), got {show(a.known)} and {show(b.known)}")
    return b.with_shape((*broadcast(batch, right), n, k))


def _solve(a: Array, b: Array) -> Array:
    """Of equal rank: NumPy before 2.0 takes a `b` of one dimension less for vectors."""
    return _solved("solve", np.linalg.solve, a, b.reshape((1,) * (a.ndim - b.ndim) + b.shape))


# samples of `cholesky` and the like need no positive definite input: (1, 1) in [1, 2), and empty batches
_matrix_op("cholesky", _cholesky_infer, _cholesky, (_SQUARE[0], _SQUARE[3]), upper=False)
_matrix_op("det", _det_infer, _det, _SQUARE)
_matrix_op("inv", _inv_infer, _inv, _SQUARE)
_matrix_op("slogdet", _slogdet_infer, _slogdet, _SQUARE)
_matrix_op("eigh", _eigh_infer, _eigh, (_SQUARE[0], _SQUARE[3]))
_matrix_op("eigvalsh", _eigvalsh_infer, _eigvalsh, (_SQUARE[0], _SQUARE[3]))
define(
    Op(
        name="solve", kind="compute", infer=_solve_infer, reference=_solve, cost=_cubic, dtypes="f", arithmetic="same",
        samples=(Sample((Arg((3, 3)), Arg((3, 2)))), Sample((Arg((2, 5, 5)), Arg((5, 1))))),
    )
)  # fmt: skip

# -- any matrix -------------------------------------------------------------------------------------------------------


def _qr_infer(x: TensorType, *, mode: str) -> Types:
    """(..., m, n) -> q (..., m, k), r (..., k, n) with k = min(m, n), or m when complete"""
    batch, m, n = check_matrix("qr", x)
    if mode not in ("reduced", "complete"):
        raise AttributeValueError(f"qr has no mode {mode!r}", hint="reduced or complete")
    k = m if mode == "complete" else min(m, n)
    return x.with_shape((*batch, m, k)), x.with_shape((*batch, k, n))


def _qr(x: Array, *, mode: str) -> tuple[Array, Array]:
    q, r = np.linalg.qr(x, "complete" if mode == "complete" else "reduced")
    return q, r


def _svd_infer(x: TensorType, *, full: bool) -> Types:
    """(..., m, n) -> u (..., m, k), descending s (..., k), v^H (..., k, n), k = min(m, n); u, v^H square when full"""
    batch, m, n = check_matrix("svd", x)
    k = min(m, n)
    return (
        x.with_shape((*batch, m, m if full else k)),
        TensorType((*batch, k), dt.real_of(x.dtype)),
        x.with_shape((*batch, n if full else k, n)),
    )


def _svd(x: Array, *, full: bool) -> tuple[Array, Array, Array]:
    u, s, vh = _solved("svd", np.linalg.svd, x, full_matrices=full)
    return u, s, vh


def _svdvals_infer(x: TensorType) -> TensorType:
    """(..., m, n) -> descending (..., min(m, n))"""
    batch, m, n = check_matrix("svdvals", x)
    return TensorType((*batch, min(m, n)), dt.real_of(x.dtype))


def _svdvals(x: Array) -> Array:
    return _solved("svdvals", np.linalg.svd, x, compute_uv=False)


def _pinv_infer(x: TensorType, rtol: TensorType) -> TensorType:
    """(..., m, n), relative cut-off (...) -> (..., n, m)"""
    batch, m, n = check_matrix("pinv", x)
    check_kinds("pinv", "f", (rtol,))
    if broadcast(batch, rtol.known) != batch:
        raise ShapeError(f"pinv wants a cut-off that broadcasts to {show(batch)}, got {show(rtol.known)}")
    return x.with_shape((*batch, n, m))


def _pinv(x: Array, rtol: Array) -> Array:
    return _solved("pinv", np.linalg.pinv, x, rtol)


_ANY = (Sample((Arg((1, 1), 1, 2),)), Sample((Arg((0, 3, 2)),)))  # others are unique up to sign only
_matrix_op("qr", _qr_infer, _qr, _ANY, mode="reduced")
_matrix_op("svd", _svd_infer, _svd, _ANY, full=True)
_matrix_op("svdvals", _svdvals_infer, _svdvals, (*_ANY, Sample((Arg((3, 5)),)), Sample((Arg((2, 5, 3)),))))
_matrix_op("pinv", _pinv_infer, _pinv, (Sample((Arg((3, 5)), Arg((), 1e-6, 1e-6))),))

# -- parts of matrices ------------------------------------------------------------------------------------------------


def _diagonal_length(m: Size, n: Size, offset: int) -> int:
    rows, columns = int(m) - max(-offset, 0), int(n) - max(offset, 0)
    return max(min(rows, columns), 0)


def _diagonal_infer(x: TensorType, *, offset: int) -> TensorType:
    """(..., m, n) -> (..., length of diagonal `offset`)"""
    batch, m, n = check_matrix("diagonal", x, kinds="biufc")
    return x.with_shape((*batch, _diagonal_length(m, n, offset)))


def _diagonal(x: Array, *, offset: int) -> Array:
    return np.diagonal(x, offset, -2, -1)


def _diagonal_decompose(emit: Emit, x: Value, *, offset: int) -> Value:
    """every (n + 1)th element of the matrix in a row"""
    *batch, m, n = x.type.known
    length = _diagonal_length(m, n, offset)
    first = max(offset, 0) + max(-offset, 0) * int(n)
    first = first if length else 0
    flat = emit("reshape", x, shape=(*batch, m * n))
    zeros, ones = (0,) * len(batch), (1,) * len(batch)
    stop = first + (length - 1) * (int(n) + 1) + 1 if length else 0
    return emit("slice", flat, starts=(*zeros, first), stops=(*batch, stop), steps=(*ones, int(n) + 1))


diagonal = define(
    Op(
        name="diagonal", kind="movement", infer=_diagonal_infer, reference=_diagonal, cost=_move_cost,
        attrs={"offset": 0}, decompose=_diagonal_decompose,
        samples=(
            Sample((Arg((3, 5)),)),
            Sample((Arg((2, 5, 3)),), {"offset": 1}),
            Sample((Arg((4, 3)),), {"offset": -2}),
            Sample((Arg((4, 3)),), {"offset": 3}),
        ),
    )
)  # fmt: skip


def _triangle(name: str, keep: Callable[[int, int, int], Array], call: Callable[..., Any]) -> Op:
    def infer(x: TensorType, *, k: int) -> TensorType:
        """(..., m, n) -> (..., m, n)"""
        check_matrix(name, x, kinds="biufc")
        return x

    def reference(x: Array, *, k: int) -> Array:
        return call(x, k)

    def decompose(emit: Emit, x: Value, *, k: int) -> Value:
        """x where the diagonal allows, else 0"""
        mask = keep(int(x.type.known[-2]), int(x.type.known[-1]), k)
        return emit("where", mask, x, np.zeros((), x.type.dtype))

    return define(
        Op(
            name=name, kind="movement", infer=infer, reference=reference, cost=_move_cost, attrs={"k": 0},
            decompose=decompose,
            samples=(Sample((Arg((3, 5)),)), Sample((Arg((2, 5, 3)),), {"k": 1}), Sample((Arg((4, 4)),), {"k": -2})),
        )
    )  # fmt: skip


def _below(m: int, n: int, k: int) -> Array:
    return np.tri(m, n, k, dtype=np.bool_)


def _above(m: int, n: int, k: int) -> Array:
    return ~np.tri(m, n, k - 1, dtype=np.bool_)


tril = _triangle("tril", _below, np.tril)
triu = _triangle("triu", _above, np.triu)
