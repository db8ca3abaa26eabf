"""The late rule "onnx": lowers a node as soon as the shapes, and the values it asks for, are known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hetero.convert import onnx_lowerings
from hetero.convert.onnx_late import attempt, unpack
from hetero.errors import HeteroError
from hetero.graph.build import Builder, Ref
from hetero.ops.late import Need

assert onnx_lowerings  # importing it fills the table


def lower(builder: Builder, payload: Mapping[str, Any], refs: Sequence[Ref]) -> Sequence[Ref] | Need:
    """What a late node stands for, or the positions of the inputs whose values it must see."""
    try:
        return attempt(unpack(builder, payload, refs))
    except HeteroError as e:
        raise e.at(f"{payload['op']} {payload['name']}") from None
