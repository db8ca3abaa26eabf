"""What synapses of a spiking loop add up, in whatever way NumPy and SciPy are quickest at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from hetero.op import Array
from hetero.spiking.synapses import Synapses, stored, wide

# (rows, sources) -> (rows, targets); with delays (rows, (depth + 1) * targets). A row is a step of a sample.
Sum = Callable[[Array], Array]

# Of one row, the share of sources that are not zero from which a product with all weights is quicker.
DENSE_ONE = 0.4
# Of many rows: nanoseconds to find the events of a matrix, and for each of its elements; products that a matrix product
# and the addition of rows do in a nanosecond. Measured on two cores for 784 to 512 elements, 64 and 6400 rows.
START_NS, ELEMENT_NS, PRODUCTS, ADDITIONS = 40_000.0, 1.2, 90.0, 7.5
# Of sparse weights and many rows: synapses of an average row from which rows are better added one by one, and the share
# of sources from which all weights are.
LONG, SPARSE_MANY = 100_000, 0.15


@cache
def _csr_array() -> Any:
    """SciPy's, imported when it is first wanted: that takes half a second, and few graphs have sparse synapses."""
    from scipy.sparse import csr_array

    return csr_array


def summing(synapses: Synapses, size: int) -> Sum:
    """What adds up the weights of the sources that are not zero."""
    if synapses.source is None:
        return _Dense(np.ascontiguousarray(synapses.weight.T))
    assert synapses.target is not None
    columns, width = synapses.target, size * (synapses.depth + 1)
    if synapses.delay is not None:
        columns = synapses.delay.astype(np.int64) * size + columns
    weight = synapses.weight.astype(wide(synapses.weight.dtype), copy=False)
    rows = _csr_array()((weight, (synapses.source, columns)), shape=(synapses.sources, width))
    rows.data = stored(rows.data)
    return _Rows(rows)


def events(x: Array, dtype: Any) -> Any:
    """The elements of x (rows, n) that are not zero; quicker than SciPy's own way."""
    found = x != 0
    counts = np.count_nonzero(found, axis=1)
    at = np.flatnonzero(found)
    column = (at - np.repeat(np.arange(len(x)) * x.shape[1], counts)).astype(np.int32)
    rows = np.concatenate((np.zeros(1, np.int32), np.cumsum(counts, dtype=np.int32)))
    return _csr_array()((x.reshape(-1)[at].astype(dtype, copy=False), column, rows), shape=x.shape)


class _Dense:
    """weight (sources, targets). Integers are added as floats, whose products BLAS knows, where those are exact."""

    def __init__(self, weight: Array) -> None:
        self._weight = weight
        self._most = float(np.abs(weight.astype(np.float64)).sum(0, initial=0).max(initial=0))
        self._as = cache(self._cast)

    def _cast(self, dtype: Any) -> Array:
        return self._weight.astype(dtype, copy=False)

    def _exact(self, x: Array) -> Any:
        """The dtype to add in, for these inputs: sums have no more bits than it."""
        if x.dtype.kind == "f":
            return x.dtype
        most = self._most * max(int(x.max(initial=0)), -int(x.min(initial=0)))
        return np.dtype(np.float32 if most < 1 << 24 else np.float64 if most < 1 << 53 else x.dtype)

    def __call__(self, x: Array) -> Array:
        made = self._one(x[0])[None] if len(x) == 1 else self._many(x)
        if made.dtype == np.float64 and x.dtype.kind == "i":
            made = made.astype(np.int64)  # what is too large wraps
        return made.astype(x.dtype, copy=False)

    def _one(self, x: Array) -> Array:
        (at,) = np.nonzero(x)
        some = x[at]
        dtype = self._exact(some)
        if len(at) > DENSE_ONE * len(x):
            return np.matmul(x.astype(dtype, copy=False), self._as(dtype))
        return np.matmul(some.astype(dtype, copy=False), self._as(dtype)[at])

    def _many(self, x: Array) -> Array:
        dtype, targets = self._exact(x), self._weight.shape[1]
        product = x.size * targets / PRODUCTS
        finding = START_NS + ELEMENT_NS * x.size
        if product > finding and product > finding + np.count_nonzero(x) * targets / ADDITIONS:
            return np.asarray(events(x, dtype) @ self._as(dtype))
        return np.matmul(x.astype(dtype, copy=False), self._as(dtype))


@dataclass(frozen=True, slots=True, eq=False)
class _Rows:
    """Sparse weights, a row for each source."""

    rows: Any

    def __call__(self, x: Array) -> Array:
        if len(x) == 1:
            return self._one(x[0])[None].astype(x.dtype, copy=False)
        active = np.count_nonzero(x)
        if active > SPARSE_MANY * x.size:
            return np.ascontiguousarray((self.rows.T @ x.T).T).astype(x.dtype, copy=False)
        if active * self.rows.nnz > LONG * x.size:
            return np.stack([self._one(row) for row in x]).astype(x.dtype, copy=False)
        return np.asarray((events(x, x.dtype) @ self.rows).todense()).astype(x.dtype, copy=False)

    def _one(self, x: Array) -> Array:
        """The rows of the events, which SciPy copies end to end, then adds by target."""
        (at,) = np.nonzero(x)
        return self.rows[at].T @ x[at]
