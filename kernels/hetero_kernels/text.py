"""The kernel files: what there is, and how one becomes a text that a compiler takes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path

_HERE = Path(__file__).parent
_FUNCTIONS = frozenset(
    {"arithmetic", "batch", "math_f32", "math_f64", "panels", "spiking_events"}
)  # files without a kernel
_MADE_OF = {  # kernel -> files that stand before it
    "conv_panels": ("panels",), "matmul_panels": ("batch", "panels"),
    "matmul": ("batch",), "matmul_int8": ("batch",), "matmul_small": ("batch",),
}  # fmt: skip

ROUNDED = "ROUNDED"  # build-time name, 1 in kernels in which a product is rounded before it is added to


def is_rounded(text: str) -> bool:
    """Whether the text wants that: OpenCL C has a pragma for it, which the header sets; CUDA C only an option."""
    return f"#define {ROUNDED} 1\n" in text


@cache
def _read(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")


@cache
def names() -> tuple[str, ...]:
    """The hand-written kernels, sorted."""
    return tuple(sorted({p.stem for p in _HERE.glob("*.ker")} - _FUNCTIONS))


def prelude(defines: Mapping[str, str | int], *, functions: tuple[str, ...] = ()) -> str:
    """What stands before a kernel: its build-time names, the portability header, the functions it calls."""
    given = {"W": 1, "INDEX": "i32", **defines}
    lines = [f"#define {name} {value}" for name, value in given.items()]
    return "\n".join([*lines, _read("portable.h"), *(_read(f"{name}.ker") for name in functions)])


def source(name: str, defines: Mapping[str, str | int] | None = None, *, functions: tuple[str, ...] = ()) -> str:
    """The whole text of the kernel `name` for the build-time names in `defines`."""
    text = source_of(name)
    return prelude(defines or {}, functions=functions) + "\n" + text


def source_of(name: str) -> str:
    """The text of the kernel `name`, behind its prelude."""
    if name not in names():
        raise KeyError(f"no kernel is called {name!r}; one of {', '.join(names())}")
    return "\n".join(_read(f"{part}.ker") for part in (*_MADE_OF.get(name, ()), name))


def for_large_grids(text: str) -> str:
    """The text for CUDA grids with more groups along the second or third axis than a GPU takes (65535).

    Every kernel then has one more argument, before the others: how many groups there are along the first two axes, as
    two u32. It is launched as one line of groups, the first axis fastest.
    """
    return "#define LARGE_GRID\n" + re.sub(r"(KERNEL \w+\()", r"\1const Grid grid_, ", text)
