"""Whole models: a real network on each backend, against ONNX Runtime in the same run."""

from __future__ import annotations

from typing import Any

import numpy as np

import hetero as ht
from benchmarks.ratio import ratio
from hetero import registry
from hetero.cli.magika_model import open_model


class Magika:
    """The demo's network on one file: 95 ONNX nodes, 0.5 GFLOP."""

    params = (["numpy", "opencl"],)
    param_names = ("backend",)
    timeout = 300.0  # seconds

    def setup(self, name: str) -> None:
        try:
            self.device = registry.find(name).name
        except ht.BackendError as e:
            raise NotImplementedError(str(e)) from e  # asv's word for: skip
        import onnxruntime

        model = open_model()
        self.graph = model.graph
        self.x = np.random.default_rng(0).integers(0, 256, (1, 2048)).astype("int32")
        options: Any = onnxruntime.SessionOptions()
        self.session = onnxruntime.InferenceSession(str(model.path), options, providers=["CPUExecutionProvider"])
        self._hetero()

    def _hetero(self) -> None:
        self.graph.run({"bytes": self.x}, device=self.device)

    def _onnxruntime(self) -> None:
        self.session.run(None, {"bytes": self.x})

    def time_inference(self, name: str) -> None:
        self._hetero()

    def track_onnxruntime_over_hetero(self, name: str) -> float:
        """Above 1: faster than ONNX Runtime."""
        return ratio(self._onnxruntime, self._hetero, repeats=15)

    def track_peak_bytes(self, name: str) -> int:
        """Intermediates and outputs, computed before the run."""
        return self.graph.specialize({next(iter(self.graph.symbols)): 1}).peak_bytes

    track_onnxruntime_over_hetero.unit = "x"  # pyright: ignore[reportFunctionMemberAccess]
    track_peak_bytes.unit = "bytes"  # pyright: ignore[reportFunctionMemberAccess]
