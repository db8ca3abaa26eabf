"""What one kernel is made of, as plain data.

The values of a region are numbered: the inputs first, then each step's result.
"""

from __future__ import annotations

from dataclasses import dataclass

from hetero_kernels.templates import expression, identity

# Functions that take longer than a load from the nearest cache: a later sweep over the row reads what they gave.
LONG = frozenset({
    "exp", "expm1", "log", "log1p", "log2", "log10", "logaddexp", "power", "sin", "cos", "tan", "asin", "acos", "atan",
    "atan2", "sinh", "cosh", "tanh", "asinh", "acosh", "atanh", "erf",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Input:
    """A value from outside.

    `row`: where its row r begins: "each" r times its width, "same" 0, "strided" by strides over the outer axes;
    "argument" is no buffer but a number given at the launch. `wide`: it has a column for each of the region's.
    """

    dtype: str
    row: str = "each"
    wide: bool = True


@dataclass(frozen=True, slots=True)
class Step:
    """One op: inputs by number, the dtype of its result. `wide` is false for one number a row."""

    op: str
    inputs: tuple[int, ...]
    dtype: str
    wide: bool = True


@dataclass(frozen=True, slots=True)
class Region:
    """What one kernel computes. `rank` counts the axes that rows are numbered by, for "strided" inputs."""

    inputs: tuple[Input, ...]
    steps: tuple[Step, ...]
    outputs: tuple[int, ...]
    rank: int = 1

    def dtype(self, value: int) -> str:
        n = len(self.inputs)
        return self.inputs[value].dtype if value < n else self.steps[value - n].dtype

    def wide(self, value: int) -> bool:
        n = len(self.inputs)
        return self.inputs[value].wide if value < n else self.steps[value - n].wide


def takes_long(region: Region) -> bool:
    """Whether a vector's work is longer than its way from the nearest cache."""
    return any(step.op in LONG for step in region.steps)


def missing(region: Region) -> str:
    """Why there is no kernel for the region, or nothing."""
    for step in region.steps:
        dtypes = tuple(region.dtype(i) for i in step.inputs)
        if is_reduction(step):
            if identity(step.op, step.dtype) is None:
                return f"{step.op} of {step.dtype} has no kernel text"
        elif expression(step.op, ("x",) * len(dtypes), dtypes, step.dtype) is None:
            return f"{step.op} of {', '.join(dtypes)} has no kernel text"
    return ""


def is_reduction(step: Step) -> bool:
    return step.op in ("sum", "prod", "max", "min", "any", "all")
