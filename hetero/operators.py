"""The operators of host tensors, the short way: one Python frame, one new object and the ufunc.

They try the ufunc on both buffers. Whatever does not fit (a scalar, another device, a traced tensor, an error) goes
the long way, Tensor's own operator. Counting would cost another 5 to 70 % of NumPy's own time, so it begins when
somebody asks for statistics.
"""

from __future__ import annotations

from types import FunctionType
from typing import Any

import numpy as np

from hetero import counters
from hetero.tensor import SCALARS, Tensor

HOST = "numpy:0"  # the device whose buffers are plain NumPy arrays
NUMPY_2 = int(np.__version__.split(".")[0]) >= 2  # scalars and 0-d arrays promote by dtype alone
_counts = counters.OPS[HOST]


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
made: Any = None  # the class of host tensors
ufunc: Any = None
long_way: Any = None


def _forward(self: Any, other: Any, /) -> Any:
    try:
        out = made()
        out._a = ufunc(self._a, other._a)
        return out
    except Exception:  # not two host tensors, or NumPy refuses: the long way says why
        if other.__class__ in SCALARS and self._a.dtype.kind != "V":  # small floats do not know weak scalars
            try:
                out = made()
                out._a = ufunc(self._a, other)
                return out
            except Exception:
                pass
        return long_way(self, other)


def _reverse(self: Any, other: Any, /) -> Any:
    if other.__class__ in SCALARS and self._a.dtype.kind != "V":
        try:
            out = made()
            out._a = ufunc(other, self._a)
            return out
        except Exception:
            pass
    return long_way(self, other)


def _alone(self: Any, /) -> Any:
    try:
        out = made()
        out._a = ufunc(self._a)
        return out
    except Exception:
        return long_way(self)


def _careful(self: Any, other: Any, /) -> Any:
    """For NumPy 1, where a scalar or an operand of no dimensions promotes by its value: those go the long way."""
    try:
        a, b = self._a, other._a
        if a.ndim and b.ndim:
            out = made()
            out._a = ufunc(a, b)
            return out
    except Exception:
        pass
    return long_way(self, other)


def _copy(template: Any, made: type[Tensor], call: Any, dunder: str) -> Any:
    """The template with `call` for its ufunc, and Tensor's own operator for the long way."""
    names = {"made": made, "SCALARS": SCALARS, "ufunc": call, "long_way": getattr(Tensor, dunder)}
    return FunctionType(template.__code__, names, dunder)


def _counted(name: str, call: Any) -> Any:
    """The ufunc, which also counts its calls for `name`."""

    def counting(*arrays: Any) -> Any:
        out = call(*arrays)
        _counts[name] += 1
        return out

    return counting


def install(host: type[Tensor]) -> None:
    """Put the short operators over those that `host` has from Tensor; counting ones when somebody asks."""
    _install(host, counting=False)
    counters.when_asked(lambda: _install(host, counting=True))


def _install(host: type[Tensor], *, counting: bool) -> None:
    for dunder, (name, plain) in {**BINARY, **UNARY}.items():
        call = _counted(name, plain) if counting else plain
        template = _alone if dunder in UNARY else _forward if NUMPY_2 else _careful
        setattr(host, f"__{dunder}__", _copy(template, host, call, f"__{dunder}__"))
        reverse = f"__r{dunder}__"
        if NUMPY_2 and hasattr(Tensor, reverse):
            setattr(host, reverse, _copy(_reverse, host, call, reverse))
