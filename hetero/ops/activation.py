"""The activation of a quantised network as one step of a neuron in integers: no state, a value of a few bits.

Source: BrainChip's public documentation of Akida's layers, parameters `threshold` ("threshold for neurons to fire"),
`act_step` ("length of the potential quantization intervals") and `act_bits`; 1, 2 or 4 bits with 15 as the most, in the
CNN2SNN guide. What hands values on as they are has threshold 0 and step 1, so n counts intervals that have begun; that
one is not counted at its very beginning (x = threshold gives 0, as `threshold` with strict=True) is hetero's reading.
Hetero's own choices: a step is a whole number (Akida 1 documents a float; Akida 2 a scale and a shift), and one below 1
counts as 1. NorthPole's activation is not published in such detail; the same op stands for it.
"""

from __future__ import annotations

from hetero import dtype as dt
from hetero.dim import broadcast, show
from hetero.errors import AttributeValueError, DTypeError, ShapeError
from hetero.op import REQUIRED, Arg, Attrs, Cost, Op, Sample, TensorType, Types, define
from hetero.ops import formula
from hetero.ops.formula import Term, cast, where

MOST_BITS = 8


def _quantized_relu(x: Term, threshold: Term, step: Term, *, bits: int) -> Term:
    """y = min(max(ceil((x - threshold) / step), 0), 2^bits - 1)

    x potential (a sum of weights times activations), threshold and step (from 1) on its scale, y activation: int32, no
    units. With bits=1 and any step it is `threshold`, strict=True.
    """
    x, threshold, step = (cast(t, dt.int64) for t in (x, threshold, step))
    over = x - threshold
    step = where(step < 1, 1, step)
    begun = (over + (step - 1)) // step
    most = 2**bits - 1
    begun = where(begun > most, most, begun)
    return cast(where(over > 0, begun, 0), dt.int32)


def _infer(x: TensorType, threshold: TensorType, step: TensorType, *, bits: int) -> TensorType:
    """int32 (...), both broadcasting to (...) -> int32 (...)"""
    if type(bits) is not int or not 1 <= bits <= MOST_BITS:
        raise AttributeValueError(f"quantized_relu wants bits in 1 .. {MOST_BITS}, got {bits!r}")
    given = {"x": x, "threshold": threshold, "step": step}
    wrong = [f"{name} is {t.dtype.name}" for name, t in given.items() if t.dtype != dt.int32]
    if wrong:
        hint = "hetero.convert.activations.quantize_activations makes integers"
        raise DTypeError(f"quantized_relu wants int32, but {', '.join(wrong)}", hint=hint)
    for name, t in (("threshold", threshold), ("step", step)):
        if t.rank > x.rank or broadcast(x.known, t.known) != x.known:
            raise ShapeError(f"quantized_relu: {name} is {show(t.known)} beside x {show(x.known)}")
    return x


def _cost(types: Types, outs: Types, attrs: Attrs) -> Cost:
    n = int(outs[0].size)
    return Cost(8 * n, sum(int(t.size) for t in types), n)


def _arguments(shape: tuple[int, ...], parameters: tuple[int, ...], most: int) -> tuple[Arg, ...]:
    return (
        Arg(shape, -most, most, "int32"), Arg(parameters, -most // 4, most // 4, "int32"),
        Arg(parameters, 0, max(most // 9, 3), "int32"),
    )  # fmt: skip


quantized_relu = define(
    Op(
        name="quantized_relu", kind="compute", infer=_infer, reference=formula.reference(_quantized_relu),
        decompose=formula.decomposition(_quantized_relu), cost=_cost, dtypes="i", attrs={"bits": REQUIRED},
        samples=(
            Sample(_arguments((7,), (7,), 40), {"bits": 1}), Sample(_arguments((5, 301), (301,), 300), {"bits": 2}),
            Sample(_arguments((2, 3, 4, 5), (3, 1, 1), 2000), {"bits": 4}),
            Sample(_arguments((2, 333), (333,), 2**31 - 1), {"bits": 8}),
        ),
    )
)  # fmt: skip
