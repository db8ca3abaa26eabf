"""One time step of learning at synapses, from what is there: spikes before and behind them, and their traces.

Weights are (targets, sources), as those of `synapse_dense`. A trace is a low-passed spike train: it loses the share
1 - exp(-dt / tau) in a step and gains 1 with each spike. Rules read traces after their decay and before the spikes of
this step are added, so that spikes of one step do not pair. Weights stay within w_min and w_max.

The references touch only rows and columns in which something spikes; the decompositions compute the same everywhere.

Symbols: w weight, pre and post spikes (0 or 1), x and y traces of them (1), tau time constants and dt the time step
(s), a_* learning rates (1), e eligibility, reward (1).
"""

from __future__ import annotations

from collections.abc import Callable
from math import exp
from typing import Any

import numpy as np

from hetero import dtype as dt_
from hetero.dim import show
from hetero.errors import AttributeValueError, DTypeError, ShapeError
from hetero.op import REQUIRED, Arg, Array, Attrs, Cost, Emit, Op, Sample, TensorType, Types, Value, define
from hetero.ops.formula import Symbol, Term, where

BOUNDS = ("hard", "soft")  # changes as they are, then cut; or in proportion to the way that is left


# -- rules ----------------------------------------------------------------------------------------------------


def _clipped(w: Term, low: float, high: float) -> Term:
    w = where(w > high, high, w)
    return where(w < low, low, w)


def _change(w: Term, up: Term, down: Term, bound: str, low: float, high: float) -> Term:
    """Towards w_max by `up`, towards w_min by `down`."""
    return up * (high - w) - down * (w - low) if bound == "soft" else up - down


def _pair(
    w: Term, pre: Term, post: Term, x: Term, y: Term, *, a_plus: float, a_minus: float, bound: str, low: float,
    high: float,
) -> Term:  # fmt: skip
    """w + a_plus post x - a_minus y pre. Source: Morrison, Diesmann, Gerstner, Biological Cybernetics 98 (2008)."""
    return _clipped(w + _change(w, (post * x) * a_plus, (y * pre) * a_minus, bound, low, high), low, high)


def _triplet(
    w: Term, pre: Term, post: Term, x: Term, y: Term, x_slow: Term, y_slow: Term, *, a2_plus: float, a2_minus: float,
    a3_plus: float, a3_minus: float, bound: str, low: float, high: float,
) -> Term:  # fmt: skip
    """w + post x (a2_plus + a3_plus y_slow) - pre y (a2_minus + a3_minus x_slow).

    Source: Pfister, Gerstner, Journal of Neuroscience 26 (2006).
    """
    up = (post * x) * (y_slow * a3_plus + a2_plus)
    down = (y * pre) * (x_slow * a3_minus + a2_minus)
    return _clipped(w + _change(w, up, down, bound, low, high), low, high)


# -- two readers ----------------------------------------------------------------------------------------------


def _decay(trace: Term, spikes: Term, tau: float, dt: float) -> tuple[Term, Term]:
    """The trace after its decay, and with the spikes of this step."""
    faded = trace * exp(-dt / tau)
    return faded, faded + spikes


Rule = Callable[..., Term]


def _on_arrays(
    rule: Rule, w: Array, pre: Array, post: Array, sources: list[Array], targets: list[Array], **a: Any
) -> Array:
    """The rule where something spikes; elsewhere it changes nothing, for weights within their bounds."""
    out = w.copy()
    rows, columns = np.flatnonzero(post), np.flatnonzero(pre)

    def part(w: Array, r: Any, c: Any) -> Array:
        across = [v[None, c] for v in (pre, *sources)]
        down = [v[r, None] for v in (post, *targets)]
        return np.asarray(rule(w, across[0], down[0], across[1], down[1], *across[2:], *down[2:], **a))

    everywhere = slice(None)
    if len(rows):
        out[rows] = part(w[rows], rows, everywhere)
    if len(columns):
        out[:, columns] = part(w[:, columns], everywhere, columns)
    return _within(out, **a)


def _within(w: Array, *, low: float, high: float, **_: Any) -> Array:
    """Weights that came in outside their bounds are cut too."""
    if w.size and (w.min() < low or w.max() > high):
        return np.clip(w, np.asarray(low, w.dtype), np.asarray(high, w.dtype))
    return w


def _on_symbols(
    rule: Rule, w: Symbol, pre: Symbol, post: Symbol, sources: list[Symbol], targets: list[Symbol], **a: Any
) -> Symbol:
    across = [_shaped(v, (1, v.value.type.known[0])) for v in (pre, *sources)]
    down = [_shaped(v, (v.value.type.known[0], 1)) for v in (post, *targets)]
    return rule(w, across[0], down[0], across[1], down[1], *across[2:], *down[2:], **a)


