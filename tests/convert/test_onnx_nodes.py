"""ONNX's own node suite: every case passes, or is refused with the reason; none gives a wrong answer.

pytest tests/convert/test_onnx_nodes.py -s                    # numpy; the refusals by reason
HETERO_BACKEND=opencl HETERO_FALLBACK=allow pytest tests/convert/test_onnx_nodes.py -s
"""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx.backend.test.loader import load_model_tests

import hetero.testing.onnx_backend as backend
from hetero import config
from hetero.errors import HeteroError
from hetero.op import Array

FLOOR = 1780  # cases that pass
DRAWN = "test_bernoulli"
CASES = 1884  # of onnx 1.23


def cases() -> list[Any]:
    """The cases; making some of them warns, which is not ours to mend."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return load_model_tests(kind="node")


def as_array(value: Any) -> Any:
    """Cases hold arrays, but TensorProtos for dtypes that NumPy lacks, and lists for sequences."""
    if isinstance(value, onnx.TensorProto):
        return onnx.numpy_helper.to_array(value)
    return value if isinstance(value, list) or value is None else np.asarray(value)


def difference(made: Array, wanted: Array, case: Any) -> str:
    """What tells the answer from the wanted one; nothing when they agree.

    Drawn numbers agree in dtype and shape; 16-bit floats to the last place of the largest element: a
    backend may keep more digits between the ops of a fused region than the suite did.
    """
    if (made.dtype, made.shape) != (wanted.dtype, wanted.shape):
        return f"{made.dtype}{made.shape} where {wanted.dtype}{wanted.shape} is wanted"
    if case.name.startswith(DRAWN):
        return ""
    if wanted.dtype.kind in "biu":
        return "" if np.array_equal(made, wanted) else "other integers"
    last_place = float(ml_dtypes.finfo(wanted.dtype).eps) if wanted.dtype.itemsize == 2 else 0.0
    if wanted.dtype.kind != "c":
        made, wanted = made.astype(np.float64), wanted.astype(np.float64)
    finite = np.abs(wanted[np.isfinite(wanted)])
    if np.allclose(made, wanted, case.rtol, case.atol + last_place * finite.max(initial=0.0), equal_nan=True):
        return ""
    return f"differs by up to {np.nanmax(np.abs(made - wanted)):.3g}"


def outcome(case: Any) -> tuple[str, str]:
    """("pass" | "refused" | "wrong", what there is to say)"""
    try:
        model = backend.prepare(case.model)
        for inputs, outputs in case.data_sets:
            made = model.run([as_array(x) for x in inputs])
            wanted = [as_array(x) for x in outputs]
            if len(made) != len(wanted):
                return "wrong", f"{len(made)} outputs, {len(wanted)} wanted"
            said = [difference(m, np.asarray(w), case) for m, w in zip(made, wanted, strict=True)]
            if any(said):
                return "wrong", "; ".join(filter(None, said))
    except HeteroError as e:
        return "refused", reason(e)
    return "pass", ""


def reason(e: HeteroError) -> str:
    """The message without the names that differ from case to case."""
    lines = [line for line in e.problem.splitlines() if line.strip()]
    return lines[-1].split(": ", 1)[-1] if len(lines) > 1 else lines[0].split("' is ", 1)[-1]


def listed(found: dict[str, list[str]]) -> Iterator[str]:
    for why, names in sorted(found.items(), key=_count, reverse=True):
        yield f"{len(names):5}  {why[:90]}: {', '.join(names[:3])}{', ...' if len(names) > 3 else ''}"


def _count(item: tuple[str, Sequence[str]]) -> int:
    return len(item[1])


def test_the_node_suite_passes_or_is_refused_and_nothing_is_wrong() -> None:
    sorted_out: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    everything = cases()
    if len(everything) < CASES:
        pytest.skip(f"the suite of onnx {onnx.__version__} has answers that later ones corrected; pip install -U onnx")
    for case in everything:
        kind, why = outcome(case)
        sorted_out[kind][why].append(case.name)
    passed = len(sorted_out["pass"][""])
    refused = sum(map(len, sorted_out["refused"].values()))
    print(f"\n{', '.join(config.backend())}: {passed} of {len(everything)} pass, {refused} are refused:")
    print("\n".join(listed(sorted_out["refused"])))
    wrong = "\n".join(listed(sorted_out["wrong"]))
    if wrong:
        pytest.fail(f"wrong answers:\n{wrong}")
    assert passed >= FLOOR
