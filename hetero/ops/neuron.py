"""One time step of neurons: what they integrate, when they spike, and what is then left of their state.

Time step, integration rule, reset, refractory time and the strictness of the threshold are attributes without default:
the same equations under other choices are other networks. A spike is 1, no spike 0, in the dtype of the input.

Symbols: x input (a current, A; or spikes, 1), i synaptic current (A), v membrane voltage (V), tau time constant (s), r
resistance (Ohm), v_leak, v_threshold, v_reset voltages (V), w_in weight of the input (A), dt time step (s). Only their
ratios count, so any consistent units do.

Integration rules. "euler": forward Euler. "exact": the solution of the equations for an input that stays the same in
the step (zero-order hold), so that a step of dt is two of dt/2. Sources: Abbott, Brain Research Bulletin 50 (1999), on
the model; Rotter, Diesmann, Biological Cybernetics 81 (1999), on exact integration; Pedersen et al., Nature
Communications 15 (2024), on the set of neurons (NIR).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hetero import dtype as dt
from hetero.dim import Size, broadcast, show
from hetero.errors import AttributeValueError, DTypeError, GraphError, ShapeError
from hetero.op import REQUIRED, Arg, Attrs, Cost, Op, Sample, TensorType, Types, define
from hetero.ops import formula
from hetero.ops.formula import Term, where

RULES = ("euler", "exact")
RESETS = ("zero", "value", "subtract")  # what a spike leaves: 0, v_reset, or v - v_threshold


@dataclass(frozen=True, slots=True)
class Neuron:
    """What the ops here have in common. Inputs in order: x, states, wait if refractory, parameters."""

    name: str
    states: tuple[str, ...]
    parameters: tuple[str, ...]
    integrate: Callable[..., tuple[Term, ...]]  # (x, *states, *parameters without threshold and reset, dt, rule)
    flop: int  # of one step of one neuron, exponentials of parameters apart
    spikes: bool = True  # else the output is the voltage
    timed: bool = True  # whether it has dt and rule

    @property
    def inner(self) -> tuple[str, ...]:
        """The parameters that integration reads."""
        return tuple(p for p in self.parameters if p not in ("v_threshold", "v_reset"))


# -- integration ----------------------------------------------------------------------------------------------


def _lif_step(x: Term, v: Term, tau: Term, r: Term, v_leak: Term, *, dt: float, rule: str) -> tuple[Term, ...]:
    """tau dv/dt = (v_leak - v) + r x"""
    if rule == "euler":
        return (v + (dt / tau) * ((v_leak - v) + r * x),)
    return (v * formula.exp(-dt / tau) + (v_leak + r * x) * -formula.expm1(-dt / tau),)


def _if_step(x: Term, v: Term, r: Term, *, dt: float, rule: str) -> tuple[Term, ...]:
    """dv/dt = r x: both rules are the same"""
    return (v + (r * dt) * x,)


def _cuba_step(
    x: Term, i: Term, v: Term, tau_syn: Term, tau_mem: Term, r: Term, v_leak: Term, w_in: Term, *, dt: float, rule: str
) -> tuple[Term, ...]:
    """tau_syn di/dt = -i + w_in x;  tau_mem dv/dt = (v_leak - v) + r i. Euler's v takes the new i."""
    if rule == "euler":
        i = i + (dt / tau_syn) * (w_in * x - i)
        return i, v + (dt / tau_mem) * ((v_leak - v) + r * i)
    fast, slow = formula.exp(-dt / tau_syn), formula.exp(-dt / tau_mem)
    same = formula.absolute(tau_syn - tau_mem) <= 1e-6 * tau_mem  # the limit: both exponentials alike
    apart = where(same, 1.0, tau_syn - tau_mem)
    share = where(same, (dt / tau_mem) * slow, tau_syn / apart * (fast - slow))  # of i - i_end that v takes in
    i_end = w_in * x
    v_end = v_leak + r * i_end
    return i_end + (i - i_end) * fast, v_end + (v - v_end) * slow + r * ((i - i_end) * share)


# -- spikes ---------------------------------------------------------------------------------------------------


def _over(v: Term, threshold: Term, strict: bool) -> Term:
    return v > threshold if strict else v >= threshold


def _left(v: Term, fired: Term, threshold: Term, to: Term, reset: str) -> Term:
    """The voltage after a spike."""
    if reset == "subtract":
        return where(fired, v - threshold, v)
    return where(fired, 0.0 if reset == "zero" else to, v)


