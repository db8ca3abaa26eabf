"""The network of `hetero demo`: magika's model file, its labels, and how a file becomes its input."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from hetero.errors import ModelError
from hetero.graph.build import Builder
from hetero.graph.ir import Graph, bind_sizes
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
        try:
            with path.open("rb") as file:
                head = file.read(block)
                file.seek(0, 2)
                file.seek(max(0, file.tell() - block))
                tail = file.read(block)
        except OSError as e:
            raise ModelError(f"cannot read {path}: {e.strerror or e}", hint="give files that can be read") from e
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

    def exact(self, inputs: Array) -> Array:
        """float64 (files, labels): the scores with every float of the network in double, by the ops' references."""
        (port,) = self.graph.inputs
        sizes = bind_sizes(self.graph.input_types, {port.name: inputs.shape})
        return in_double(self.graph.specialize(sizes)).evaluate(inputs)[0]

    def ask_magika(self, path: Path) -> str:
        """What magika's network says of the file, before its own rules for doubtful scores.

        Nothing for a file so small that magika decides by those rules alone.
        """
        label = str(self.magika.identify_path(path).prediction.dl.label)
        return "" if label == "undefined" else label


def in_double(graph: Graph) -> Graph:
    """The graph with float64 for float32 everywhere: what it would give without rounding that matters."""
    builder = Builder(graph.name, track=False)
    env = {p.value: builder.input(p.name, graph.types[p.value]) for p in graph.inputs}
    for i, array in graph.constants.items():
        env[i] = builder.constant(array.astype(np.float64) if array.dtype == np.float32 else array)
    for node in graph.nodes:
        wide = {k: "float64" if v == "float32" else v for k, v in node.attrs.items()}
        env |= zip(node.outputs, builder.emit(node.op, [env[i] for i in node.inputs], wide), strict=True)
    return builder.build({p.name: env[p.value] for p in graph.outputs})


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
