"""`hetero convert --to int8`, `int4` or `bfloat16`: a quantised network, and what that loses."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hetero.cli.common import console, print_json, save_graph
from hetero.convert.quantize_graph import Quantized, quantize
from hetero.convert.quantize_text import tables
from hetero.errors import GraphError
from hetero.graph.ir import Graph
from hetero.op import Array

NONE = "none"  # of --activations


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to make, and where to write it."""

    weights: str
    activations: str | None  # int8, uint8, none; by --to where it is not given
    calibration: str
    percentile: float
    block: int
    skip: tuple[str, ...]
    integers: bool
    output: Path | None
    report: Path | None
    opset: int

    @property
    def inputs(self) -> str | None:
        if self.activations is None:
            return "bfloat16" if self.weights == "bfloat16" else "int8"
        return None if self.activations == NONE else self.activations


def to_quantized(graph: Graph, calibration: Any, test: Any, classes: Array | None, wanted: Wanted, json: bool) -> None:
    """Makes the network, says what it loses, writes it."""
    if wanted.output is not None and wanted.output.suffix not in (".hetero", ".onnx"):
        raise GraphError(f"--output {wanted.output} is neither .hetero nor .onnx", hint="--output small.onnx")
    options: dict[str, Any] = {
        "weights": wanted.weights,
        "activations": wanted.inputs,
        "calibration": wanted.calibration,
    }
    made = quantize(
        graph, calibration, **options, percentile=wanted.percentile, block=wanted.block, skip=wanted.skip, test=test
    )
    accuracy = None if classes is None else _accuracy(graph, made, test, classes)
    written = _written(made, wanted)
    if json:
        print_json(made.report.to_dict() | {"accuracy": accuracy, "written": written})
        return
    out = console()
    out.print(tables(made.report))
    if accuracy is not None:
        out.print(
            "right answers on the test data: " + ", ".join(f"{k} {v:.2%}" for k, v in accuracy.items()), markup=False
        )
    for path in written.values():
        out.print(f"written: {path}", markup=False, soft_wrap=True)


def _written(made: Quantized, wanted: Wanted) -> dict[str, str]:
    written: dict[str, str] = {}
    if wanted.output is not None:
        graph = made.integers if wanted.integers else made.graph
        if wanted.output.suffix == ".onnx":
            graph.to_onnx(str(wanted.output), opset=wanted.opset)
        else:
            save_graph(graph, wanted.output)
        written["network"] = str(wanted.output)
    if wanted.report is not None:
        from hetero.report.quantized import save

        save(made.report, wanted.report)
        written["report"] = str(wanted.report)
    return written


def _accuracy(graph: Graph, made: Quantized, test: Any, classes: Array) -> dict[str, float] | None:
    """The share of right answers, where the first output has a row of scores for each sample."""
    from hetero.convert.quantize_data import feeds

    found: dict[str, float] = {}
    for name, each in (("original", graph), ("quantised", made.graph)):
        rows = [next(iter(each.run(feed).values())) for feed in feeds(graph, test)]
        answers = np.concatenate([r.reshape(len(r), -1).argmax(1) for r in rows if r.ndim])
        if answers.shape != classes.shape:
            raise GraphError(f"y has {len(classes)} classes, and the network gave {len(answers)} answers")
        found[name] = float((answers == classes).mean())
    return found


def load_feed(path: Path, graph: Graph) -> dict[str, Array]:
    """The arrays of a file by the names of the graph's inputs."""
    import zipfile

    try:
        with np.load(path, allow_pickle=False) as file:
            missing = [n for n in graph.input_types if n not in file.files]
            if missing:
                raise GraphError(
                    f"{path} has no {', '.join(missing)}, only {', '.join(file.files) or 'nothing'}",
                    hint="numpy.savez('calib.npz', **{name: array}) for a network of several inputs",
                )
            return {n: file[n] for n in graph.input_types}
    except (OSError, ValueError, EOFError, AttributeError, zipfile.BadZipFile) as e:
        raise GraphError(f"cannot read samples from {path}: {e}", hint="numpy.savez('calib.npz', x=x, y=y)") from e


__all__ = ["Wanted", "load_feed", "to_quantized"]
