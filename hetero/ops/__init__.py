"""The op table: importing this fills `hetero.op.OPS`."""

from hetero.ops import (
    control,
    conv,
    cumulative,
    elementwise,
    indexing,
    late,
    linalg,
    movement,
    nn,
    pool,
    random,
    reduction,
    sorting,
)

__all__ = [
    "control",
    "conv",
    "cumulative",
    "elementwise",
    "indexing",
    "late",
    "linalg",
    "movement",
    "nn",
    "pool",
    "random",
    "reduction",
    "sorting",
]