def _shaped(v: Symbol, shape: Any) -> Symbol:
    return v.apply("reshape", shape=shape)


def _apply(
    rule: Rule, w: Any, pre: Any, post: Any, sources: list[Any], targets: list[Any], w_min: float, w_max: float,
    **rates: Any,
) -> Any:  # fmt: skip
    run: Any = _on_symbols if isinstance(w, Symbol) else _on_arrays
    return run(rule, w, pre, post, sources, targets, low=w_min, high=w_max, **rates)


# -- ops ------------------------------------------------------------------------------------------------------


def _stdp(
    w: Any, pre: Any, post: Any, x: Any, y: Any, *, dt: float, tau_pre: float, tau_post: float, a_plus: float,
    a_minus: float, w_min: float, w_max: float, bound: str,
) -> Any:  # fmt: skip
    faded_x, x = _decay(x, pre, tau_pre, dt)
    faded_y, y = _decay(y, post, tau_post, dt)
    w = _apply(_pair, w, pre, post, [faded_x], [faded_y], w_min, w_max, a_plus=a_plus, a_minus=a_minus, bound=bound)
    return w, x, y


def _stdp_triplet(
    w: Any, pre: Any, post: Any, x: Any, x_slow: Any, y: Any, y_slow: Any, *, dt: float, tau_plus: float, tau_x: float,
    tau_minus: float, tau_y: float, a2_plus: float, a2_minus: float, a3_plus: float, a3_minus: float, w_min: float,
    w_max: float, bound: str,
) -> Any:  # fmt: skip
    faded_x, x = _decay(x, pre, tau_plus, dt)
    faded_x_slow, x_slow = _decay(x_slow, pre, tau_x, dt)
    faded_y, y = _decay(y, post, tau_minus, dt)
    faded_y_slow, y_slow = _decay(y_slow, post, tau_y, dt)
    rates = {"a2_plus": a2_plus, "a2_minus": a2_minus, "a3_plus": a3_plus, "a3_minus": a3_minus, "bound": bound}
    w = _apply(_triplet, w, pre, post, [faded_x, faded_x_slow], [faded_y, faded_y_slow], w_min, w_max, **rates)
    return w, x, x_slow, y, y_slow


def _stdp_reward(
    w: Any, pre: Any, post: Any, x: Any, y: Any, e: Any, reward: Any, *, dt: float, tau_pre: float, tau_post: float,
    tau_e: float, a_plus: float, a_minus: float, rate: float, w_min: float, w_max: float,
) -> Any:  # fmt: skip
    """Pairs leave an eligibility, which the reward turns into weight: e exp(-dt / tau_e) + pairs; w + rate reward e.

    Source: Izhikevich, Cerebral Cortex 17 (2007); Fremaux, Gerstner, Frontiers in Neural Circuits 9 (2016).
    """
    faded_x, x = _decay(x, pre, tau_pre, dt)
    faded_y, y = _decay(y, post, tau_post, dt)
    across, down = (_across, _down) if isinstance(w, Symbol) else (_row, _column)
    pairs = (down(post) * across(faded_x)) * a_plus - (down(faded_y) * across(pre)) * a_minus
    e = e * exp(-dt / tau_e) + pairs
    return _clipped(w + e * (reward * rate), w_min, w_max), x, y, e


def _across(v: Symbol) -> Symbol:
    return _shaped(v, (1, v.value.type.known[0]))


def _down(v: Symbol) -> Symbol:
    return _shaped(v, (v.value.type.known[0], 1))


def _row(v: Array) -> Array:
    return v[None, :]


def _column(v: Array) -> Array:
    return v[:, None]


# -- types ----------------------------------------------------------------------------------------------------


def _check(name: str, attrs: Attrs) -> None:
    """Refuse times and bounds that make no sense, all at once."""
    wrong = [
        f"{k} is more than 0 s, not {v!r}" for k, v in attrs.items() if k[:3] in ("dt", "tau") and not 0 < v < np.inf
    ]
    wrong += [f"{k} is a number, not {v!r}" for k, v in attrs.items() if k[0] == "a" and not np.isfinite(v)]
    if not attrs["w_min"] < attrs["w_max"]:
        wrong.append(f"w_min {attrs['w_min']!r} is not below w_max {attrs['w_max']!r}")
    if attrs.get("bound", "hard") not in BOUNDS:
        wrong.append(f"bound is one of {', '.join(BOUNDS)}, not {attrs['bound']!r}")
    if wrong:
        raise AttributeValueError(f"{name}: {'; '.join(wrong)}")


