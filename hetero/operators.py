"""The operators of host tensors, the short way: one Python frame, one new object and the ufunc.

They try the ufunc on both buffers. Whatever does not fit (a scalar, another device, a traced tensor, an error) goes
the long way, Tensor's own operator.

New tensors come from an iterator of C, `starmap(HostTensor, repeat((), MANY))`: the length that `repeat` has left
says how many were taken, so that every call is counted at the price of making the tensor (docs/design.md, lessons).
"""

from __future__ import annotations

from itertools import repeat, starmap
from types import FunctionType
from typing import Any

import numpy as np

from hetero import counters
from hetero.tensor import SCALARS, Tensor

HOST = "numpy:0"  # the device whose buffers are plain NumPy arrays
NUMPY_2 = int(np.__version__.split(".")[0]) >= 2  # scalars and 0-d arrays promote by dtype alone


def _matmul(a: Any, b: Any) -> Any:
    """NumPy's product, but for the small floats, of which it gives float32."""
    if a.dtype.kind == "V" or b.dtype.kind == "V":
        raise TypeError
    return np.matmul(a, b)


BINARY: dict[str, tuple[str, Any]] = {
    "add": ("add", np.add), "sub": ("subtract", np.subtract), "mul": ("multiply", np.multiply),
    "truediv": ("divide", np.true_divide), "mod": ("remainder", np.remainder), "pow": ("power", np.power),
    "and": ("bitwise_and", np.bitwise_and), "or": ("bitwise_or", np.bitwise_or),
    "xor": ("bitwise_xor", np.bitwise_xor), "lshift": ("left_shift", np.left_shift),
    "rshift": ("right_shift", np.right_shift), "matmul": ("matmul", _matmul), "lt": ("less", np.less),
    "le": ("less_equal", np.less_equal), "gt": ("greater", np.greater), "ge": ("greater_equal", np.greater_equal),
    "eq": ("equal", np.equal), "ne": ("not_equal", np.not_equal),
}  # fmt: skip
UNARY: dict[str, tuple[str, Any]] = {
    "neg": ("negative", np.negative), "abs": ("abs", np.absolute), "invert": ("bitwise_invert", np.invert),
}  # fmt: skip


# Templates of the operators. Each op has a copy of its own in which these three names are its own: a global is
# read faster than a variable of an enclosing function. Here every 10 ns show: see benchmarks/bench_eager.py.
fresh: Any = None  # gives a new host tensor, and so counts
ufunc: Any = None
long_way: Any = None


def _forward(self: Any, other: Any, /) -> Any:
    try:
        array = ufunc(self._a, other._a)
        out = next(fresh)
        out._a = array
        return out
    except Exception:  # not two host tensors, or NumPy refuses: the long way says why
        if other.__class__ in SCALARS and self._a.dtype.kind != "V":  # small floats do not know weak scalars
            try:
                array = ufunc(self._a, other)
                out = next(fresh)
                out._a = array
                return out
            except Exception:
                pass
        return long_way(self, other)


def _reverse(self: Any, other: Any, /) -> Any:
    if other.__class__ in SCALARS and self._a.dtype.kind != "V":
        try:
            array = ufunc(other, self._a)
            out = next(fresh)
            out._a = array
            return out
        except Exception:
            pass
    return long_way(self, other)


def _alone(self: Any, /) -> Any:
    try:
        array = ufunc(self._a)
        out = next(fresh)
        out._a = array
        return out
    except Exception:
        return long_way(self)


def _careful(self: Any, other: Any, /) -> Any:
    """For NumPy 1, where a scalar or an operand of no dimensions promotes by its value: those go the long way."""
    try:
        a, b = self._a, other._a
        if a.ndim and b.ndim:
            array = ufunc(a, b)
            out = next(fresh)
            out._a = array
            return out
    except Exception:
        pass
    return long_way(self, other)


MANY = 1 << 62  # more calls than any process makes; `repeat` counts down from it


def _counting(host: type[Tensor], name: str) -> Any:
    """An iterator of new tensors of class `host`, entered as what counts op `name`."""
    left = repeat((), MANY)
    counters.add_source(HOST, name, lambda: MANY - left.__length_hint__())
    return starmap(host, left)


def _copy(template: Any, fresh: Any, call: Any, dunder: str) -> Any:
    """The template with `call` for its ufunc, and Tensor's own operator for the long way."""
    names = {"fresh": fresh, "next": next, "SCALARS": SCALARS, "ufunc": call, "long_way": getattr(Tensor, dunder)}
    return FunctionType(template.__code__, names, dunder)


def install(host: type[Tensor]) -> None:
    """Put the short operators over those that `host` has from Tensor."""
    for dunder, (name, call) in {**BINARY, **UNARY}.items():
        fresh = _counting(host, name)
        template = _alone if dunder in UNARY else _forward if NUMPY_2 else _careful
        setattr(host, f"__{dunder}__", _copy(template, fresh, call, f"__{dunder}__"))
        reverse = f"__r{dunder}__"
        if NUMPY_2 and hasattr(Tensor, reverse):
            setattr(host, reverse, _copy(_reverse, fresh, call, reverse))
