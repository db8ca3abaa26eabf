"""The nodes of NIR as layers of a spiking network: a table of types, each with what it reads and the layer it makes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hetero.convert.nir_fields import Budget, Fields, Shape
from hetero.op import Array
from hetero.ops.neuron import NEURONS
from hetero.spiking.layers import Layer


@dataclass(frozen=True, slots=True)
class Timing:
    """What NIR leaves open, and the one who reads it must say."""

    dt: float
    rule: str
    reset: str
    strict: bool
    budget: Budget = field(default_factory=Budget)


Make = Callable[[Fields, Shape, Timing], Layer | None]  # (fields, one sample of the input, what is left open)


@dataclass(frozen=True, slots=True)
class Form:
    """A type of node. `optional` fields may be missing; `elementwise` ones have the shape of the input."""

    make: Make
    needed: tuple[str, ...]
    optional: tuple[str, ...] = ()
    elementwise: tuple[str, ...] = ()


# -- neurons --------------------------------------------------------------------------------------------------

NEURON_OF = {"CubaLI": "cuba_li", "CubaLIF": "cuba_lif", "I": "i", "IF": "if", "LI": "li", "LIF": "lif"}
_DEFAULTS = {"v_reset": 0.0, "w_in": 1.0}  # of files written before NIR had the field


def _neuron(f: Fields, x: Shape, timing: Timing) -> Layer | None:
    neuron = NEURONS[NEURON_OF[f.item.kind]]
    parameters: dict[str, Array] = {}
    for p in neuron.parameters:
        value = np.float32(_DEFAULTS[p]) if p in _DEFAULTS and not f.has(p) else f.floats(p)
        if value is None:
            continue
        if p.startswith("tau") and not np.all(value > 0):
            f.refuse(f"{p} holds what is not more than 0 in float32")
        parameters[p] = timing.budget.fill(f, p, np.asarray(value), x)
    attrs: dict[str, Any] = {"dt": timing.dt, "rule": timing.rule}
    if neuron.spikes:
        attrs |= {"reset": timing.reset, "strict": timing.strict, "refractory": 0}
    return Layer(f.name, neuron.name, parameters, attrs)


def _threshold(f: Fields, x: Shape, timing: Timing) -> Layer | None:
    value = f.floats("threshold")
    if value is None:
        return None
    parameters = {"threshold": timing.budget.fill(f, "threshold", value, x)}
    return Layer(f.name, "threshold", parameters, {"strict": timing.strict})


# -- synapses -------------------------------------------------------------------------------------------------


def _dense(f: Fields, x: Shape, timing: Timing) -> Layer | None:
    """Affine and Linear"""
    weight = f.floats("weight", rank=2)
    bias = f.floats("bias", rank=1) if f.has("bias") else None
    if weight is None:
        return None
    parameters = {"weight": weight} | ({} if bias is None else {"bias": bias})
    return Layer(f.name, "synapse_dense", parameters, {"exponent": 0, "saturate": 0})


def _scale(f: Fields, x: Shape, timing: Timing) -> Layer | None:
    value = f.floats("scale")
    if value is None:
        return None
    return Layer(f.name, "synapse_scale", {"scale": timing.budget.fill(f, "scale", value, x)})


def _conv(f: Fields, x: Shape, timing: Timing) -> Layer | None:
    rank = 1 if f.item.kind == "Conv1d" else 2
    weight = f.floats("weight", rank=rank + 2)
    bias = f.floats("bias", rank=1) if f.has("bias") else None
    strides, dilations = f.ints("stride", rank, 1), f.ints("dilation", rank, 1)
    (groups,) = f.ints("groups", 1, 1)
    said = f.shape("input_shape")
    if said is not None and said != x[1:]:
        f.refuse(f"input_shape is {said}, but what comes has shape {x}")
    if weight is None:
        return None
    before, after = _padding(f, weight.shape[2:], strides, dilations)
    parameters = {"weight": weight} | ({} if bias is None else {"bias": bias})
    attrs = {
        "strides": strides, "dilations": dilations, "pads_before": before, "pads_after": after, "groups": groups,
        "exponent": 0, "saturate": 0,
    }  # fmt: skip
    return Layer(f.name, "synapse_conv", parameters, attrs)


def _padding(f: Fields, kernel: Shape, strides: Shape, dilations: Shape) -> tuple[Shape, Shape]:
    """Zeros before and after each axis."""
    said = f.item.fields.get("padding")
    if not isinstance(said, str):
        pads = f.ints("padding", len(kernel), 0)
        return pads, pads
    if said == "same":
        if any(s != 1 for s in strides):
            f.refuse(f"padding 'same' wants a stride of 1, not {strides}")
        return same_padding(kernel, dilations)
    if said != "valid":
        f.refuse(f"padding is 'same', 'valid' or whole numbers, not {said[:20]!r}")
    return (0,) * len(kernel), (0,) * len(kernel)


def same_padding(kernel: Shape, dilations: Shape) -> tuple[Shape, Shape]:
    """As PyTorch's: where a kernel of even size leaves one zero more, it stands after."""
    whole = [d * (k - 1) for k, d in zip(kernel, dilations, strict=True)]
    return tuple(n // 2 for n in whole), tuple(n - n // 2 for n in whole)


# -- between --------------------------------------------------------------------------------------------------


def _pool(f: Fields, x: Shape, timing: Timing) -> Layer | None:
    pads = f.ints("padding", 2, 0)
    attrs = {
        "kernel": f.ints("kernel_size", 2, 1), "strides": f.ints("stride", 2, 1), "pads_before": pads,
        "pads_after": pads, "mean": f.item.kind == "AvgPool2d",
    }  # fmt: skip
    return Layer(f.name, "sum_pool", {}, attrs)


def _flatten(f: Fields, x: Shape, timing: Timing) -> Layer | None:
    said = f.shape("input_type")
    if said is not None and said != x:
        f.refuse(f"input_type is {said}, but what comes has shape {x}")
    attrs = {"rank": len(x), "start": f.one("start_dim", 1), "end": f.one("end_dim", -1)}
    return Layer(f.name, "flatten", {}, attrs)


def _delay(f: Fields, x: Shape, timing: Timing) -> Layer | None:
    value = f.numbers("delay")
    if value is None:
        return None
    with np.errstate(all="ignore"):
        ratio = value.astype(np.float64) / timing.dt
        steps = np.rint(ratio)
        fits = (steps >= 0) & (steps < 2**31) & (np.abs(ratio - steps) <= 1e-6 * np.maximum(steps, 1))
    if not value.size or not fits.all():
        found = value[~fits].reshape(-1)[:3].tolist()
        f.refuse(f"delays of {found} s are no multiples of dt, {timing.dt} s")
        return None
    return Layer(f.name, "delay", {"steps": timing.budget.fill(f, "delay", steps.astype(np.int32), x)})


# -- the table ------------------------------------------------------------------------------------------------


def _of_neuron(kind: str) -> Form:
    names = NEURONS[NEURON_OF[kind]].parameters
    return Form(_neuron, tuple(n for n in names if n not in _DEFAULTS), tuple(_DEFAULTS), names)


_KERNEL = ("weight", "stride", "padding", "dilation", "groups")
_WINDOW = ("kernel_size", "stride", "padding")

FORMS: Mapping[str, Form] = {
    **{kind: _of_neuron(kind) for kind in NEURON_OF},
    "Affine": Form(_dense, ("weight",), ("bias",)),
    "AvgPool2d": Form(_pool, _WINDOW),
    "Conv1d": Form(_conv, _KERNEL, ("bias", "input_shape")),
    "Conv2d": Form(_conv, _KERNEL, ("bias", "input_shape")),
    "Delay": Form(_delay, ("delay",), (), ("delay",)),
    "Flatten": Form(_flatten, (), ("start_dim", "end_dim")),
    "Linear": Form(_dense, ("weight",)),
    "Scale": Form(_scale, ("scale",), (), ("scale",)),
    "SumPool2d": Form(_pool, _WINDOW),
    "Threshold": Form(_threshold, ("threshold",), (), ("threshold",)),
}
TYPES = ("input_type", "output_type")  # of the objects of `nir`: repeated, or follow from the rest


def unknown_fields(f: Fields, form: Form) -> None:
    known = {*form.needed, *form.optional, *TYPES, "metadata"}
    more = sorted(k for k in f.item.fields if k not in known)
    if more:
        f.refuse(f"fields that hetero does not know: {', '.join(map(str, more[:5]))}")


def own_input(f: Fields) -> Shape | None:
    """One sample of the input, as far as the node itself says; anything wrong is told elsewhere."""
    quiet = Fields(f.name, f.item, [])
    form = FORMS[f.item.kind]
    if form.elementwise:
        shapes = [np.shape(f.item.fields[k]) for k in form.elementwise if f.has(k)]
        try:
            return tuple(np.broadcast_shapes(*shapes))
        except ValueError:
            return None
    if f.item.kind in ("Affine", "Linear"):
        weight = quiet.numbers("weight")
        return weight.shape[-1:] if weight is not None and weight.ndim == 2 else None
    if f.item.kind == "Flatten":
        return quiet.shape("input_type")
    said, weight = quiet.shape("input_shape"), quiet.numbers("weight") if f.has("weight") else None
    if said is None or weight is None or weight.ndim < 2:
        return None
    return weight.shape[1] * quiet.ints("groups", 1, 1)[0], *said
