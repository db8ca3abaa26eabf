"""Runs ops and graphs on the device in use, counts what happened, and moves data when it must."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from threading import RLock
from typing import Any, NamedTuple

import numpy as np

from hetero import config, counters
from hetero.compile import Program, compile
from hetero.errors import BackendError, DTypeError, GraphError
from hetero.graph.build import Builder
from hetero.graph.ir import Graph, bind_sizes, canonical
from hetero.op import Array, Attrs, Op, TensorType, Types
from hetero.select import current_device, device_of, on_host
from hetero.spi import Buffer, Device
from hetero.stages import run_in_stages
from hetero.transfer import download, upload

PROGRAMS = 1024  # compiled eager ops kept
SHAPES = 32  # compiled specialisations kept for each graph

_programs: OrderedDict[Any, Program] = OrderedDict()
_lock = RLock()


def call(
    op: Op, buffers: Sequence[Buffer], types: Types, attrs: Attrs, device: Device
) -> tuple[tuple[Buffer, ...], Types]:
    """One op on buffers of `device`, compiled once for its types and attributes."""
    full = op.complete(attrs)
    policy = config.fallback()
    key = (op.name, types, canonical(full), device, policy)
    with _lock:
        program = _programs.get(key)
        if program is not None:
            _programs.move_to_end(key)
    if program is None:
        builder = Builder(op.name, track=False)
        refs = [builder.input(f"in{i}", t) for i, t in enumerate(types)]
        outs = builder.emit(op, refs, full)
        if any(r.type.shape is None for r in outs):
            return _call_on_host(op, buffers, types, full, device, policy)
        program = compile(builder.build(outs), device, policy)
        with _lock:
            _programs[key] = program
            while len(_programs) > PROGRAMS:
                _programs.popitem(last=False)
    return program(*buffers), tuple(program.graph.output_types.values())


def direct(op: Op, types: Types, device: Device) -> Callable[..., Buffer] | None:
    """The one launch that `call` of an op without attributes has come to, for these types; None where it is more."""
    program = _programs.get((op.name, types, canonical(op.complete({})), device, config.fallback()))
    return None if program is None else program.direct


def _call_on_host(
    op: Op, buffers: Sequence[Buffer], types: Types, attrs: Attrs, device: Device, policy: str
) -> tuple[tuple[Buffer, ...], Types]:
    """An op whose output shape depends on values: by its reference, on the host."""
    if not on_host(device):
        reason = f"the shape of what {op.name} gives depends on the values"
        if policy == "error":
            raise BackendError(
                f"{device} cannot run {op.name}: {reason}", hint="HETERO_FALLBACK=allow runs it on the host"
            )
        counters.count_fallback(counters.Fallback(op.name, device.name, "numpy:0", reason))
    arrays = tuple(download(b, t, device) for b, t in zip(buffers, types, strict=True))
    made = op.evaluate(arrays, attrs)
    counters.count(op.name, "numpy:0")
    outs = tuple(TensorType(a.shape, a.dtype) for a in made)
    return tuple(a if device.host else upload(a, device) for a in made), outs


def run(graph: Graph, feed: Mapping[str, Any], device: str | Device | None = None) -> dict[str, Array]:
    """`graph.run`: NumPy arrays in and out, by name."""
    target = device_of(device)
    again: _Again | None = graph.__dict__.get("_again")
    if again is None or not again.fits(feed, target):
        arrays = check_feed(graph, feed)
        program = program_for(graph, {n: a.shape for n, a in arrays.items()}, target)
        if program is None:
            return run_in_stages(graph, arrays, target, config.fallback())
        inputs = tuple((n, a.shape, a.dtype) for n, a in arrays.items())
        again = _Again(target, config.fallback(), inputs, program, tuple(program.graph.output_types.items()))
        graph.__dict__["_again"] = again
        feed = arrays
    outs = again.program(*[upload(feed[n], target) for n, _, _ in again.inputs])
    return {n: download(b, t, target) for b, (n, t) in zip(outs, again.outputs, strict=True)}


class _Again(NamedTuple):
    """A run of a graph, for the next one like it: behind a network of milliseconds, which leaves nothing of ours in the
    caches, to check and to look up again takes 0.2 of them."""

    device: Device
    policy: str
    inputs: tuple[tuple[str, tuple[int, ...], Any], ...]  # name, shape, dtype
    program: Program
    outputs: tuple[tuple[str, TensorType], ...]

    def fits(self, feed: Mapping[str, Any], device: Device) -> bool:
        """Whether `feed` is arrays of the same names, shapes and dtypes, for the same device."""
        if device is not self.device or len(feed) != len(self.inputs) or config.fallback() != self.policy:
            return False
        for name, shape, dtype in self.inputs:
            array = feed.get(name)
            if type(array) is not np.ndarray or array.shape != shape or array.dtype != dtype:
                return False
        return True


def program_for(graph: Graph, shapes: Mapping[str, tuple[int, ...]], device: Device) -> Program | None:
    """The graph compiled for inputs of these shapes, from the cache where it was before; None: it needs values."""
    cache: OrderedDict[Any, Program | None] = graph.__dict__.setdefault("_programs", OrderedDict())
    key = (tuple(shapes.items()), device, config.fallback())
    with _lock:
        if key in cache:
            cache.move_to_end(key)
            return cache[key]
    sizes = bind_sizes(graph.input_types, shapes)
    special = graph.specialize(sizes) if sizes or not graph.static else graph
    program = compile(special, device) if special.static else None
    with _lock:
        cache[key] = program
        while len(cache) > SHAPES:
            cache.popitem(last=False)
    return program


def check_feed(graph: Graph, feed: Mapping[str, Any]) -> dict[str, Array]:
    """The inputs as arrays in the graph's order; every missing, unknown or mistyped one reported at once."""
    wanted = graph.input_types
    missing, unknown = [n for n in wanted if n not in feed], [n for n in feed if n not in wanted]
    if missing or unknown:
        said = [f"missing {', '.join(map(repr, missing))}"] * bool(missing)
        said += [f"unknown {', '.join(map(repr, unknown))}"] * bool(unknown)
        raise GraphError(f"inputs of {graph.name}: {'; '.join(said)}", hint=f"it takes {', '.join(wanted)}")
    arrays = {name: _as_array(feed[name], type) for name, type in wanted.items()}
    wrong = [
        f"{n!r} wants {wanted[n].dtype.name}, got {a.dtype.name}"
        for n, a in arrays.items()
        if a.dtype != wanted[n].dtype
    ]
    if wrong:
        raise DTypeError(f"inputs of {graph.name}: {'; '.join(wrong)}", hint="convert it: array.astype('...')")
    return arrays


def _as_array(value: Any, type: TensorType) -> Array:
    """Arrays keep their dtype; Python numbers and lists take the input's."""
    if isinstance(value, np.ndarray | np.generic) or hasattr(value, "__array__"):
        return np.asarray(value)
    try:
        return np.asarray(value, type.dtype)
    except (TypeError, ValueError, OverflowError) as e:
        raise DTypeError(f"{value!r:.80} is no {type}: {e}") from e


__all__ = ["call", "check_feed", "current_device", "device_of", "download", "program_for", "run", "upload"]
