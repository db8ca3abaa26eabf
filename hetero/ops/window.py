"""Windows that slide over the spatial axes of (n, c, *s): sizes, and the view that conv and the pools read."""

from __future__ import annotations

from math import prod

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from hetero.dim import Dim, Shape, Size, show
from hetero.errors import AttributeValueError, ShapeError
from hetero.op import Array, TensorType

Ints = tuple[int, ...]


def extent(kernel: int, dilation: int) -> int:
    """Cells that one window spans."""
    return (kernel - 1) * dilation + 1


def check_spatial(name: str, rank: int, positive: dict[str, Ints], other: dict[str, Ints]) -> None:
    """Every attribute has one int for each spatial axis; sizes and steps are 1 or more, widths 0 or more."""
    for group, least in ((positive, 1), (other, 0)):
        for key, values in group.items():
            if len(values) != rank or min(values, default=least) < least:
                raise AttributeValueError(f"{name} wants {rank} {key}, each {least} or more, got {values}")


def out_size(size: Size, kernel: int, stride: int, dilation: int, before: int, after: int, ceil: bool = False) -> Size:
    """How many windows there are; with `ceil` the last may hang over, but not begin behind the data."""
    room = size + (before + after - extent(kernel, dilation))
    if isinstance(room, Dim):
        return room // stride + 1 if not ceil or stride == 1 else -(-room // stride) + 1
    count = (-(-room // stride) if ceil else room // stride) + 1
    if ceil and isinstance(size, int) and (count - 1) * stride >= size + before:
        count -= 1
    return count


def out_sizes(
    name: str,
    x: TensorType,
    kernel: Ints,
    strides: Ints,
    dilations: Ints,
    before: Ints,
    after: Ints,
    ceil: bool = False,
) -> Shape:
    """(n, c, *s) -> sizes of the spatial axes behind the windows"""
    each = zip(x.known[2:], kernel, strides, dilations, before, after, strict=True)
    made = tuple(out_size(n, k, s, d, b, a, ceil) for n, k, s, d, b, a in each)
    if any(isinstance(n, int) and n < 1 for n in made):
        raise ShapeError(
            f"{name}: a window of {kernel}, dilated by {dilations}, does not fit {show(x.known)} padded by "
            f"{before} and {after}"
        )
    return made


def padded(x: Array, before: Ints, after: Ints, value: float) -> Array:
    """x (n, c, *s) with `value` around the spatial axes."""
    if not any((*before, *after)):
        return x
    width = ((0, 0), (0, 0), *zip(before, after, strict=True))
    return np.pad(x, width, constant_values=np.asarray(value, x.dtype))


def windows(x: Array, kernel: Ints, strides: Ints, dilations: Ints) -> Array:
    """(n, c, *s) -> view (n, c, *out, *kernel)"""
    rank = len(kernel)
    spans = tuple(extent(k, d) for k, d in zip(kernel, dilations, strict=True))
    view = sliding_window_view(x, spans, tuple(range(2, 2 + rank)))
    steps = (slice(None),) * 2 + tuple(slice(None, None, s) for s in strides)
    return view[steps + tuple(slice(None, None, d) for d in dilations)]


def columns(x: Array, kernel: Ints, strides: Ints, dilations: Ints, groups: int) -> Array:
    """One sample (c, *s) -> (groups, c / groups * prod(kernel), prod(out)): conv as one matrix product"""
    view = windows(x[None], kernel, strides, dilations)[0]
    rank = len(kernel)
    out = view.shape[1 : 1 + rank]
    order = (0, *range(1 + rank, 1 + 2 * rank), *range(1, 1 + rank))
    return view.transpose(order).reshape(groups, x.shape[0] // groups * prod(kernel), prod(out))
