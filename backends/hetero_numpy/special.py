"""Functions that NumPy lacks, over whole arrays."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from hetero.op import Array


def erf(x: Array, out: Array | None = None) -> Array:
    """2/sqrt(pi) times the integral of exp(-t^2) from 0 to x; within 1 ulp of float32, 4 of float64. By SciPy."""
    if out is None:
        out = np.empty_like(x)
    if x.dtype.itemsize >= 4:
        return _compiled()(x, out=out)
    np.copyto(out, _compiled()(x.astype(np.float32)), casting="unsafe")
    return out


@cache
def _compiled() -> Any:
    """scipy.special.erf, imported when it is first wanted: that takes longer than all else that numpy needs."""
    from scipy.special import erf as compiled

    return compiled
