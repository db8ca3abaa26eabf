"""Lowering of Einsum: pairs of operands as batched matrix products, the rest by moving and summing axes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from hetero import dtype as dt
from hetero.convert.onnx_call import Call, lowers
from hetero.dim import Size, prod
from hetero.graph.build import Ref


@lowers("Einsum")
def _einsum(n: Call, *xs: Ref, equation: str) -> Ref:
    """`matmul` of one pair after the other"""
    n.only(dt.kind(xs[0].type.dtype) in "iuf", "this dtype is not covered")
    left, right = _terms(n, equation, [x.type.rank for x in xs])
    operands = [_diagonals(n, x, term) for x, term in zip(xs, left, strict=True)]
    sizes: dict[str, Size] = {}
    for x, term in operands:
        for label, size in zip(term, x.type.known, strict=True):
            if sizes.get(label, 1) == 1:
                sizes[label] = size
            n.only(size in (1, sizes[label]), f"{label!r} has sizes {sizes[label]} and {size}")
    x, term = operands[0]
    for i, (other, labels) in enumerate(operands[1:], 2):
        later = set(right).union(*(t for _, t in operands[i:]))
        x, term = _contract(n, x, term, other, labels, later, sizes)
    return _arranged(n, x, term, right)


def _terms(n: Call, equation: str, ranks: Sequence[int]) -> tuple[list[str], str]:
    """The labels of each operand and of the result; the axes of an ellipsis are digits, counted from the right."""
    left, arrow, right = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    n.only(len(terms) == len(ranks), f"{equation!r} has {len(terms)} terms for {len(ranks)} inputs")
    letters = left.replace("...", "").replace(",", "") + right.replace("...", "")
    n.only(not letters or (letters.isascii() and letters.isalpha()), f"{equation!r} is no equation")
    spans = [rank - len(t.replace("...", "")) if "..." in t else 0 for t, rank in zip(terms, ranks, strict=True)]
    n.only(0 <= min(spans) and max(spans) < 10, f"{equation!r} does not fit inputs of {tuple(ranks)} dimensions")
    full = [t.replace("...", _digits(span)) for t, span in zip(terms, spans, strict=True)]
    n.only(all(len(t) == rank for t, rank in zip(full, ranks, strict=True)),
           f"{equation!r} does not fit inputs of {tuple(ranks)} dimensions")  # fmt: skip
    if not arrow:
        once = Counter(c for t in terms for c in t if c.isalpha())
        right = ("..." if "..." in left else "") + "".join(sorted(c for c, k in once.items() if k == 1))
    result = right.replace("...", _digits(max(spans)))
    known = set("".join(full))
    n.only(
        set(result) <= known and len(set(result)) == len(result), f"the result of {equation!r} is not made of its terms"
    )
    return full, result


def _digits(count: int) -> str:
    return "".join(str(i) for i in reversed(range(count)))


def _diagonals(n: Call, x: Ref, term: str) -> tuple[Ref, str]:
    """`ii` -> `i`: the diagonal is every (size + 1)-th of the two axes flattened into one."""
    for label in dict.fromkeys(term):
        while term.count(label) > 1:
            a = term.index(label)
            b = term.index(label, a + 1)
            shape = n.shape(x)
            n.only(shape[a] == shape[b], f"{label!r} has sizes {shape[a]} and {shape[b]}")
            size = shape[a]
            rest = [i for i in range(len(shape)) if i not in (a, b)]
            flat = n.reshape(n.permute(x, *rest, a, b), *(shape[i] for i in rest), size * size)
            x = (
                n.cut(flat, len(rest), 0, size * size, size + 1)
                if size
                else n.reshape(flat, *(shape[i] for i in rest), 0)
            )
            term = "".join(term[i] for i in rest) + label
    return x, term


def _contract(
    n: Call, a: Ref, left: str, b: Ref, right: str, later: set[str], sizes: dict[str, Size]
) -> tuple[Ref, str]:
    """One product: labels of both that are needed later are a batch, those that are not are summed over."""
    a, left = _summed(n, a, left, set(right) | later)
    b, right = _summed(n, b, right, set(left) | later)
    batch = [c for c in left if c in right and c in later]
    inner = [c for c in left if c in right and c not in later]
    mine, others = [c for c in left if c not in right], [c for c in right if c not in left]
    for label in (*batch, *inner):
        a, b = (_stretched(n, x, term, label, sizes) for x, term in ((a, left), (b, right)))
    rows = _flat(n, a, left, batch, mine, inner, sizes)
    columns = _flat(n, b, right, batch, inner, others, sizes)
    out = n.emit("matmul", rows, columns)
    term = "".join((*batch, *mine, *others))
    return n.reshape(out, *(sizes[c] for c in term)), term


def _stretched(n: Call, x: Ref, term: str, label: str, sizes: dict[str, Size]) -> Ref:
    at = term.index(label)
    shape = x.type.known
    if shape[at] == sizes[label]:
        return x
    return n.emit("broadcast_to", x, shape=(*shape[:at], sizes[label], *shape[at + 1 :]))


def _flat(
    n: Call, x: Ref, term: str, batch: list[str], rows: list[str], columns: list[str], sizes: dict[str, Size]
) -> Ref:
    """(batch..., product of rows, product of columns)"""
    moved = n.permute(x, *(term.index(c) for c in (*batch, *rows, *columns)))
    shape = [tuple(sizes[c] for c in group) for group in (batch, rows, columns)]
    return n.reshape(moved, *shape[0], prod(shape[1]), prod(shape[2]))


def _summed(n: Call, x: Ref, term: str, kept: set[str]) -> tuple[Ref, str]:
    drop = tuple(i for i, c in enumerate(term) if c not in kept)
    if not drop:
        return x, term
    return n.emit("sum", x, axes=drop, keepdims=False), "".join(c for c in term if c in kept)


def _arranged(n: Call, x: Ref, term: str, wanted: str) -> Ref:
    x, term = _summed(n, x, term, set(wanted))
    return n.permute(x, *(term.index(c) for c in wanted))
