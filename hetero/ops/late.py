"""Nodes whose meaning needs more than types: the value of an input, or a shape not known yet.

A late node names a rule. When the graph is specialised, the rule is asked again and again, as types and values
become known, until it emits ordinary ops. ONNX's Reshape with a computed shape is the usual case.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, NoReturn, TypeAlias

from hetero import dtype as dt
from hetero.errors import GraphError
from hetero.op import REQUIRED, Array, Attrs, Cost, Op, TensorType, Types, define


@dataclass(frozen=True, slots=True)
class Need:
    """A rule's answer "not yet": the positions of the inputs whose values it must see first."""

    inputs: tuple[int, ...]


# (builder, payload, inputs) -> outputs, or Need: the inputs whose values the rule must see first.
Rule: TypeAlias = Callable[[Any, Attrs, Sequence[Any]], "Sequence[Any] | Need"]

# Where a rule stands, as module:function; imported when a graph that names it is first resolved.
RULES: dict[str, str] = {"onnx": "hetero.convert.onnx_rule:lower"}


def rule(name: str) -> Rule:
    """The rule called `name`; a name that is not in the table is an error, never an import."""
    if name not in RULES:
        raise GraphError(f"no late rule is called {name!r}", hint=f"one of {', '.join(RULES)}")
    module, function = RULES[name].split(":")
    return getattr(import_module(module), function)


def _infer(*types: TensorType, rule: str, payload: Attrs, dtypes: tuple[str, ...]) -> Types:
    """(...) -> not known yet"""
    return tuple(TensorType(None, dt.of(name)) for name in dtypes)


def _reference(*arrays: Array, rule: str, payload: Attrs, dtypes: tuple[str, ...]) -> NoReturn:
    raise GraphError("a late node has no value of its own", hint="graph.specialize(...) first, or graph.run")


def _cost(types: Types, outs: Types, attrs: Attrs) -> Cost:
    raise GraphError("a late node has no cost yet", hint="graph.specialize(...) first")


late = define(
    Op(
        name="late", kind="late", infer=_infer, reference=_reference, cost=_cost,
        attrs={"rule": REQUIRED, "payload": REQUIRED, "dtypes": REQUIRED},
    )
)  # fmt: skip
