"""Matrix products on a processor: rows of the left times strips of the right, with what follows done on the way.

Where it pays, the left is first put in the order in which it is read. So is a right side that is known, once.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np

import hetero_kernels as kernels
from hetero.dim import concrete
from hetero.op import Array, TensorType
from hetero_launch import panels
from hetero_launch.follow import Then, nothing
from hetero_launch.plan import Plan, Storage, batch_strides, index_type, names_of, scalars, table

WORTH_BYTES = 1 << 22  # of a left side that is worth the way into panels: what a core keeps no longer
MANY = 4  # strips for which it is worth that


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
    held = TensorType((*batch, number * cut.rows, k), type.dtype)
    elements = prod(concrete(held.known))
    to = plan.storage(elements * held.dtype.itemsize)
    index, kind = index_type(elements)
    names = names_of(held.dtype.name) | {"INDEX": index, "W": cut.lanes, "ROWS": cut.rows}
    plan.launch(
        kernels.source("matmul_rows", names), "hetero_matmul_rows",
        (-(-k // cut.lanes), number, prod(batch)), (4, 1, 1), reads=(storage,), writes=(to,),
        numbers=scalars([m, k], kind),
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
    some = panels.of_a_part(plan, number, strips * prod(batch), cut.most)
    pieces = strips * -(-number // some) * prod(batch)
    index, kind = index_type(shift + max(prod(concrete(t.known)) for t in (a.type, b.type, out)))
    defines = cut.names(out.dtype.name, then.region.dtype(then.region.outputs[0]), index) | {
        "RANK": max(len(batch), 1), "BESIDE": int(a.beside), "READY": int(b.beside),
    }  # fmt: skip
    strides = [batch_strides(concrete(side.type.known), len(batch)) or [0] for side in (a, b)]
    strip = (k if b.beside else 1) * cut.strip
    panels.launch(
        plan, kernels.followed("matmul_panels", defines, then.region), "hetero_matmul_panels", pieces,
        reads=(a.storage, b.storage, *then.sources), writes=to,
        numbers=[*scalars([shift, m, n, k, some, strip, pieces], kind), table(kind, batch or [1], *strides)],
    )  # fmt: skip
