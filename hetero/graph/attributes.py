"""Which values an op's attributes may have: the annotations of its shape rule, as tests on values."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, TypeAlias

import numpy as np

from hetero.dim import Dim
from hetero.graph.ir import Graph, Node
from hetero.op import Op

Kind: TypeAlias = Callable[[object], bool]


def faults(node: Node) -> Iterator[str]:
    """What is wrong with the names and the kinds of a node's attributes."""
    if set(node.attrs) != set(node.op.attrs):
        yield f"{node.label} has attributes {sorted(node.attrs)}, {node.op.name} takes {sorted(node.op.attrs)}"
        return
    for key, kind in kinds(node.op).items():
        if not KINDS[kind](node.attrs[key]):
            yield f"{key} of {node.label} is {node.attrs[key]!r:.80}, not {kind}"


def kinds(op: Op) -> dict[str, str]:
    """Name -> annotation of each attribute; one that the rule does not name has the kind of its default."""
    rule: Any = op.infer.func if isinstance(op.infer, partial) else op.infer
    return {key: rule.__annotations__.get(key, type(default).__name__) for key, default in op.attrs.items()}


def _is_a(*types: type) -> Kind:
    return lambda value: isinstance(value, types)


def _is_int(value: object) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def _is_bool(value: object) -> bool:
    """ONNX's flags are the ints 0 and 1."""
    return isinstance(value, bool | np.bool_) or (_is_int(value) and value in (0, 1))


def _either(*kinds: Kind) -> Kind:
    return lambda value: any(kind(value) for kind in kinds)


def _tuple_of(kind: Kind) -> Kind:
    def is_tuple(value: object) -> bool:
        items: Any = value
        return isinstance(value, tuple) and all(kind(x) for x in items)

    return is_tuple


_float = _either(_is_int, _is_a(float, np.floating))
_none, _size = _is_a(type(None)), _either(_is_int, _is_a(Dim))

# Annotation -> whether a value is one. `Ints` may hold open dimensions: a slice stops at one.
KINDS: Mapping[str, Kind] = {
    "int": _is_int, "int | None": _either(_is_int, _none), "bool": _is_bool, "str": _is_a(str),
    "float": _float, "float | None": _either(_float, _none), "Any": _is_a(Graph), "Attrs": _is_a(Mapping),
    "Axes": _tuple_of(_is_int), "Ints": _tuple_of(_size), "Shape": _tuple_of(_size),
    "tuple[str, ...]": _tuple_of(_is_a(str)),
}  # fmt: skip
