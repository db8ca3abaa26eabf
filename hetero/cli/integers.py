"""`hetero convert --to integers`: a ReLU network in the few bits of a chip, and what that loses."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hetero.chip import Chip, Mapped, load_chip, map_network
from hetero.chip.widths import input_tops
from hetero.cli.common import console, print_json, save_graph
from hetero.convert.activations import QuantizedActivations, quantize_activations
from hetero.errors import GraphError
from hetero.graph.ir import Graph
from hetero.op import Array
from hetero.ops.activation import MOST_BITS
from hetero.report.converted import classes

OP = "quantized_relu"


@dataclass(frozen=True, slots=True)
class Samples:
    """Data for calibration, and of the test with classes if there are any."""

    calibration: Array
    x: Array
    y: Array | None


def to_integers(
    graph: Graph, data: Samples, chip: str, bits: int | None, thresholds: dict[str, Any], output: Path | None,
    json: bool,
) -> None:  # fmt: skip
    """Makes the network, says what it loses, writes it. `thresholds`: percentile and per, as `quantize_activations`."""
    found = load_chip(chip)
    if OP not in found.neurons:
        raise GraphError(f"{found.name} has no {OP}", hint="--chip akida1, akida2 or northpole; for Loihi: --to loihi")
    made = _made(graph, data.calibration, found, bits, thresholds)
    mapped = map_network(made.network, found)
    wanted, given = classes(made.original.original(data.x)), classes(made.run(data.x))
    right = wanted if data.y is None else data.y
    accuracy = {"original": float((wanted == right).mean()), "integers": float((given == right).mean())}
    if output is not None:
        save_graph(made.build(), output)
    if json:
        print_json(_report(made, mapped, accuracy, len(data.x), data.y is not None, output))
    else:
        _show(made, mapped, accuracy, data, output)


def _made(
    graph: Graph, calibration: Array, chip: Chip, bits: int | None, thresholds: dict[str, Any]
) -> QuantizedActivations:
    """With the bits of the chip: the most that it has, unless fewer are asked for; inputs that a layer for images reads
    have more."""
    most, weight = chip.limit("activation_bits") or MOST_BITS, chip.limit("weight_bits") or MOST_BITS
    given: dict[str, Any] = {"bits": most if bits is None else bits, "weight_bits": weight, **thresholds}
    made = quantize_activations(graph, calibration, **given, input_bits=most)
    wide = min((top.bit_length() for _, top in input_tops(made.network, chip)), default=most)
    return made if wide <= most else quantize_activations(graph, calibration, **given, input_bits=wide)


def _report(
    made: QuantizedActivations, mapped: Mapped, accuracy: dict[str, float], samples: int, labelled: bool,
    output: Path | None,
) -> dict[str, Any]:  # fmt: skip
    return {
        "chip": mapped.chip.name, "fits": mapped.fits, "violations": [str(v) for v in mapped.violations],
        "bits": made.bits, "input_bits": made.input_bits, "samples": samples, "labelled": labelled,
        "accuracy": accuracy, "layers": [asdict(a) | {"relative": a.relative} for a in made.layers],
        "written": {} if output is None else {"network": str(output)},
    }  # fmt: skip


def _show(
    made: QuantizedActivations, mapped: Mapped, accuracy: dict[str, float], data: Samples, output: Path | None
) -> None:
    out = console()
    kind = "right" if data.y is not None else "as the original"
    said = f"{len(data.calibration)} samples set the scales; of the other {len(data.x)} are {kind}: "
    out.print(said + ", ".join(f"{k} {v:.1%}" for k, v in accuracy.items()), markup=False)
    out.print(str(made), markup=False, soft_wrap=True)
    fits = f"fits {mapped.chip.name}, {mapped.cores} cores"
    out.print(fits if mapped.fits else "\n".join(map(str, mapped.violations)), markup=False, soft_wrap=True)
    if output is not None:
        out.print(f"written: {output}", markup=False, soft_wrap=True)
