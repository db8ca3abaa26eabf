"""The parts that every kernel of a region has: its head, where rows begin, loads, steps, stores."""

from __future__ import annotations

from hetero_kernels.region import Region, is_reduction
from hetero_kernels.templates import NEEDS, STORED, expression, family
from hetero_kernels.text import prelude


def defines(lanes: int, index: str, stream: bool, team: int = 1) -> dict[str, str | int]:
    return {"W": lanes, "INDEX": index, "TEAM": team} | ({"STREAM": 1} if stream else {})


def kernel(region: Region, defines: dict[str, str | int], sizes: list[str], body: list[str]) -> str:
    arguments = ", ".join([*reads(region), *writes(region), *sizes])
    return program(region, defines, [f"KERNEL hetero_region({arguments})", "{", *body, "}"])


def program(region: Region, defines: dict[str, str | int], lines: list[str]) -> str:
    """`lines` behind the functions that the region calls."""
    computed = {STORED[region.dtype(i)][1] for i in range(len(region.inputs) + len(region.steps))}
    functions = ["arithmetic", "math_f32", *(["math_f64"] if "f64" in computed else [])]
    head = prelude(defines | ({"HAS_F64": 1} if "f64" in computed else {}), functions=tuple(functions))
    return "\n".join([head, *groups(region), *lines, ""])


def reads(region: Region) -> list[str]:
    """The inputs as arguments."""
    return [
        f"const {STORED[given.dtype][1]} in{i}"
        if given.row == "argument"
        else f"GLOBAL const {STORED[given.dtype][0]} *in{i}"
        for i, given in enumerate(region.inputs)
    ]


def writes(region: Region) -> list[str]:
    """The outputs as arguments."""
    return [f"GLOBAL {STORED[region.dtype(value)][0]} *out{k}" for k, value in enumerate(region.outputs)]


def groups(region: Region) -> list[str]:
    """The function groups of arithmetic.ker that the steps call."""
    wanted: dict[str, None] = {}
    for step in region.steps:
        computed = STORED[step.dtype][1]
        if is_reduction(step):
            wanted[f"COMBINERS({computed})"] = None
        group = NEEDS.get(step.op, {}).get(family(step.dtype))
        if group:
            wanted[f"{group}({computed})"] = None
    return list(wanted)


def grid(region: Region) -> list[str]:
    sizes = [f"const INDEX size{d}" for d in range(region.rank)] if _strided(region) else []
    strides = [f"const INDEX stride{i}_{d}" for i in _strided(region) for d in range(region.rank)]
    return ["const INDEX rows", "const INDEX columns", *sizes, *strides]


def _strided(region: Region) -> list[int]:
    return [i for i, given in enumerate(region.inputs) if given.row == "strided"]


def bases(region: Region) -> list[str]:
    """Where the row begins in each input."""
    lines: list[str] = []
    if strided := _strided(region):
        lines.append("    INDEX rest = row;")
        lines += [f"    INDEX base{i} = 0;" for i in strided]
        for d in reversed(range(region.rank)):
            lines.append(f"    const INDEX index{d} = rest % size{d}; rest /= size{d};")
            lines += [f"    base{i} += index{d} * stride{i}_{d};" for i in strided]
    for i, given in enumerate(region.inputs):
        if given.row == "each":
            lines.append(f"    const INDEX base{i} = row{' * columns' if given.wide else ''};")
        elif given.row == "same":
            lines.append(f"    const INDEX base{i} = 0;")
    return lines


def load(region: Region, i: int, at: str) -> str:
    """The vector `v<i>` of an input; flat kernels have no bases."""
    given = region.inputs[i]
    stored, computed = STORED[given.dtype]
    if given.row == "argument":
        return f"const {computed}v v{i} = SPLAT({computed}, in{i});"
    base = f"base{i}" if region.rank else "0"
    if given.wide:
        return f"const {computed}v v{i} = LOAD({stored}, in{i}, {base} + {at});"
    return f"const {computed}v v{i} = LOAD_ONE({stored}, in{i}, {base});"


def compute(region: Region, n: int) -> str:
    """The vector of step `n`."""
    step = region.steps[n]
    text = expression(
        step.op, tuple(f"v{i}" for i in step.inputs), tuple(region.dtype(i) for i in step.inputs), step.dtype
    )
    assert text is not None
    return f"const {STORED[step.dtype][1]}v v{len(region.inputs) + n} = {text};"


def store(region: Region, k: int, value: int, at: str) -> str:
    return f"STORE({STORED[region.dtype(value)][0]}, out{k}, {at}, v{value});"


def store_some(region: Region, k: int, value: int) -> str:
    return f"STORE_SOME({STORED[region.dtype(value)][0]}, out{k}, row * columns + at, v{value}, columns - at);"


def store_one(region: Region, k: int, value: int, at: str) -> str:
    """One number, from the first lane of a row value."""
    return f"STORE_ONE({STORED[region.dtype(value)][0]}, out{k}, {at}, v{value});"