def _formula(n: Neuron) -> Callable[..., Any]:
    """One step of a neuron, with the attributes of its op."""

    def spiking(
        *given: Term, reset: str, strict: bool, refractory: int, dt: float = 0.0, rule: str = ""
    ) -> tuple[Term, ...]:
        x, states, wait, parameters = _sorted(n, given, refractory)
        threshold, to = parameters["v_threshold"], parameters["v_reset"]
        *currents, v = n.integrate(x, *states, *(parameters[p] for p in n.inner), dt=dt, rule=rule)
        fired = _over(v, threshold, strict)
        if wait is None:
            return formula.cast(fired, _dtype(x)), *currents, _left(v, fired, threshold, to, reset)
        free = wait <= 0
        fired = fired & free
        after = where(free, _left(v, fired, threshold, to, reset), states[-1])
        wait = where(fired, refractory, where(free, 0, wait - 1))
        return formula.cast(fired, _dtype(x)), *currents, after, wait

    def leaky(*given: Term, dt: float, rule: str) -> tuple[Term, ...]:
        x, states, _, parameters = _sorted(n, given, 0)
        made = n.integrate(x, *states, *parameters.values(), dt=dt, rule=rule)
        return made[-1], *made

    return spiking if n.spikes else leaky


def _sorted(n: Neuron, given: tuple[Term, ...], refractory: int) -> tuple[Term, tuple[Term, ...], Any, dict[str, Term]]:
    """Inputs by what they are: x, states, wait (None: not refractory), parameters by name."""
    k = 1 + len(n.states)
    wait = given[k] if refractory else None
    return given[0], given[1:k], wait, dict(zip(n.parameters, given[k + bool(refractory) :], strict=True))


def _dtype(x: Term) -> dt.DType:
    return x.value.type.dtype if isinstance(x, formula.Symbol) else x.dtype


# -- types ----------------------------------------------------------------------------------------------------


def check_attributes(name: str, **attrs: Any) -> None:
    """Refuse what no time step, rule, reset or refractory time can be; all at once."""
    wrong: list[str] = []
    if "dt" in attrs and not (isinstance(attrs["dt"], int | float) and 0 < attrs["dt"] < float("inf")):
        wrong.append(f"dt, in seconds, is more than 0, not {attrs['dt']!r}")
    if "rule" in attrs and attrs["rule"] not in RULES:
        wrong.append(f"rule is one of {', '.join(RULES)}, not {attrs['rule']!r}")
    if "reset" in attrs and attrs["reset"] not in RESETS:
        wrong.append(f"reset is one of {', '.join(RESETS)}, not {attrs['reset']!r}")
    if "strict" in attrs and not isinstance(attrs["strict"], bool):
        wrong.append(f"strict is True for v > v_threshold or False for v >= v_threshold, not {attrs['strict']!r}")
    steps = attrs.get("refractory", 0)
    if not isinstance(steps, int) or isinstance(steps, bool) or not 0 <= steps < 2**31:
        wrong.append(f"refractory is a number of steps, 0 or more, not {steps!r}")
    if wrong:
        raise AttributeValueError(f"{name}: {'; '.join(wrong)}")


KINDS = {"dt": "float", "rule": "str", "reset": "str", "strict": "bool", "refractory": "int"}  # of attributes


def _infer(n: Neuron) -> Callable[..., Types]:
    def infer(x: TensorType, *rest: TensorType, **attrs: Any) -> Types:
        """x (...), states (...), wait int32 (...) if refractory, parameters broadcasting to (...) -> spikes, states"""
        check_attributes(n.name, **attrs)
        refractory = bool(attrs.get("refractory", 0))
        names = (*n.states, *["wait"] * refractory, *n.parameters)
        if len(rest) != len(names):
            raise GraphError(f"{n.name} takes x, {', '.join(names)}; got {1 + len(rest)} inputs")
        if not dt.is_float(x.dtype) or x.dtype.itemsize < 4:
            raise DTypeError(f"{n.name} wants float32 or float64, got {x.dtype.name}", hint="cast x first")
        by_name = dict(zip(names, rest, strict=True))
        _check_inputs(n, x, by_name)
        states = tuple(x.with_dtype(by_name[s].dtype) for s in (*n.states, *["wait"] * refractory))
        return x, *states

    infer.__annotations__ |= KINDS
    return infer


def _check_inputs(n: Neuron, x: TensorType, given: dict[str, TensorType]) -> None:
    wrong: list[str] = []
    for name, t in given.items():
        want = dt.int32 if name == "wait" else x.dtype
        if t.dtype != want:
            wrong.append(f"{name} is {t.dtype.name}, not {want.name}")
        if name in n.parameters:
            fits = t.rank <= x.rank and _broadcast(x, t) == x.known
        else:
            fits = t.known == x.known
        if not fits:
            wrong.append(f"{name} is {show(t.known)} beside x {show(x.known)}")
    if wrong:
        raise ShapeError(f"{n.name}: {'; '.join(wrong)}", hint="states have the shape of x, parameters broadcast to it")


