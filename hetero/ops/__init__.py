"""The op table: importing this fills `hetero.op.OPS`."""

from hetero.ops import (
    bits,
    control,
    conv,
    cumulative,
    elementwise,
    fft,
    indexing,
    late,
    linalg,
    matrix,
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
    "fft",
    "indexing",
    "late",
    "linalg",
    "matrix",
    "movement",
    "nn",
    "pool",
    "random",
    "reduction",
    "sorting",
]
