"""Matrix products on a processor: rows of the left times strips of the right, with what follows done on the way.

Where it pays, both sides are first put in the order in which they are read; a right side that is known only once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

import hetero_kernels as kernels
from hetero.dim import concrete
from hetero.op import Array, TensorType
from hetero_launch import panels
from hetero_launch.follow import Then, nothing
from hetero_launch.plan import Plan, Size, Storage, batch_strides, index_type, names_of, scalars, table

WORTH_BYTES = 1 << 22  # of an operand that is worth the way into panels or strips: what a core keeps no longer
MANY = 4  # strips or panels for which it is worth that
RUN = 16  # lines that an item moves


def suits(plan: Plan, a: TensorType, out: TensorType) -> bool:
    """Whether a processor multiplies floats by vectors of its full width; by shorter ones BLAS is quicker."""
    full = plan.style.run > 1 and plan.style.lanes(out.dtype.itemsize) * out.dtype.itemsize == plan.style.vector_bytes
    return out.dtype.name in panels.FLOATS and full and a.size != 0 and out.size != 0


@dataclass(frozen=True, slots=True)
class Side:
    """An operand as it lies; `beside`: the left in panels, the right in strips, both as wide as is filled up."""

    storage: Storage
    type: TensorType
    beside: bool = False


def left(plan: Plan, storage: Storage, type: TensorType, columns: int) -> Side:
    """(..., m, k), in panels where it is large, and each is used for many columns"""
    *batch, m, k = concrete(type.known)
    cut = panels.cut(plan, type.dtype.itemsize, m)
    if columns < MANY * cut.strip or m * k * type.dtype.itemsize < WORTH_BYTES:
        return Side(storage, type)
    number = -(-m // cut.rows)
    return _moved(
        plan, storage, TensorType((*batch, number * cut.rows, k), type.dtype), "matmul_rows",
        {"W": cut.lanes, "ROWS": cut.rows}, (-(-k // cut.lanes), number, prod(batch)), [m, k],
    )  # fmt: skip


def right(plan: Plan, storage: Storage, type: TensorType, rows: int) -> Side:
    """(..., k, n), in strips where it is large, and each is used for many rows"""
    *batch, k, n = concrete(type.known)
    cut = panels.cut(plan, type.dtype.itemsize)
    if rows < MANY * cut.rows or k * n * type.dtype.itemsize < WORTH_BYTES:
        return Side(storage, type)
    strips = -(-n // cut.strip)
    return _moved(
        plan, storage, TensorType((*batch, k, strips * cut.strip), type.dtype), "matmul_strips",
        {"W": cut.lanes, "STRIP": cut.strip, "RUN": RUN}, (strips, -(-k // RUN), prod(batch)), [k, n],
    )  # fmt: skip


def _moved(
    plan: Plan,
    storage: Storage,
    held: TensorType,
    kernel: str,
    names: Mapping[str, str | int],
    size: Size,
    sizes: Sequence[int],
) -> Side:
    elements = prod(concrete(held.known))
    to = plan.storage(elements * held.dtype.itemsize)
    index, kind = index_type(elements)
    plan.launch(
        kernels.source(kernel, {**names_of(held.dtype.name), "INDEX": index, **names}), f"hetero_{kernel}",
        size, (4, 1, 1), reads=(storage,), writes=(to,), numbers=scalars(sizes, kind),
    )  # fmt: skip
    return Side(to, held, True)


def known(plan: Plan, array: Array) -> Side:
    """(k, n), whose contents are known, in strips"""
    strip = panels.cut(plan, array.dtype.itemsize).strip
    held = TensorType((array.shape[0], -(-array.shape[1] // strip) * strip), array.dtype)
    return Side(plan.constant(strips_of(array, strip)), held, True)


def strips_of(array: Array, strip: int) -> Array:
    """(k, n) -> (strips, k, strip), zeros behind the last column"""
    k, n = array.shape
    padded = np.pad(array, ((0, 0), (0, -n % strip)))
    return np.ascontiguousarray(padded.reshape(k, -1, strip).swapaxes(0, 1))


def launch(
    plan: Plan, a: Side, b: Side, to: Storage, out: TensorType, then: Then | None = None, *, shift: int = 0
) -> None:
    """`out`: the product's type; what is stored begins `shift` elements behind the beginning of `to`."""
    then = then or nothing(out)
    *batch, m, n = concrete(out.known)
    (k,) = concrete(a.type.known[-1:])
    cut = panels.cut(plan, out.dtype.itemsize, m)
    strips, number = -(-n // cut.strip), -(-m // cut.rows)
    some = panels.parts(plan, number, strips * prod(batch))
    index, kind = index_type(shift + max(prod(concrete(t.known)) for t in (a.type, b.type, out)))
    defines = cut.names(out.dtype.name, then.region.dtype(then.region.outputs[0]), index) | {
        "RANK": max(len(batch), 1), "BESIDE": int(a.beside),
    }  # fmt: skip
    strides = [batch_strides(concrete(side.type.known), len(batch)) or [0] for side in (a, b)]
    steps = [cut.strip, k * cut.strip] if b.beside else [n, cut.strip]
    plan.launch(
        kernels.followed("matmul_panels", defines, then.region), "hetero_matmul_panels",
        (strips, -(-number // some), prod(batch)), (1, 1, 1),
        reads=(a.storage, b.storage, *then.sources), writes=(to,),
        numbers=[*scalars([shift, m, n, k, some, *steps], kind), table(kind, batch or [1], *strides)],
        exact=True,
    )  # fmt: skip
