"""The operators of device tensors, the short way: for operands of types that were met before, straight to the launch.

The long way finds the program of an op by its types, attributes, device and policy. A backend that can launch it in one
call gives that call (`Program.direct`). It is remembered here under the identities of the operands' types, one object
for each shape and dtype, and runs without anything being looked at again. What was not met goes the long way.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from types import FunctionType
from typing import Any

from hetero import counters
from hetero.op import TensorType
from hetero.operators import BINARY, UNARY
from hetero.spi import Buffer, Device
from hetero.tensor import Tensor

MOST = 4096  # calls remembered; then all are forgotten, and met again


@dataclass(frozen=True, slots=True)
class Met:
    """A call that was met: its launch, and what it gives. `kinds` keeps the types alive that its key is made of."""

    run: Callable[..., Buffer]
    kind: TensorType
    kinds: tuple[TensorType, ...]
    device: Device
    counts: Counter[str]


_met: dict[tuple[Any, ...], Met] = {}
_kinds: dict[TensorType, TensorType] = {}


def kind_of(type: TensorType) -> TensorType:
    """The one object that stands for equal types."""
    if len(_kinds) > MOST and type not in _kinds:
        _kinds.clear()  # types that are still referred to stay right: they are merely met again under new ones
    return _kinds.setdefault(type, type)


def learn(
    name: str, kinds: tuple[TensorType, ...], device: Device, run: Callable[..., Buffer], kind: TensorType
) -> None:
    """From now on `name` of tensors of these types runs as `run`."""
    if len(_met) >= MOST:
        _met.clear()
    key = (name, *map(id, kinds), id(device))
    _met[key] = Met(run, kind, kinds, device, counters.OPS[device.name])


def forget() -> None:
    """For tests that put devices in and out."""
    _met.clear()


# Templates, as in hetero.operators: each op has a copy of its own with these names.
fresh: Any = None  # an empty device tensor
met: dict[tuple[Any, ...], Met] = _met
op: str = ""
long_way: Any = None


def _forward(self: Any, other: Any, /) -> Any:
    try:
        device = self._device
        if other._device is device:
            found = met[op, id(self._kind), id(other._kind), id(device)]
            out = fresh()
            out._buffer = found.run(self._buffer, other._buffer)
            out._kind, out._device = found.kind, device
            found.counts[op] += 1
            return out
    except (KeyError, AttributeError):  # not met, or no device tensor
        pass
    return long_way(self, other)


def _alone(self: Any, /) -> Any:
    try:
        device = self._device
        found = met[op, id(self._kind), id(device)]
        out = fresh()
        out._buffer = found.run(self._buffer)
        out._kind, out._device = found.kind, device
        found.counts[op] += 1
        return out
    except KeyError:
        return long_way(self)


def install(kind: type[Tensor]) -> None:
    """Put the short operators over those that `kind` has from Tensor."""

    empty = partial(object.__new__, kind)
    for dunder, (name, _) in {**BINARY, **UNARY}.items():
        if dunder == "matmul":
            continue  # of vectors it is more than the op
        template = _alone if dunder in UNARY else _forward
        names = {"fresh": empty, "met": _met, "op": name, "id": id, "KeyError": KeyError,
                 "AttributeError": AttributeError, "long_way": getattr(Tensor, f"__{dunder}__")}  # fmt: skip
        setattr(kind, f"__{dunder}__", FunctionType(template.__code__, names, f"__{dunder}__"))
