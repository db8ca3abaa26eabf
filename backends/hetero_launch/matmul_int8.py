"""Products of bytes with sums in 32 bits: by a kernel; or, where the array library of the driver multiplies floats and
every sum is below 2^24, as one of its products, which is exact there too and quicker on processors."""

from __future__ import annotations

from math import prod

import hetero_kernels as kernels
from hetero import dtype as dt
from hetero.dim import concrete
from hetero.graph.build import Builder
from hetero.graph.ir import Node
from hetero.ops.quantize_products import parts
from hetero_kernels.templates import STORED
from hetero_launch import matmul, regions
from hetero_launch.movement import fill
from hetero_launch.plan import Plan, Storage, batch_strides, index_type, scalars, table

ROWS = 4  # of one item: so often a vector of b is used


def lower(plan: Plan, node: Node) -> None:
    a = plan.graph.in_types(node)[0]
    (out,) = plan.graph.out_types(node)
    to = plan.output(node.outputs[0])
    if out.size == 0:
        return
    if a.size == 0:  # a sum of nothing
        return fill(plan, to, 0, out)
    (k,) = concrete((a.known[-1],))
    by_floats = "float32" in plan.style.blas and parts(k, 1, node.attrs["term"], node.attrs["total"]) == 1
    (_by_floats if by_floats else _by_kernel)(plan, node, to)


def _by_kernel(plan: Plan, node: Node, to: Storage) -> None:
    a, b, *_ = plan.graph.in_types(node)
    (out,) = plan.graph.out_types(node)
    *batch, m, n = concrete(out.known)
    (k,) = concrete((a.known[-1],))
    index, kind = index_type(max(prod(concrete(t.known)) for t in (a, b, out)))
    lanes = plan.style.lanes(4)
    left, right = (STORED[t.dtype.name][0] for t in (a, b))
    names = {"OF_A": left, "OF_B": right, "ROWS": ROWS, "RANK": max(len(batch), 1), "INDEX": index, "W": lanes}
    text = kernels.source("matmul_int8", names)
    axes = table(kind, batch or [1], *(batch_strides(concrete(t.known), len(batch)) or [0] for t in (a, b)))
    plan.launch(
        text, "hetero_matmul_int8", (-(-n // lanes), -(-m // ROWS), prod(batch)), (8, 1, 1),
        reads=[plan.input(i) for i in node.inputs], writes=(to,), numbers=[*scalars([m, n, k], kind), axes],
    )  # fmt: skip


def _by_floats(plan: Plan, node: Node, to: Storage) -> None:
    a, b, *_ = plan.graph.in_types(node)
    (out,) = plan.graph.out_types(node)
    wide = [t.with_dtype(dt.float32) for t in (a, b, out)]
    left, right = (_centred(plan, node, k) for k in (0, 1))
    made = plan.storage(wide[2].nbytes)
    matmul.product(plan, (left, wide[0]), (right, wide[1]), (made, wide[2]))
    body = Builder(track=False)
    whole = body("cast", body.input("y", wide[2]), dtype="int32")
    regions.lower_region(plan, body.build([whole]), False, concrete(out.known), [made], [concrete(out.known)], [to])


def _centred(plan: Plan, node: Node, k: int) -> Storage:
    """Operand k less its zero point, in float32."""
    x, zero = plan.graph.in_types(node)[k], plan.graph.in_types(node)[k + 2]
    shape = concrete(x.known)
    to = plan.storage(x.with_dtype(dt.float32).nbytes)
    body = Builder(track=False)
    each = (body("cast", body.input(n, t), dtype="float32") for n, t in (("x", x), ("zero", zero)))
    made = body.build([body("subtract", *each)])
    given = [plan.input(node.inputs[k]), plan.input(node.inputs[k + 2])]
    regions.lower_region(plan, made, False, shape, given, [shape, ()], [to])
    return to