def _broadcast(x: TensorType, t: TensorType) -> tuple[Size, ...]:
    try:
        return broadcast(x.known, t.known)
    except ShapeError:
        return ()


def _cost(n: Neuron) -> Callable[[Types, Types, Attrs], Cost]:
    def cost(types: Types, outs: Types, attrs: Attrs) -> Cost:
        size = int(outs[0].size)
        return Cost(n.flop * size, sum(int(t.size) for t in types), size * len(outs))

    return cost


# -- the table ------------------------------------------------------------------------------------------------

_RANGES = {"tau": (5e-3, 2e-2), "tau_syn": (2e-3, 8e-3), "tau_mem": (5e-3, 2e-2), "r": (0.5, 2.0), "w_in": (0.5, 2.0),
           "v_leak": (-0.1, 0.1), "v_threshold": (0.1, 0.3), "v_reset": (-0.1, 0.1)}  # fmt: skip
_CHOICES: tuple[dict[str, Any], ...] = (
    {"dt": 1e-3, "rule": "euler", "reset": "value", "strict": True, "refractory": 0},
    {"dt": 1e-3, "rule": "exact", "reset": "subtract", "strict": False, "refractory": 0},
    {"dt": 1e-4, "rule": "exact", "reset": "zero", "strict": True, "refractory": 3},
)


def _samples(n: Neuron, attrs: dict[str, Any]) -> tuple[Sample, ...]:
    made: list[Sample] = []
    for chosen in _CHOICES:
        mine = {k: v for k, v in chosen.items() if k in attrs}
        for shape in ((7,), (2, 3, 5)):
            wait = (Arg(shape, 0, 4, "int32"),) * bool(mine.get("refractory", 0))
            parameters = tuple(Arg(shape[-1:], *_RANGES[p]) for p in n.parameters)
            made.append(Sample((*(Arg(shape, -1, 4),) * (1 + len(n.states)), *wait, *parameters), mine))
    return tuple(made)


def _define(n: Neuron) -> Neuron:
    attrs = {"dt": REQUIRED, "rule": REQUIRED} if n.timed else {}
    attrs |= {"reset": REQUIRED, "strict": REQUIRED, "refractory": REQUIRED} if n.spikes else {}
    step = _formula(n)
    define(
        Op(
            name=n.name, kind="compute", infer=_infer(n), reference=formula.reference(step), cost=_cost(n), dtypes="f",
            decompose=formula.decomposition(step), attrs=attrs, samples=_samples(n, attrs),
        )
    )  # fmt: skip
    return n


_LIF, _CUBA = ("tau", "r", "v_leak"), ("tau_syn", "tau_mem", "r", "v_leak", "w_in")
_SPIKE = ("v_threshold", "v_reset")

NEURONS = {
    n.name: _define(n)
    for n in (
        Neuron("lif", ("v",), (*_LIF, *_SPIKE), _lif_step, 8),
        Neuron("cuba_lif", ("i", "v"), (*_CUBA, *_SPIKE), _cuba_step, 12),
        Neuron("if", ("v",), ("r", *_SPIKE), _if_step, 5),
        Neuron("li", ("v",), _LIF, _lif_step, 6, spikes=False),
        Neuron("cuba_li", ("i", "v"), _CUBA, _cuba_step, 10, spikes=False),
        Neuron("i", ("v",), ("r",), _if_step, 3, spikes=False),
    )
}


# -- threshold ------------------------------------------------------------------------------------------------


def _threshold(x: Term, threshold: Term, *, strict: bool) -> Term:
    """1 where x is over its threshold, else 0"""
    return formula.cast(_over(x, threshold, strict), _dtype(x))


def _threshold_infer(x: TensorType, threshold: TensorType, *, strict: bool) -> TensorType:
    """(...), broadcasting to (...) -> (...)"""
    check_attributes("threshold", strict=strict)
    if threshold.dtype != x.dtype or dt.kind(x.dtype) not in "fi":
        raise DTypeError(f"threshold wants numbers of one dtype, got {x.dtype.name} and {threshold.dtype.name}")
    if _broadcast(x, threshold) != x.known:
        raise ShapeError(f"threshold is {show(threshold.known)} beside x {show(x.known)}")
    return x


def _threshold_cost(types: Types, outs: Types, attrs: Attrs) -> Cost:
    size = int(outs[0].size)
    return Cost(size, 2 * size, size)


threshold = define(
    Op(
        name="threshold", kind="compute", infer=_threshold_infer, reference=formula.reference(_threshold),
        decompose=formula.decomposition(_threshold), cost=_threshold_cost, dtypes="f", attrs={"strict": REQUIRED},
        samples=(
            Sample((Arg((7,)), Arg((7,))), {"strict": True}),
            Sample((Arg((2, 3, 5)), Arg((5,))), {"strict": False}),
        ),
    )
)  # fmt: skip
