"""What quantising loses on networks, beside ONNX Runtime's own quantiser on the same model, data and runs.

    python -m benchmarks.quantize_models                      the table
    python -m benchmarks.quantize_models --only resnet50      one network
    python -m benchmarks.quantize_models --json

Networks: digits (scikit-learn's, trained here), magika (of its package), and the light networks of the package onnx
with random weights, whose answers mean nothing: there SQNR counts. Calibrated on one half of the data, measured on the
other. "hetero" is the QDQ graph on NumPy, "on ORT" the same graph written as ONNX and run by ONNX Runtime; "theirs" is
onnxruntime.quantization.quantize_static: QDQ, per channel (or where that fails in itself, per tensor), MinMax, which is
its default, and Entropy or Percentile where asked.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper
from rich.console import Console
from rich.table import Table

import hetero as ht
from hetero.convert.quantize_report import Noise
from hetero.graph.ir import Graph
from hetero.op import Array

LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
IMAGES = 8  # half of them for calibration


@dataclass(frozen=True, slots=True)
class Network:
    """A model, and runs of it; `classes` are known for the test runs, or none."""

    name: str
    model: Any  # onnx.ModelProto
    calibration: list[dict[str, Array]]
    test: list[dict[str, Array]]
    classes: Array | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """SQNR of the first output in dB, and the share of right answers, or without classes of the original's."""

    network: str
    how: str
    sqnr_db: float
    agreement: float
    accuracy: float | None
    before_byte: int
    after_byte: int


# -- networks -----------------------------------------------------------------------------------------------


def random_light(name: str, seed: int = 0) -> Any:
    """A light network with random weights in place of its fills: He's scale for products, norms near the identity. It
    ends before its softmax, which of such numbers is all or nothing."""
    model = onnx.load(LIGHT / f"light_{name}.onnx")
    graph, rng = model.graph, np.random.default_rng(seed)
    known = {i.name: numpy_helper.to_array(i) for i in graph.initializer}
    readers = {x: (n.op_type, k) for n in graph.node for k, x in enumerate(n.input)}
    after = {n.input[0]: n.output[0] for n in graph.node if n.op_type in ("Unsqueeze", "Reshape")}
    for node in [n for n in graph.node if n.op_type == "ConstantOfShape"]:
        shape = tuple(int(n) for n in known[node.input[0]])
        kind = readers[node.output[0]]
        if kind[0] in ("Unsqueeze", "Reshape"):
            kind = readers.get(after[node.output[0]], kind)
        graph.initializer.append(numpy_helper.from_array(_weights(rng, kind, shape), node.output[0]))
        graph.node.remove(node)
    last = graph.node[-1]
    if last.op_type == "Softmax":
        graph.node.remove(last)
        graph.output[0].name = last.input[0]
    return model


def _weights(rng: np.random.Generator, kind: tuple[str, int], shape: tuple[int, ...]) -> Array:
    if kind == ("BatchNormalization", 4):
        made = rng.uniform(0.5, 1.5, shape)
    elif kind in (("BatchNormalization", 1), ("Mul", 1)):
        made = rng.uniform(0.8, 1.2, shape)
    elif kind[0] in ("Conv", "Gemm") and kind[1] == 1:
        made = rng.normal(0, np.sqrt(2 / max(np.prod(shape[1:]), 1)), shape)
    else:
        made = rng.normal(0, 0.1, shape)
    return made.astype(np.float32)


def images(shape: Sequence[int], count: int, seed: int = 0) -> list[Array]:
    """Pictures whose power falls with frequency, as that of photographs does."""
    rng = np.random.default_rng(seed)
    height, width = shape[-2:]
    fy, fx = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None, :]
    falls = 1 / np.maximum(np.hypot(fy, fx), 1 / height)
    made: list[Array] = []
    for _ in range(count):
        x = np.fft.irfft2(np.fft.rfft2(rng.normal(0, 1, shape)) * falls, s=(height, width))
        made.append((x / x.std()).astype(np.float32))
    return made


