"""Elementwise ops that a kernel applies to its own results, before it stores them."""

from __future__ import annotations

from collections.abc import Mapping

from hetero_kernels.parts import compute, groups
from hetero_kernels.region import Input, Region
from hetero_kernels.templates import STORED
from hetero_kernels.text import prelude, source_of

CHANNEL = "channel"  # `row` of an input that has one number for each channel: for a vector of results one
COLUMN = "column"  # one for each column: for a vector of results as many


def followed(name: str, defines: Mapping[str, str | int], region: Region) -> str:
    """The text of the kernel `name` that stores what `region` makes of its results.

    The region's value 0 is the result. Of its other inputs, which follow as arguments, "each" has an element for each
    of the results, "channel" one a channel, "column" one a column, "same" one number, and "argument" is a number given
    at the launch.
    """
    computed = {STORED[region.dtype(i)][1] for i in range(len(region.inputs) + len(region.steps))}
    wide = {"HAS_F64": 1} if "f64" in computed else {}
    functions = ("arithmetic", "math_f32", *(["math_f64"] if wide else []))
    head = prelude({**defines, **wide}, functions=functions)
    return "\n".join([head, *groups(region), _call(region), _arguments(region), source_of(name)])


def _arguments(region: Region) -> str:
    """MORE_ARGUMENTS as they are declared, and THEN, which hands them on."""
    declared = "".join(f", {_declared(i, region.inputs[i])}" for i in range(1, len(region.inputs)))
    names = "".join(f", in{i}" for i in range(1, len(region.inputs)))
    return f"#define MORE_ARGUMENTS {declared}\n#define THEN(value, place, nth) hetero_then(value, place, nth{names})"


def _declared(i: int, given: Input) -> str:
    stored, computed = STORED[given.dtype]
    return f"const {computed} in{i}" if given.row == "argument" else f"GLOBAL const {stored} *in{i}"


def _call(region: Region) -> str:
    """The region as a function of the kernel's result, of where it lies, and of the other inputs."""
    (out,) = region.outputs
    stored, computed = STORED[region.dtype(out)][0], STORED[region.dtype(0)][1]
    inputs = "".join(f", {_declared(i, region.inputs[i])}" for i in range(1, len(region.inputs)))
    return "\n".join([
        f"INLINE {stored}v hetero_then({computed}v v0, const INDEX place, const INDEX nth{inputs})",
        "{",
        *(f"    {_loaded(i, region.inputs[i])}" for i in range(1, len(region.inputs))),
        *(f"    {compute(region, n)}" for n in range(len(region.steps))),
        f"    return ENCODE({stored}, v{out});",
        "}",
    ])  # fmt: skip


def _loaded(i: int, given: Input) -> str:
    stored, computed = STORED[given.dtype]
    if given.row == "argument":
        return f"const {computed}v v{i} = SPLAT({computed}, in{i});"
    if given.row in _WHERE:
        return f"const {computed}v v{i} = LOAD({stored}, in{i}, {_WHERE[given.row]});"
    return f"const {computed}v v{i} = LOAD_ONE({stored}, in{i}, {'nth' if given.row == CHANNEL else '0'});"


_WHERE = {"each": "place", COLUMN: "nth"}  # from where on a vector of an input is read
