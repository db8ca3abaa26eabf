"""Whole networks against ONNX Runtime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from hetero import from_onnx
from hetero.graph.ir import Graph
from hetero.op import Array

LIGHT = sorted((Path(onnx.__file__).parent / "backend/test/data/light").glob("*.onnx"))
TOLERANCE = 1e-4  # relative, of the largest element


def feed_for(graph: Graph, batch: int) -> dict[str, Array]:
    """0, 1/n, 2/n, ... as in ONNX's own runs of the light networks, whose weights are all equal: their logits pass
    1e12, where noise in the input would have the last bit of a sum decide the softmax. Bytes for integers.
    """
    rng = np.random.default_rng(0)
    made: dict[str, Array] = {}
    for name, type in graph.input_types.items():
        shape = tuple(n if isinstance(n, int) else batch for n in type.known)
        count = int(np.prod(shape))
        ramp = np.arange(count).reshape(shape) / count
        made[name] = (rng.integers(0, 256, shape) if type.dtype.kind in "iu" else ramp).astype(type.dtype)
    return made


def assert_agrees(path: Path, batch: int = 1) -> Graph:
    """Every output within TOLERANCE of ONNX Runtime."""
    graph = from_onnx(path)
    feed = feed_for(graph, batch)
    options: Any = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    wanted: Any = onnxruntime.InferenceSession(path, options).run(list(graph.output_types), feed)
    made = graph.run(feed)
    for name, want in zip(graph.output_types, wanted, strict=True):
        assert made[name].shape == want.shape
        assert np.abs(made[name] - want).max() <= TOLERANCE * np.abs(want).max()
    return graph


@pytest.mark.parametrize("path", LIGHT, ids=lambda path: path.stem)
def test_light_networks_agree_with_onnx_runtime(path: Path) -> None:
    graph = assert_agrees(path)
    assert graph.static


def test_all_nine_light_networks_are_here() -> None:
    assert len(LIGHT) == 9


@pytest.mark.parametrize("batch", [1, 3])
def test_magika_agrees_with_onnx_runtime_for_any_batch(batch: int) -> None:
    magika = pytest.importorskip("magika")
    (path,) = Path(magika.__file__).parent.glob("models/standard_v3_3/model.onnx")
    graph = assert_agrees(path, batch)
    assert graph.symbols, "the batch keeps its name"
    assert not any(node.op.kind == "late" for node in graph.nodes), "every node is lowered at import"
