"""Lowerings of RNN, GRU and LSTM: one matrix product for all inputs, then a `scan` over the steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from hetero.convert.onnx_call import Call, Made, Wait, lowers
from hetero.convert.onnx_control import settled
from hetero.graph.build import Builder, Ref

Activation: TypeAlias = Callable[[Ref], Ref]
Step: TypeAlias = Callable[["Cell", Ref, list[Ref]], list[Ref]]

# -- activations --------------------------------------------------------------------------------------------

_DEFAULTS: dict[str, tuple[float | None, float | None]] = {  # alpha, beta; None: the function takes none
    "relu": (None, None), "tanh": (None, None), "sigmoid": (None, None), "softsign": (None, None),
    "softplus": (None, None), "leakyrelu": (0.01, None), "thresholdedrelu": (1.0, None), "elu": (1.0, None),
    "affine": (1.0, 0.0), "scaledtanh": (1.0, 1.0), "hardsigmoid": (0.2, 0.5),
}  # fmt: skip


def _activate(e: Any, name: str, alpha: float, beta: float, x: Ref) -> Ref:
    """The function called `name` of x."""
    rules: dict[str, Callable[[], Ref]] = {
        "relu": lambda: e("relu", x),
        "tanh": lambda: e("tanh", x),
        "sigmoid": lambda: e("sigmoid", x),
        "softplus": lambda: e("softplus", x),
        "softsign": lambda: e("divide", x, e("add", e("abs", x), 1.0)),
        "leakyrelu": lambda: e("where", e("less", x, 0.0), e("multiply", x, alpha), x),
        "thresholdedrelu": lambda: e("multiply", x, e("cast", e("greater", x, alpha), dtype=x.type.dtype.name)),
        "elu": lambda: e("where", e("less", x, 0.0), e("multiply", e("expm1", x), alpha), x),
        "affine": lambda: e("add", e("multiply", x, alpha), beta),
        "scaledtanh": lambda: e("multiply", e("tanh", e("multiply", x, beta)), alpha),
        "hardsigmoid": lambda: e("minimum", e("maximum", e("add", e("multiply", x, alpha), beta), 0.0), 1.0),
    }
    return rules[name]()


Function: TypeAlias = "tuple[str, float, float]"  # name, alpha, beta


def _activations(
    n: Call, names: Sequence[str] | None, default: tuple[str, ...], directions: int, alphas: Sequence[float] | None,
    betas: Sequence[float] | None,
) -> list[list[Function]]:  # fmt: skip
    """For each direction, (name, alpha, beta) of its functions. Alphas and betas go to the functions that take one."""
    given = [name.lower() for name in names or default * directions]
    n.only(len(given) == len(default) * directions, f"{len(given)} activations, {len(default) * directions} wanted")
    unknown = [name for name in given if name not in _DEFAULTS]
    n.only(not unknown, f"activations {', '.join(unknown)} are not covered")
    left, right = iter(alphas or ()), iter(betas or ())
    out: list[Function] = []
    for name in given:
        alpha, beta = _DEFAULTS[name]
        out.append((
            name, 0.0 if alpha is None else next(left, alpha), 0.0 if beta is None else next(right, beta),
        ))  # fmt: skip
    n.only(next(left, None) is None and next(right, None) is None, "more alphas or betas than functions take")
    each = len(default)
    return [out[i * each : (i + 1) * each] for i in range(directions)]


# -- one direction ------------------------------------------------------------------------------------------


@dataclass(slots=True, eq=False)
class Cell:
    """What one step of one direction sees: its builder, its functions and its weights as inputs of the body."""

    emit: Builder
    functions: list[Function]
    clip: float | None
    hidden: int
    weights: dict[str, Ref]

    def act(self, index: int, x: Ref) -> Ref:
        """Function number `index`, its input clipped."""
        if self.clip is not None:
            x = self.emit("minimum", self.emit("maximum", x, -self.clip), self.clip)
        return _activate(self.emit, *self.functions[index], x)

    def gate(self, x: Ref, index: int) -> Ref:
        """(n, gates * hidden) -> (n, hidden)"""
        rows, h = x.type.known[0], self.hidden
        return self.emit("slice", x, starts=(0, index * h), stops=(rows, (index + 1) * h), steps=(1, 1))

    def recur(self, h: Ref, name: str = "r") -> Ref:
        """h times the recurrent weights"""
        return self.emit("matmul", h, self.weights[name])


def _rnn_step(c: Cell, x: Ref, state: list[Ref]) -> list[Ref]:
    """h = f(x + h R)"""
    return [c.act(0, c.emit("add", x, c.recur(state[0])))]


def _gru_step(linear_before_reset: bool) -> Step:
    def step(c: Cell, x: Ref, state: list[Ref]) -> list[Ref]:
        """z, r = f(...); h~ = g(x + r * (h R + b)) or g(x + (r * h) R + b); h = (1 - z) h~ + z h"""
        e, (h,) = c.emit, state
        both = c.recur(h, "r_zr")
        z = c.act(0, e("add", c.gate(x, 0), c.gate(both, 0)))
        r = c.act(0, e("add", c.gate(x, 1), c.gate(both, 1)))
        if linear_before_reset:
            mixed = e("multiply", r, e("add", c.recur(h, "r_h"), c.weights["rb_h"]))
        else:
            mixed = e("add", c.recur(e("multiply", r, h), "r_h"), c.weights["rb_h"])
        new = c.act(1, e("add", c.gate(x, 2), mixed))
        return [e("add", e("multiply", e("subtract", 1.0, z), new), e("multiply", z, h))]

    return step


def _lstm_step(input_forget: bool, peephole: bool) -> Step:
    def step(c: Cell, x: Ref, state: list[Ref]) -> list[Ref]:
        """i, o, f = f(... + P c); c = f c + i g(...); h = o h(c)"""
        e, (h, cell) = c.emit, state
        gates = e("add", x, c.recur(h))

        def peeped(gate: Ref, name: str, value: Ref) -> Ref:
            return e("add", gate, e("multiply", c.weights[name], value)) if peephole else gate

        i = c.act(0, peeped(c.gate(gates, 0), "p_i", cell))
        f = e("subtract", 1.0, i) if input_forget else c.act(0, peeped(c.gate(gates, 2), "p_f", cell))
        new = e("add", e("multiply", f, cell), e("multiply", i, c.act(1, c.gate(gates, 3))))
        o = c.act(0, peeped(c.gate(gates, 1), "p_o", new))
        return [e("multiply", o, _activate(e, *c.functions[2], new)), new]

    return step


def _direction(
    n: Call, x: Ref, states: list[Ref], lengths: Ref | None, weights: dict[str, Ref], step: Step, hidden: int,
    functions: list[Function], clip: float | None, reverse: bool,
) -> tuple[list[Ref], Ref]:  # fmt: skip
    """x (t, n, gates * hidden), states (n, hidden) -> final states, h of every step (t, n, hidden)

    A sequence that is over keeps its state and gives 0. Backwards, it begins at its own last step.
    """
    builder = Builder("step", fold=True, track=False)
    inner = [builder.input(f"state{i}", s.type) for i, s in enumerate(states)]
    at = builder.input("x", x.type.with_shape(x.type.known[1:]))
    xs, seen = [x], None
    steps, batch = n.shape(x)[:2]
    if lengths is not None:
        numbers = n.reshape(n.cast(n.arange(steps), lengths.type.dtype), steps, 1, 1)
        going = n.emit("less", numbers, n.reshape(lengths, 1, batch, 1))
        seen = builder.input("going", going.type.with_shape(going.type.known[1:]))
        xs.append(going)
    constants = {k: builder.input(k, w.type) for k, w in weights.items()}
    cell = Cell(builder, functions, clip, hidden, constants)
    new = step(cell, at, inner)
    y = new[0]
    if seen is not None:
        y = builder("where", seen, y, builder.constant(0, y.type.dtype))
        new = [builder("where", seen, a, b) for a, b in zip(new, inner, strict=True)]
    body = builder.build([*new, y])
    made = n.emit(
        "scan", *states, *xs, *weights.values(), body=body, carried=len(states), scanned=len(xs), reverse=reverse
    )
    return list(made[:-1]), made[-1]


# -- the operators ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Kind:
    """What tells RNN, GRU and LSTM apart."""

    gates: int
    states: int
    functions: tuple[str, ...]


RNN = Kind(1, 1, ("Tanh",))
GRU = Kind(3, 1, ("Sigmoid", "Tanh"))
LSTM = Kind(4, 2, ("Sigmoid", "Tanh", "Tanh"))
_DIRECTIONS = {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}


def _recurrent(
    n: Call, kind: Kind, x: Ref, w: Ref, r: Ref, b: Ref | None, lengths: Ref | None, initial: list[Ref | None],
    attrs: dict[str, Any], weigh: Callable[[Call, int, Ref, Ref | None], dict[str, Ref]], step: Step,
    whole_bias: bool = True,
) -> Made:  # fmt: skip
    """Every direction in turn, then Y (t, directions, n, hidden) and the final states (directions, n, hidden)."""
    if not settled(n.refs):
        raise Wait
    n.only(attrs["direction"] in _DIRECTIONS, f"direction={attrs['direction']!r} is none of {', '.join(_DIRECTIONS)}")
    n.only(attrs["layout"] in (0, 1), f"layout={attrs['layout']} is neither 0 nor 1")
    ways, hidden = _DIRECTIONS[attrs["direction"]], n.shape(r)[2] if r.type.rank == 3 else n.refuse("R is not 3-d")
    n.only(attrs["hidden_size"] in (None, hidden), f"hidden_size={attrs['hidden_size']}, the weights have {hidden}")
    rows = kind.gates * hidden
    n.only(x.type.rank == 3 and n.shape(w)[:2] == (len(ways), rows) == n.shape(r)[:2], "the weights' shapes do not fit")
    functions = _activations(
        n, attrs["activations"], kind.functions, len(ways), attrs["activation_alpha"], attrs["activation_beta"]
    )
    if attrs["layout"]:
        x = n.permute(x, 1, 0, 2)
        initial = [None if s is None else n.permute(s, 1, 0, 2) for s in initial]
    steps, batch = n.shape(x)[:2]
    finals: list[list[Ref]] = []
    ys: list[Ref] = []
    for way, reverse in enumerate(ways):
        bias = None if b is None else _row(n, b, way)
        inputs = n.emit("matmul", x, n.permute(_row(n, w, way), 1, 0))
        if bias is not None:
            inputs = n.emit("add", inputs, _input_bias(n, bias, rows, hidden, whole_bias))
        states = [
            n.filled((batch, hidden), 0, x.type.dtype) if s is None else n.reshape(_row(n, s, way), batch, hidden)
            for s in initial
        ]
        made = _direction(
            n, inputs, states, lengths, weigh(n, way, _row(n, r, way), bias), step, hidden, functions[way],
            attrs["clip"], reverse,
        )  # fmt: skip
        finals.append(made[0])
        ys.append(n.reshape(made[1], steps, 1, batch, hidden))
    return _results(n, ys, finals, attrs["layout"])


def _row(n: Call, x: Ref, way: int) -> Ref:
    """x[way]"""
    return n.reshape(n.cut(x, 0, way, way + 1), *x.type.known[1:])


def _input_bias(n: Call, bias: Ref, rows: int, hidden: int, whole: bool) -> Ref:
    """Wb + Rb, which may be added at once; but the last gate of a GRU has its Rb inside."""
    left, right = n.cut(bias, 0, 0, rows), n.cut(bias, 0, rows, 2 * rows)
    if not whole:
        zero = n.filled((hidden,), 0, bias.type.dtype)
        right = n.emit("concat", n.cut(right, 0, 0, rows - hidden), zero, axis=0)
    return n.emit("add", left, right)


def _results(n: Call, ys: list[Ref], finals: list[list[Ref]], layout: int) -> Made:
    y = ys[0] if len(ys) == 1 else n.emit("concat", *ys, axis=1)
    last: list[Ref] = []
    for states in zip(*finals, strict=True):
        parts = [n.reshape(s, 1, *s.type.known) for s in states]
        last.append(parts[0] if len(parts) == 1 else n.emit("concat", *parts, axis=0))
    if layout:
        return [n.permute(y, 2, 0, 1, 3), *(n.permute(s, 1, 0, 2) for s in last)]
    return [y, *last]


def _plain_weights(n: Call, way: int, r: Ref, bias: Ref | None) -> dict[str, Ref]:
    return {"r": n.permute(r, 1, 0)}


def _gru_weights(n: Call, way: int, r: Ref, bias: Ref | None) -> dict[str, Ref]:
    rows, hidden = n.shape(r)
    rb = n.filled((hidden,), 0, r.type.dtype) if bias is None else n.cut(bias, 0, 2 * rows - hidden, 2 * rows)
    return {
        "r_zr": n.permute(n.cut(r, 0, 0, 2 * hidden), 1, 0),
        "r_h": n.permute(n.cut(r, 0, 2 * hidden, rows), 1, 0),
        "rb_h": rb,
    }


@lowers("RNN")
def _rnn(
    n: Call, x: Ref, w: Ref, r: Ref, b: Ref | None = None, lengths: Ref | None = None, h: Ref | None = None, *,
    activation_alpha: tuple[float, ...] | None = None, activation_beta: tuple[float, ...] | None = None,
    activations: tuple[str, ...] | None = None, clip: float | None = None, direction: str = "forward",
    hidden_size: int | None = None, layout: int = 0,
) -> Made:  # fmt: skip
    """`scan` of f(x W + h R + b)"""
    attrs = {
        "activation_alpha": activation_alpha, "activation_beta": activation_beta, "activations": activations,
        "clip": clip, "direction": direction, "hidden_size": hidden_size, "layout": layout,
    }  # fmt: skip
    return _recurrent(n, RNN, x, w, r, b, lengths, [h], attrs, _plain_weights, _rnn_step)


@lowers("GRU")
def _gru(
    n: Call, x: Ref, w: Ref, r: Ref, b: Ref | None = None, lengths: Ref | None = None, h: Ref | None = None, *,
    activation_alpha: tuple[float, ...] | None = None, activation_beta: tuple[float, ...] | None = None,
    activations: tuple[str, ...] | None = None, clip: float | None = None, direction: str = "forward",
    hidden_size: int | None = None, layout: int = 0, linear_before_reset: int = 0,
) -> Made:  # fmt: skip
    """`scan` of the gated recurrent unit"""
    attrs = {
        "activation_alpha": activation_alpha, "activation_beta": activation_beta, "activations": activations,
        "clip": clip, "direction": direction, "hidden_size": hidden_size, "layout": layout,
    }  # fmt: skip
    step = _gru_step(bool(linear_before_reset))
    return _recurrent(n, GRU, x, w, r, b, lengths, [h], attrs, _gru_weights, step, whole_bias=False)


@lowers("LSTM")
def _lstm(
    n: Call, x: Ref, w: Ref, r: Ref, b: Ref | None = None, lengths: Ref | None = None, h: Ref | None = None,
    c: Ref | None = None, p: Ref | None = None, *, activation_alpha: tuple[float, ...] | None = None,
    activation_beta: tuple[float, ...] | None = None, activations: tuple[str, ...] | None = None,
    clip: float | None = None, direction: str = "forward", hidden_size: int | None = None, input_forget: int = 0,
    layout: int = 0,
) -> Made:  # fmt: skip
    """`scan` of the long short-term memory"""
    attrs = {
        "activation_alpha": activation_alpha, "activation_beta": activation_beta, "activations": activations,
        "clip": clip, "direction": direction, "hidden_size": hidden_size, "layout": layout,
    }  # fmt: skip

    def weights(n: Call, way: int, r: Ref, bias: Ref | None) -> dict[str, Ref]:
        found = _plain_weights(n, way, r, bias)
        if p is not None:
            row, size = _row(n, p, way), n.shape(r)[1]
            found |= {f"p_{gate}": n.cut(row, 0, i * size, (i + 1) * size) for i, gate in enumerate("iof")}
        return found

    step = _lstm_step(bool(input_forget), p is not None)
    return _recurrent(n, LSTM, x, w, r, b, lengths, [h, c], attrs, weights, step)