def _infer(name: str, kinds: str) -> Callable[..., Types]:
    """`kinds` of the inputs behind w: n of the sources, m of the targets, w as the weights, 1 a single number.

    Given back: the weights, then all inputs behind pre and post but single numbers.
    """

    def infer(w: TensorType, *rest: TensorType, **attrs: Any) -> Types:
        """w (m, n), pre (n,), post (m,), traces ... -> w, traces"""
        _check(name, attrs)
        if w.rank != 2 or len(rest) != len(kinds):
            raise ShapeError(
                f"{name} takes weights (m, n) and {len(kinds)} more inputs, got {show(w.known)}, {len(rest)}"
            )
        if not dt_.is_float(w.dtype) or w.dtype.itemsize < 4 or any(t.dtype != w.dtype for t in rest):
            raise DTypeError(
                f"{name} wants float32 or float64 throughout, got {', '.join(t.dtype.name for t in (w, *rest))}"
            )
        m, n = w.known
        wanted = {"n": (n,), "m": (m,), "w": (m, n), "1": ()}
        for i, (kind, t) in enumerate(zip(kinds, rest, strict=True)):
            if t.known != wanted[kind]:
                raise ShapeError(
                    f"{name}: input {i + 1} is {show(t.known)}, not {show(wanted[kind])}, for weights {show(w.known)}"
                )
        return (w, *(t for kind, t in zip(kinds[2:], rest[2:], strict=True) if kind != "1"))

    return infer


def _cost(flop: int) -> Callable[[Types, Types, Attrs], Cost]:
    def cost(types: Types, outs: Types, attrs: Attrs) -> Cost:
        return Cost(flop * int(types[0].size), sum(int(t.size) for t in types), sum(int(t.size) for t in outs))

    return cost


def _decomposed(formula: Callable[..., Any]) -> Callable[..., Any]:
    def run(emit: Emit, *values: Value, **attrs: Any) -> Any:
        return tuple(s.value for s in formula(*(Symbol(emit, v) for v in values), **attrs))

    return run


_TIMES = ("dt", "tau_pre", "tau_post", "tau_e", "tau_plus", "tau_minus", "tau_x", "tau_y")
_RATES = ("a_plus", "a_minus", "a2_plus", "a2_minus", "a3_plus", "a3_minus", "rate", "w_min", "w_max")
_KINDS = dict.fromkeys((*_TIMES, *_RATES), "float") | {"bound": "str"}


def _define(name: str, formula: Callable[..., Any], kinds: str, attrs: dict[str, Any], flop: int) -> Op:
    """`attrs` are those of the samples; none has a default."""
    infer = _infer(name, kinds)
    infer.__annotations__ |= _KINDS

    def reference(*arrays: Array, **given: Any) -> Any:
        return formula(*arrays, **given)

    def sample(m: int, n: int, **changed: Any) -> Sample:
        shapes = {"n": (n,), "m": (m,), "w": (m, n), "1": ()}
        low, high = attrs["w_min"], attrs["w_max"]
        args = [Arg((m, n), low, high), Arg((n,), 0, 1), Arg((m,), 0, 1), *(Arg(shapes[k], 0, 1) for k in kinds[2:])]
        return Sample(tuple(args), attrs | changed)

    soft = ({"bound": "soft"},) * ("bound" in attrs)
    samples = tuple(sample(m, n, **c) for m, n in ((3, 5), (17, 9)) for c in ({}, *soft))
    return define(
        Op(
            name=name, kind="compute", infer=infer, reference=reference, decompose=_decomposed(formula), dtypes="f",
            cost=_cost(flop), attrs=dict.fromkeys(attrs, REQUIRED), samples=samples,
        )
    )  # fmt: skip


_BOUNDED = {"w_min": 0.0, "w_max": 1.0, "bound": "hard"}
_PAIR = {"dt": 1e-3, "tau_pre": 0.02, "tau_post": 0.02, "a_plus": 0.01, "a_minus": 0.012}

stdp = _define("stdp", _stdp, "nmnm", _PAIR | _BOUNDED, 8)
stdp_triplet = _define(
    "stdp_triplet", _stdp_triplet, "nmnnmm",
    {"dt": 1e-3, "tau_plus": 0.017, "tau_x": 0.1, "tau_minus": 0.034, "tau_y": 0.12, "a2_plus": 5e-3, "a2_minus": 7e-3,
     "a3_plus": 6e-3, "a3_minus": 2e-3} | _BOUNDED, 12,
)  # fmt: skip
stdp_reward = _define(
    "stdp_reward", _stdp_reward, "nmnmw1", _PAIR | {"tau_e": 0.1, "rate": 0.5, "w_min": 0.0, "w_max": 1.0}, 10
)
