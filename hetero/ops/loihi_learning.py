"""A synapse that learns in Loihi's integers, one step: bit for bit what Lava 0.10's LearningDense does, t_epoch = 1.

    y  = (w x) 2^exponent                              with the weights of before this step
    t' = min(127, floor(k t) + up + [spike] impulse)   each trace t: x1, x2 of x; y1, y2, y3 of post; k = exp(-1 / tau)
    a  = clip(a + clip((m f_1 f_2 ...) >> s << e))     each product of `rule`, in order; a begins as w 2^7, has 16 bits
    w' = clip(floor(a / 2^7) + up)                     within what `sign` allows

x0 and y0 are whether x and post are not 0; products read the new traces and the old w. Lava rounds up at random (`up`),
the same way for all that has the same rest: `rounding` has what its random numbers decide in this step, made before the
run by `hetero.ops.loihi_rules.rounding_of`. `seed` only says of which seed it is.

Source: Davies et al., IEEE Micro 38 (2018), section "Learning"; Lava's "bit-approximate" model, whose behaviour was
read and is compared in the tests.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from typing import Any

import numpy as np

from hetero import dtype as dt
from hetero.dim import show
from hetero.errors import AttributeValueError, DTypeError, ShapeError
from hetero.op import REQUIRED, Arg, Array, Attrs, Cost, Emit, Op, Sample, TensorType, Types, Value, define
from hetero.ops import formula
from hetero.ops.formula import Symbol, Term, cast, where
from hetero.ops.loihi_rules import RANK_BITS, ROUNDING, TRACE_TOP, TRACES, Scaled, faded, scaled

STATES = ("weight", *TRACES)
SIGNS = {"mixed": (-256, 255), "excitatory": (0, 255), "inhibitory": (-255, 0)}  # the weights of each
MOST_SEED = 2**31 - 5  # Lava takes the three after it too
MOST_EXPONENT = 31

_NAMES = ("x", *STATES, "post", "rounding")
_FRACTION = 7  # bits of the accumulator below a weight's
_LOW, _HIGH = -(2**15) - 1, 2**15 - 1


# -- one step -------------------------------------------------------------------------------------------------


def _step(
    x: Term, weight: Term, x1: Term, x2: Term, y1: Term, y2: Term, y3: Term, post: Term, rounding: Term, *, rule: str,
    sign: str, exponent: int, seed: int, **times: float,
) -> tuple[Term, ...]:  # fmt: skip
    y = _shifted(_product(weight, x), exponent)
    spikes = {"x": _spiked(x), "y": _spiked(post)}
    value = {"x0": spikes["x"], "y0": spikes["y"]}
    for k, (name, trace) in enumerate(zip(TRACES, (x1, x2, y1, y2, y3), strict=True)):
        kept = _faded(trace, times[f"{name}_tau"], _number(rounding, k))
        impulse = _number(rounding, len(TRACES) + k)
        value[name] = _clipped(kept + spikes[name[0]] * impulse, 0, TRACE_TOP)
    learned = _learned(weight, value, scaled(rule), sign, _number(rounding, ROUNDING - 1))
    return y, learned, *(value[n] for n in TRACES)


def _faded(trace: Term, tau: float, threshold: Term) -> Term:
    both = _picked(faded(tau)[0], trace & TRACE_TOP)
    rank = both & (2**RANK_BITS - 1)
    return (both >> RANK_BITS) + cast(rank >= threshold, dt.int32)


def _learned(w: Term, value: dict[str, Term], rule: Sequence[Scaled], sign: str, threshold: Term) -> Term:
    total = w << _FRACTION
    for product in rule:
        total = _clipped(total + _clipped(_change(w, value, product), _LOW, _HIGH), _LOW, _HIGH)
    low, high = SIGNS[sign]
    total = where(total < 0, 0, total) if low == 0 else where(total > 0, 0, total) if high == 0 else total
    up = (total & (2**_FRACTION - 1)) > threshold
    return _clipped((total >> _FRACTION) + cast(up, dt.int32), low, high)


def _change(w: Term, value: dict[str, Term], product: Scaled) -> Term:
    """(m, n), or what broadcasts to it: the factors of each side first, they are fewer"""
    names = (product.gate, *product.factors)
    across = [_row(value[n]) for n in names if n[0] == "x"]
    down = [_column(value[n]) for n in names if n[0] == "y"]
    sides = [_all(side) for side in (across, down) if side]
    made = _all([*sides, *[w] * names.count("w")]) * product.mantissa
    return (made >> product.right) << product.left


def _all(factors: Sequence[Term]) -> Term:
    made = factors[0]
    for f in factors[1:]:
        made = made * f
    return made


def _clipped(a: Term, low: int, high: int) -> Term:
    a = where(a > high, high, a)
    return where(a < low, low, a)


def _shifted(a: Term, exponent: int) -> Term:
    return a << exponent if exponent > 0 else a >> -exponent if exponent else a


# -- arrays, or values of a graph -----------------------------------------------------------------------------


def _product(weight: Term, x: Term) -> Term:
    """(m, n), (n,) -> (m,)"""
    if not isinstance(weight, Symbol):
        return np.asarray(np.matmul(weight, x))
    m, n = weight.value.type.known
    return x.apply("reshape", shape=(1, n)).apply("matmul", weight.apply("permute", axes=(1, 0))).apply(
        "reshape", shape=(m,)
    )  # fmt: skip


def _spiked(x: Term) -> Term:
    return cast(x.apply("not_equal", 0) if isinstance(x, Symbol) else x != 0, dt.int32)


def _number(rounding: Term, k: int) -> Term:
    """Number k of a step, as an array of shape ()."""
    if not isinstance(rounding, Symbol):
        return np.asarray(rounding[k])
    return rounding.apply("slice", starts=(k,), stops=(k + 1,), steps=(1,)).apply("reshape", shape=())


def _picked(table: Array, index: Term) -> Term:
    if isinstance(index, Symbol):
        return Symbol(index.emit, index.emit("take", table, index.value, axis=0))
    return table[index]


def _row(v: Term) -> Term:
    return v.apply("reshape", shape=(1, v.value.type.known[0])) if isinstance(v, Symbol) else v[None, :]


def _column(v: Term) -> Term:
    return v.apply("reshape", shape=(v.value.type.known[0], 1)) if isinstance(v, Symbol) else v[:, None]


# -- the op ---------------------------------------------------------------------------------------------------


def faults(attrs: Attrs) -> list[str]:
    """What is wrong with the attributes, all of it."""
    wrong: list[str] = []
    try:
        scaled(attrs["rule"])
    except AttributeValueError as e:
        wrong.append(e.problem)
    if attrs["sign"] not in SIGNS:
        wrong.append(f"sign is one of {', '.join(SIGNS)}, not {attrs['sign']!r}")
    if not -MOST_EXPONENT <= attrs["exponent"] <= MOST_EXPONENT:
        wrong.append(f"exponent is {-MOST_EXPONENT} to {MOST_EXPONENT}, not {attrs['exponent']!r}")
    if not 0 <= attrs["seed"] <= MOST_SEED:
        wrong.append(f"seed is 0 to {MOST_SEED}, not {attrs['seed']!r}")
    for name in TRACES:
        impulse, tau = attrs[f"{name}_impulse"], attrs[f"{name}_tau"]
        if not 0 <= impulse <= TRACE_TOP:
            wrong.append(f"the impulse of {name} is 0 to {TRACE_TOP}, not {impulse!r}")
        if not (tau >= 0 and isfinite(tau)):
            wrong.append(f"tau of {name} is 0 or more steps, not {tau!r}")
    return wrong


def _infer(
    x: TensorType, weight: TensorType, x1: TensorType, x2: TensorType, y1: TensorType, y2: TensorType, y3: TensorType,
    post: TensorType, rounding: TensorType, *, rule: str, sign: str, exponent: int, seed: int, **times: float,
) -> Types:  # fmt: skip
    """int32: x (n,), weight (m, n), x1 x2 (n,), y1 y2 y3 (m,), post (m,), rounding (11,) -> y (m,), the states anew"""
    name = "loihi_learn_dense"
    wrong = faults({"rule": rule, "sign": sign, "exponent": exponent, "seed": seed, **times})
    if wrong:
        raise AttributeValueError(f"{name}: {'; '.join(wrong)}")
    given = dict(zip(_NAMES, (x, weight, x1, x2, y1, y2, y3, post, rounding), strict=True))
    floats = [f"{n} is {t.dtype.name}" for n, t in given.items() if t.dtype != dt.int32]
    if floats:
        raise DTypeError(f"{name} wants int32, but {', '.join(floats)}", hint="hetero.quantize_loihi makes integers")
    if weight.rank != 2:
        raise ShapeError(f"{name} wants weights (m, n), got {show(weight.known)}")
    m, n = weight.known
    for side, t in given.items():
        wanted = (m, n) if side == "weight" else (ROUNDING,) if side == "rounding" else (n,) if side[0] == "x" else (m,)
        if t.known != wanted:
            raise ShapeError(f"{name}: {side} is {show(t.known)}, not {show(wanted)}, for weights {show(weight.known)}")
    return post, weight, x1, x2, y1, y2, y3


_infer.__annotations__ |= {f"{n}_{what}": "float" for n in TRACES for what in ("impulse", "tau")}


def _decompose(emit: Emit, *values: Value, **attrs: Any) -> Any:
    return formula.decomposition(_step)(emit, *values, **attrs)


def _reference(*arrays: Array, **attrs: Any) -> Any:
    return _step(*map(np.asarray, arrays), **attrs)


def _cost(types: Types, outs: Types, attrs: Attrs) -> Cost:
    """Synaptic sums, and all weights looked at for each product."""
    size = int(types[1].size)
    ops = sum(len(p.factors) + 4 for p in scaled(attrs["rule"])) + 8
    return Cost(size * ops, sum(int(t.size) for t in types), sum(int(t.size) for t in outs))


ATTRS = ("rule", "sign", "exponent", "seed", *(f"{n}_{what}" for n in TRACES for what in ("impulse", "tau")))


def _sample(rule: str, sign: str, m: int, n: int, exponent: int = 0) -> Sample:
    """Traces of all values; thresholds and impulses as a table has them."""
    low, high = SIGNS[sign]
    x, y = Arg((n,), 0, TRACE_TOP + 1, "int32"), Arg((m,), 0, TRACE_TOP + 1, "int32")
    args = (
        Arg((n,), 0, 2, "int32"), Arg((m, n), low, high + 1, "int32"), x, x, y, y, y, Arg((m,), 0, 2, "int32"),
        Arg((ROUNDING,), 0, TRACE_TOP, "int32"),
    )  # fmt: skip
    times = {f"{t}_impulse": 16.0 for t in TRACES} | {f"{t}_tau": 2.5 * k for k, t in enumerate(TRACES)}
    return Sample(args, {"rule": rule, "sign": sign, "exponent": exponent, "seed": 0, **times})


loihi_learn_dense = define(
    Op(
        name="loihi_learn_dense", kind="compute", infer=_infer, reference=_reference, decompose=_decompose, cost=_cost,
        dtypes="i", attrs=dict.fromkeys(ATTRS, REQUIRED),
        samples=(
            _sample("2^-2*x1*y0 - 2^-2*x0*y1", "excitatory", 3, 5),
            _sample("2^-4*x0*y3*w - 3*x0 + 2^-7*y0*x2*x1", "mixed", 17, 9, 3),
            _sample("-5*x0*y1 + 2^-1*y0*y2*x2*w", "inhibitory", 8, 33, -2),
        ),
    )
)  # fmt: skip

__all__ = ["ATTRS", "MOST_SEED", "SIGNS", "STATES", "faults", "loihi_learn_dense"]
