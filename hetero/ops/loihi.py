"""Loihi's neuron in its own fixed-point arithmetic, bit for bit as in Lava 0.10's LIF.

A current of 24 bits wraps around, a voltage of 24 bits saturates, decays have 12 bits and round toward zero. Source:
Davies et al., IEEE Micro 38 (2018), and Lava's bit-accurate model, whose rules were read and are compared in the tests.
"""

from __future__ import annotations

import numpy as np

from hetero import dtype as dt
from hetero.dim import show
from hetero.errors import DTypeError, ShapeError
from hetero.op import Arg, Attrs, Cost, Op, Sample, TensorType, Types, define
from hetero.ops import formula
from hetero.ops.formula import Term, absolute, cast, where

DECAY_BITS = 12
WEIGHT_SHIFT = 6  # synaptic sums, and thresholds, are on a scale 2^6 finer
STATE_BITS = 24
TOP = 2 ** (STATE_BITS - 1)  # 2^23

NAMES = ("a", "u", "v", "du", "dv", "vth", "bias")


def _decayed(x: Term, keep: Term) -> Term:
    """x * keep / 2^12, rounded toward zero"""
    wide = x * keep
    size = absolute(wide) >> DECAY_BITS
    return where(wide < 0, -size, size)


def _loihi_lif(a: Term, u: Term, v: Term, du: Term, dv: Term, vth: Term, bias: Term) -> tuple[Term, Term, Term]:
    """u = shr(u (4096 - (du + 1)), 12) + a 2^6, wrapped;  v = clip(shr(v (4096 - dv), 12) + u + bias);  s = v > vth 2^6

    a synaptic sum, u current, v voltage, du and dv decays of 12 bits, vth threshold, bias: all int32, no units. The
    current always decays by one more than du says: du = 0 still decays, du = 4095 clears it. A spike sets v to 0.
    """
    a, u, v, du, dv, vth, bias = (cast(t, dt.int64) for t in (a, u, v, du, dv, vth, bias))
    u = _decayed(u, 4095 - du) + (a << WEIGHT_SHIFT)
    u = where(u > TOP, u - 2 * TOP, u)
    u = where(u <= -TOP, u + 2 * TOP, u)
    v = _decayed(v, 4096 - dv) + u + bias
    v = where(v > TOP - 1, TOP - 1, v)
    v = where(v < 1 - TOP, 1 - TOP, v)
    fired = v > (vth << WEIGHT_SHIFT)
    return cast(fired, dt.int32), cast(u, dt.int32), cast(where(fired, 0, v), dt.int32)


def _infer(
    a: TensorType, u: TensorType, v: TensorType, du: TensorType, dv: TensorType, vth: TensorType, bias: TensorType
) -> Types:
    """int32: a, u, v (...), du, dv, vth, bias broadcasting to (...) -> spikes, u, v (...)"""
    given = dict(zip(NAMES, (a, u, v, du, dv, vth, bias), strict=True))
    wrong = [f"{name} is {t.dtype.name}" for name, t in given.items() if t.dtype != dt.int32]
    if wrong:
        raise DTypeError(f"loihi_lif wants int32, but {', '.join(wrong)}", hint="hetero.quantize_loihi makes integers")
    for name, t in given.items():
        fits = t.known == a.known if name in "auv" else t.known == a.known[a.rank - t.rank :] or t.known == ()
        if not fits:
            raise ShapeError(f"loihi_lif: {name} is {show(t.known)} beside a {show(a.known)}")
    return a, u, v


def _cost(types: Types, outs: Types, attrs: Attrs) -> Cost:
    n = int(outs[0].size)
    return Cost(16 * n, sum(int(t.size) for t in types), 3 * n)


def _arguments(*shape: int) -> tuple[Arg, ...]:
    """Values at which currents wrap and voltages saturate."""
    n = shape[-1]
    return (
        Arg(shape, -(2**17), 2**17, "int32"), Arg(shape, 1 - TOP, TOP, "int32"), Arg(shape, 1 - TOP, TOP, "int32"),
        Arg((n,), 0, 4096, "int32"), Arg((n,), 0, 4096, "int32"), Arg((n,), 0, 2**17, "int32"),
        Arg((n,), -(2**19), 2**19, "int32"),
    )  # fmt: skip


loihi_lif = define(
    Op(
        name="loihi_lif", kind="compute", infer=_infer, reference=formula.reference(_loihi_lif),
        decompose=formula.decomposition(_loihi_lif), cost=_cost, dtypes="i",
        samples=(Sample(_arguments(7)), Sample(_arguments(5, 301)), Sample(_arguments(2, 3, 40))),
    )
)  # fmt: skip


def effective_weights(weight: np.ndarray, bits: int = 8) -> np.ndarray:
    """The weights that Loihi keeps of integer ones: cut to their range, and to a step of 2 where signs are mixed.

    A block with both signs spends one bit on the sign, so that weights of 8 bits lose their last one.
    """
    mixed = int((weight < 0).any() and (weight > 0).any())
    low, high = (-256, 255) if mixed else (-255, 255)
    cut = np.clip(weight, low, high).astype(np.int32)
    lost = 8 - bits + mixed
    size = np.abs(cut) if not mixed else cut
    kept = (size >> lost) << lost
    return (kept if mixed else np.sign(cut) * kept).astype(np.int32)