def light(name: str) -> Network:
    model = random_light(name)
    given = {i.name for i in model.graph.initializer}
    (port,) = [i for i in model.graph.input if i.name not in given]
    shape = [d.dim_value for d in port.type.tensor_type.shape.dim]
    runs = [{port.name: x} for x in images(shape, IMAGES)]
    return Network(name, model, runs[: IMAGES // 2], runs[IMAGES // 2 :])


def digits() -> Network:
    from hetero.convert.onnx_out import to_onnx
    from hetero.testing.digits import digits as trained

    found = trained()
    (name,) = found.graph.input_types
    return Network("digits", to_onnx(found.graph), [{name: found.x_train[:250]}], [{name: found.x}], found.y)


def magika() -> Network:
    """On pieces of files of this Python: text and compiled code, as its own front end cuts them."""
    import magika as package

    from hetero.cli.magika_model import open_model

    (path,) = Path(package.__file__).parent.glob("models/standard_v3_3/model.onnx")
    model = onnx.load(path)
    (port,) = model.graph.input
    opened = open_model()
    files = sorted(Path(onnx.__file__).parent.rglob("*"))
    some = [p for p in files if p.is_file() and p.stat().st_size > 500][::7][:128]
    rows = np.stack([opened.features(p) for p in some])
    return Network("magika", model, [{port.name: rows[0::2]}], [{port.name: rows[1::2]}])


NETWORKS: dict[str, Callable[[], Network]] = {"digits": digits, "magika": magika} | {
    n: (lambda n=n: light(n)) for n in ("squeezenet", "shufflenet", "resnet50", "inception_v1", "densenet121")
}


# -- runs ---------------------------------------------------------------------------------------------------


def on_runtime(model: Any, runs: Sequence[dict[str, Array]]) -> list[Array]:
    import onnxruntime

    options: Any = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session: Any = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return [session.run(None, feed)[0] for feed in runs]


def on_hetero(graph: Graph, runs: Sequence[dict[str, Array]]) -> list[Array]:
    return [next(iter(graph.run(feed, device="numpy").values())) for feed in runs]


def peer(network: Network, activations: str, method: str) -> tuple[Any, str]:
    """The model by ONNX Runtime's quantiser, and how it was made."""
    try:
        return _peer(network, activations, method, True), "per channel"
    except ValueError as e:  # of 1.32, in code for biases
        Console(stderr=True).print(f"{network.name}: theirs fails per channel: {e}", markup=False)
        return _peer(network, activations, method, False), "per tensor"


def _peer(network: Network, activations: str, method: str, per_channel: bool) -> Any:
    from onnxruntime.quantization import (
        CalibrationDataReader,
        CalibrationMethod,
        QuantFormat,
        QuantType,
        quantize_static,
    )
    from onnxruntime.quantization.shape_inference import quant_pre_process

    from hetero.convert.onnx_out import to_onnx

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.left = iter(network.calibration)

        def get_next(self) -> Any:
            return next(self.left, None)

    with tempfile.TemporaryDirectory() as folder:
        source, ready, target = (str(Path(folder) / n) for n in ("a.onnx", "b.onnx", "c.onnx"))
        onnx.save(to_onnx(ht.from_onnx(network.model.SerializeToString()), opset=17), source)
        quant_pre_process(source, ready, skip_symbolic_shape=True)
        quantize_static(
            ready, target, Reader(), quant_format=QuantFormat.QDQ, per_channel=per_channel, weight_type=QuantType.QInt8,
            activation_type={"int8": QuantType.QInt8, "uint8": QuantType.QUInt8}[activations],
            calibrate_method=CalibrationMethod[method],
        )  # fmt: skip
        return onnx.load(target)


def _row(network: Network, how: str, wanted: list[Array], found: list[Array], sizes: tuple[int, int]) -> Row:
    noise, right = Noise(), []
    for w, f in zip(wanted, found, strict=True):
        noise.add(w, f)
        noise.compare(w, f)
        right.append(f.reshape(len(f), -1).argmax(1))
    accuracy = None if network.classes is None else float((np.concatenate(right) == network.classes).mean())
    return Row(network.name, how, noise.sqnr_db, noise.same / max(noise.rows, 1), accuracy, *sizes)


def rows(network: Network, activations: str, methods: Sequence[str]) -> list[Row]:
    graph = ht.from_onnx(network.model.SerializeToString())
    wanted = on_hetero(graph, network.test)
    made: list[Row] = []
    choices: list[tuple[Any, Any, Any]] = [("int8", activations, m) for m in ("minmax", "mse")]
    choices += [("int4", None, "minmax"), ("bfloat16", "bfloat16", "minmax")]
    for weights, inputs, calibration in choices:
        q = ht.quantize(
            graph, network.calibration, weights=weights, activations=inputs, calibration=calibration,
            test=network.calibration[:1], device="numpy",
        )  # fmt: skip
        sizes = q.report.before_byte, q.report.after_byte
        how = f"{weights}, {inputs or 'float32'}" + (f", {calibration}" if weights == "int8" else "")
        made.append(_row(network, f"hetero {how}", wanted, on_hetero(q.graph, network.test), sizes))
        if weights == "int8":
            from hetero.convert.onnx_out import to_onnx

            made.append(
                _row(network, f"hetero {how}, on ORT", wanted, on_runtime(to_onnx(q.graph), network.test), sizes)
            )
            made.append(_row(network, f"hetero {how}, integers", wanted, on_hetero(q.integers, network.test), sizes))
    for method in methods:
        model, grain = peer(network, activations, method)
        size = sum(numpy_helper.to_array(i).nbytes for i in model.graph.initializer)
        found = on_runtime(model, network.test)
        made.append(
            _row(network, f"theirs int8, {activations}, {method}, {grain}", wanted, found, (made[0].before_byte, size))
        )
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", choices=list(NETWORKS), default=list(NETWORKS))
    parser.add_argument("--activations", choices=["int8", "uint8"], default="uint8")
    parser.add_argument("--methods", nargs="*", default=["MinMax"], choices=["MinMax", "Entropy", "Percentile"])
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    found: list[Row] = []
    for name in asked.only:
        found += rows(NETWORKS[name](), asked.activations, asked.methods)
    if asked.json:
        print(json.dumps([asdict(r) for r in found]))
        return
    table = Table("network", "how", "SQNR dB", "same argmax", "accuracy", "bytes", box=None)
    for r in found:
        accuracy = "-" if r.accuracy is None else f"{r.accuracy:.2%}"
        table.add_row(
            r.network,
            r.how,
            f"{r.sqnr_db:.1f}",
            f"{r.agreement:.2%}",
            accuracy,
            f"{r.before_byte:,} to {r.after_byte:,}",
        )
    Console(width=150).print(table)


if __name__ == "__main__":
    main()
