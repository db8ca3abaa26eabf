"""The network of `hetero demo`: magika's model file, its labels, and how a file becomes its input."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from hetero.errors import ModelError
from hetero.graph.ir import Graph
from hetero.op import Array

FIX = "pip install 'hetero[demo]'"


@dataclass(frozen=True)
class MagikaModel:
    """The model with what it takes to ask it, ONNX Runtime and magika the same question."""

    path: Path
    graph: Graph
    labels: list[str]
    config: dict[str, Any]
    magika: Any

    def features(self, path: Path) -> Array:
        """int32 (2048,): the first and the last bytes without the white space at the edges, padded."""
        block, pad = int(self.config["block_size"]), int(self.config["padding_token"])
        with path.open("rb") as file:
            head = file.read(block)
            file.seek(0, 2)
            file.seek(max(0, file.tell() - block))
            tail = file.read(block)
        first, last = int(self.config["beg_size"]), int(self.config["end_size"])
        head, tail = head.lstrip()[:first], tail.rstrip()[-last:]
        out = np.full(first + last, pad, np.int32)
        out[: len(head)] = np.frombuffer(head, np.uint8)
        out[first + last - len(tail) :] = np.frombuffer(tail, np.uint8)
        return out

    def ask_onnxruntime(self, inputs: Array) -> Array:
        """float32 (files, labels): the scores."""
        try:
            import onnxruntime
        except ImportError as e:
            raise ModelError("the demo compares with ONNX Runtime, which is not installed", hint=FIX) from e
        session = onnxruntime.InferenceSession(str(self.path), providers=["CPUExecutionProvider"])
        return np.asarray(session.run(None, {session.get_inputs()[0].name: inputs})[0])

    def ask_magika(self, path: Path) -> str:
        """What magika's network says of the file, before its own rules for doubtful scores."""
        return str(self.magika.identify_path(path).prediction.dl.label)


def open_model() -> MagikaModel:
    """From the installed package."""
    spec = find_spec("magika")
    if spec is None or not spec.submodule_search_locations:
        raise ModelError("the demo's network is in the package magika, which is not installed", hint=FIX)
    from magika import Magika

    from hetero.convert.onnx_in import from_onnx

    magika = Magika()
    folder = Path(spec.submodule_search_locations[0]) / "models" / magika.get_model_name()
    path = folder / "model.onnx"
    config = json.loads((folder / "config.min.json").read_text("utf-8"))
    labels = [str(name) for name in config["target_labels_space"]]
    return MagikaModel(path, from_onnx(path), labels, config, magika)
