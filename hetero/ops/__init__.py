"""The op table: importing this fills `hetero.op.OPS`."""

from hetero.ops import (
    bits,
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
    "bits",
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
