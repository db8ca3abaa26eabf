"""Calls that may have to wait: tried at once, kept as a late node of plain data, unpacked and tried again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hetero.convert.onnx_call import Call, Entry, Symbolic, Wait, find, is_symbolic
from hetero.errors import GraphError, HeteroError, ModelError, ShapeError
from hetero.graph.build import Builder, Ref
from hetero.op import OPS
from hetero.ops.late import Need

_ATTR, _CAPTURED = "attr.", "captured."


def attempt(call: Call) -> tuple[Ref, ...] | Need:
    """The node's outputs, one for each output of the node; a Need while something is open."""
    entry = entry_of(call)
    types = tuple(r.type for r in call.refs)
    if any(r.type.shape is None and r.index not in call.symbolic for r in call.refs):
        return Need(())
    try:
        with np.errstate(all="ignore"):
            made = entry.function(call, *call.inputs, **call.attrs)  # pyright: ignore[reportOptionalCall]
    except Wait as wait:
        return Need(wait.positions)
    except (ShapeError, GraphError):
        if is_symbolic(types):  # perhaps only because a named dimension has no value yet
            return Need(())
        raise
    except HeteroError:
        raise
    except (ArithmeticError, LookupError, TypeError, ValueError) as e:  # the net below the lowerings' own checks
        raise ModelError(f"the inputs do not fit the operator: {e}") from e
    return _as_outputs(call, (made,) if isinstance(made, Ref) else tuple(made))


def entry_of(call: Call) -> Entry:
    """The table's entry for a node; a node that has none is refused."""
    entry = find(call.op, call.domain, call.opset)
    if entry is None or entry.function is None:
        raise ModelError(entry.reason if entry else f"{call.op} is not covered")
    return entry


def _as_outputs(call: Call, made: tuple[Ref | None, ...]) -> tuple[Ref, ...]:
    """An output that nobody named gets an empty stand-in; one that somebody named must be there."""
    padded = (*made, *(None,) * (len(call.outputs) - len(made)))[: len(call.outputs)]
    missing = [i for i, (ref, named) in enumerate(zip(padded, call.outputs, strict=True)) if named and ref is None]
    if missing:
        raise ModelError(f"output {', '.join(map(str, missing))} is not covered")
    return tuple(call.constant(np.zeros(0, np.float32)) if r is None else r for r in padded)


# -- to and from plain data ---------------------------------------------------------------------------------


def postpone(call: Call, dtypes: tuple[str, ...]) -> tuple[Ref, ...]:
    """A late node for a call that cannot be lowered yet."""
    attrs = {"rule": "onnx", "payload": pack(call), "dtypes": dtypes}
    return call.emit.emit(OPS["late"], call.refs, attrs)


def pack(call: Call) -> dict[str, Any]:
    """The call without its values, as plain data: None, bool, int, float, str, tuples, arrays, graphs."""
    present = iter(range(len(call.inputs)))
    plain: dict[str, Any] = {
        "op": call.op,
        "domain": call.domain,
        "opset": call.opset,
        "slots": tuple(-1 if r is None else next(present) for r in call.inputs),
        "outputs": call.outputs,
        "name": call.name,
    }
    plain |= {_ATTR + k: v for k, v in call.attrs.items()}
    return plain | {_CAPTURED + k: v for k, v in call.captured.items()}


def unpack(builder: Builder, payload: Mapping[str, Any], refs: Sequence[Ref], symbolic: Symbolic | None = None) -> Call:
    """The call that `pack` packed, with values again."""
    slots = payload["slots"]
    return Call(
        builder,
        payload["op"],
        payload["domain"],
        payload["opset"],
        tuple(None if i < 0 else refs[i] for i in slots),
        tuple(payload["outputs"]),
        {k[len(_ATTR) :]: v for k, v in payload.items() if k.startswith(_ATTR)},
        tuple(refs[sum(i >= 0 for i in slots) :]),
        {k[len(_CAPTURED) :]: tuple(v) for k, v in payload.items() if k.startswith(_CAPTURED)},
        payload["name"],
        {} if symbolic is None else symbolic,
    )
