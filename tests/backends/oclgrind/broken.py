"""Kernels of ours with one fault each, so that a test can see whether it is found."""

from __future__ import annotations

from typing import Any

import numpy as np

import hetero_kernels as hk
from hetero_launch import Runtime


def _without(text: str, part: str) -> str:
    assert part in text, part
    return text.replace(part, "")


def _fill() -> str:
    """Every item of the last group writes, those behind the end too."""
    return _without(hk.source("fill", {"T": "u32"}), "if (i < n)")


def _rows() -> str:
    """Halves of a team are added while others still write them."""
    names: dict[str, Any] = {"T": "i32", "C": "i32", "U": "i32", "FOLD_WITH": "sum_", "START": "(0)", "TEAM": 64}
    text = hk.source("reduce_rows", names, functions=("arithmetic",))
    start = text.index("if (lane < half_team)")
    return text[:start] + text[start:].replace("BARRIER;", "", 1)


KERNELS = ("past-the-end", "race", "unwritten")


def launch(runtime: Runtime, which: str) -> None:
    """Launch the kernel that is called so."""
    driver, numbers = runtime.driver, np.int32
    if which == "past-the-end":
        bound = driver.kernel(_fill(), "hetero_fill", (128,), (64,))
        given: list[Any] = [np.uint32(7), runtime.pool.take(100 * 4).mem, numbers(100)]
    elif which == "race":
        bound = driver.kernel(_rows(), "hetero_reduce_rows", (64,), (64,))
        x = runtime.upload(np.arange(1000, dtype=np.int32))
        given = [x.mem, runtime.pool.take(4).mem, *map(numbers, (1, 1000, 1, 1000))]
    else:
        bound = driver.kernel(hk.source("sort_runs", SORT), "hetero_sort_runs", (4, 1), (4, 1))
        given = [runtime.pool.take(100 * 4).mem, runtime.pool.take(100 * 4).mem, *map(numbers, (1, 100, 1))]
    for position, value in enumerate(given):
        bound.bind(position, value)
    bound.launch()


SORT: dict[str, str | int] = {"T": "i32", "C": "i32", "PLACES": 0, "DESCENDING": 0, "RUN": 32}
