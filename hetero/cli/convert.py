"""`hetero convert`: a ReLU network as a spiking one, any graph in fewer bits or as an ONNX model; what that loses."""

from __future__ import annotations

import zipfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.progress import Progress

from hetero.cli.common import Dt, Json, Model, Rule, console, load_model, print_json, save_graph
from hetero.errors import GraphError
from hetero.op import Array

if TYPE_CHECKING:
    from hetero.cli.quantize import Wanted
    from hetero.convert.snn import Converted
    from hetero.graph.ir import Graph
    from hetero.report.converted import Report

QUANTIZED = ("int8", "int4", "bfloat16")
KINDS = ("snn", "loihi", "integers", *QUANTIZED, "onnx")
SHARE = 5  # one in so many samples is for calibration, where no number is given


def convert(
    model: Model,
    data: Annotated[
        Path | None,
        typer.Option("--data", metavar="FILE.npz", help="Samples x (n, ...), and classes y (n,) if known."),
    ] = None,
    to: Annotated[
        str,
        typer.Option("--to", help="snn; loihi: in Loihi's integers; integers: of a chip; int8, int4, bfloat16; onnx."),
    ] = "snn",
    steps: Annotated[int, typer.Option(min=1, help="Time steps of an inference.")] = 64,
    percentile: Annotated[
        float, typer.Option(help="Of the activations: the threshold; of --calibration percentile.")
    ] = 99.9,
    per: Annotated[str, typer.Option(help="One threshold for each: channel, layer.")] = "channel",
    calibrate: Annotated[
        int | None,
        typer.Option(metavar="N", help="Samples for thresholds (default: one in five); the rest is the test."),
    ] = None,
    chip: Annotated[
        str, typer.Option(metavar="NAME|FILE.toml", help="The chip that pays for events, or whose bits it is put into.")
    ] = "loihi",
    bits: Annotated[
        int | None, typer.Option(help="Of --to integers: of an activation (default: the most of the chip).")
    ] = None,
    activations: Annotated[
        str | None, typer.Option(help="Of --to int8 and int4: int8 (default), uint8 or none: weights alone.")
    ] = None,
    calibration: Annotated[str, typer.Option(help="Of --to int8 and int4: minmax, percentile or mse.")] = "minmax",
    block: Annotated[int, typer.Option(min=0, help="Of --to int4: weights of one scale; 0: a channel.")] = 32,
    skip: Annotated[list[str] | None, typer.Option(metavar="LAYER", help="Stays in floats; more than once.")] = None,
    whole: Annotated[
        bool, typer.Option("--whole", help="Of --to int8: write products of whole codes, not QDQ.")
    ] = False,
    profile: Annotated[
        str, typer.Option(metavar="NAME|FILE.toml", help="The device that pays for the original.")
    ] = "server-cpu",
    output: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write the network: .hetero, or .onnx."),
    ] = None,
    opset: Annotated[int, typer.Option(help="Of an .onnx output: 13 to 23.")] = 21,
    dt: Dt = None,
    rule: Rule = None,
    report: Annotated[Path | None, typer.Option(metavar="FILE.html", help="Write an HTML report.")] = None,
    json: Json = False,
) -> None:
    """A spiking network of a ReLU network: accuracy against time steps, errors by layer, events and energy. Or any
    network in fewer bits.

    Samples for calibration are taken evenly from all of --data; the report is of the others.

    With --to loihi the network is one that lava and the chips run: spikes in and out, neurons that reset to zero.

    With --to integers it is a network of a few bits in one step, for --chip akida1, akida2 or northpole.

    With --to int8, int4 or bfloat16 any network is quantised: hetero convert model.onnx --to int8 --data calib.npz
    --output small.onnx. The .npz holds x (n, ...), or an array for each input by its name, and classes y if known.

    With --to onnx any graph becomes an ONNX model: hetero convert net.hetero --to onnx --output net.onnx --opset 17

    Example: hetero convert model.onnx --to snn --data calib.npz --steps 64 --report r.html --output net.hetero
    """
    from hetero.convert.snn import to_snn

    if to not in KINDS:
        raise GraphError(f"there is no --to {to!r}", hint=f"--to {', --to '.join(KINDS)}")
    graph = load_model(model, dt, rule)
    if to == "onnx":
        _to_onnx(graph, output, opset, {"--data": data, "--report": report}, json)
        return
    if data is None:
        raise GraphError(f"--to {to} wants --data FILE.npz", hint="numpy.savez('calib.npz', x=x, y=y)")
    if to in QUANTIZED:
        from hetero.cli.quantize import Wanted

        wanted = Wanted(
            to, activations, calibration, percentile, block, tuple(skip or ()), whole, output, report, opset
        )
        _to_quantized(graph, data, calibrate, wanted, json)
        return
    x, y = _samples(data)
    mine = _chosen(len(x), calibrate)
    if to == "integers":
        from hetero.cli.integers import Samples, to_integers

        if report is not None:
            raise GraphError("--to integers writes no --report", hint="what it loses is printed, or --json")
        test = Samples(x[mine], x[~mine], None if y is None else y[~mine])
        to_integers(graph, test, chip, bits, {"percentile": percentile, "per": per}, output, json)
        return
    options: dict[str, Any] = {"steps": steps, "percentile": percentile, "per": per, "loihi": to == "loihi"}
    made = to_snn(graph, x[mine], **options)
    found = _report(made, x[~mine], None if y is None else y[~mine], chip, profile)
    written: dict[str, str] = {}
    if output is not None:
        save_graph(made.build(steps="time"), output)
        written["network"] = str(output)
    if report is not None:
        found.save(report)
        written["report"] = str(report)
    said = (
        f"{int(mine.sum())} of {len(x)} samples, taken evenly, set the thresholds; the other {int((~mine).sum())} test"
    )
    if json:
        print_json(found.to_dict() | {"data": said, "written": written, "loihi": _errors(made)})
        return
    out = console()
    out.print(said, markup=False)
    for error in made.loihi.errors if made.loihi else ():
        out.print(str(error), markup=False, soft_wrap=True)
    out.print(str(found), markup=False, soft_wrap=True)
    for path in written.values():
        out.print(f"written: {path}", markup=False, soft_wrap=True)


def _to_onnx(graph: Graph, output: Path | None, opset: int, beside: dict[str, Path | None], json: bool) -> None:
    given = [name for name, value in beside.items() if value is not None]
    if given or output is None:
        wrong = f"does not go with {', '.join(given)}" if given else "wants --output FILE.onnx"
        raise GraphError(f"--to onnx {wrong}", hint="hetero convert MODEL --to onnx --output model.onnx")
    graph.to_onnx(str(output), opset=opset)
    if json:
        print_json({"written": {"network": str(output)}, "opset": opset})
    else:
        console().print(f"written: {output}, opset {opset}", markup=False, soft_wrap=True)


def _to_quantized(graph: Graph, data: Path, calibrate: int | None, wanted: Wanted, json: bool) -> None:
    """Of one input, samples are for calibration or for the test; of several, all runs are for both."""
    from hetero.cli.quantize import load_feed, to_quantized

    if len(graph.input_types) > 1:
        feed = load_feed(data, graph)
        to_quantized(graph, feed, None, None, wanted, json)
        return
    x, y = _samples(data)
    mine = _chosen(len(x), calibrate)
    to_quantized(graph, x[mine], x[~mine], None if y is None else y[~mine], wanted, json)


def _errors(made: Converted) -> list[dict[str, Any]] | None:
    return None if made.loihi is None else [asdict(e) for e in made.loihi.errors]


def _samples(path: Path) -> tuple[Array, Array | None]:
    """x and, where there is one, y; a GraphError with everything that is wrong with them."""
    try:
        with np.load(path, allow_pickle=False) as file:
            found: dict[str, Array] = {k: file[k] for k in ("x", "y") if k in file.files}
            names = list(file.files)
    except (OSError, ValueError, EOFError, AttributeError, zipfile.BadZipFile) as e:
        raise GraphError(f"cannot read samples from {path}: {e}", hint="numpy.savez('calib.npz', x=x, y=y)") from e
    x, y = found.get("x"), found.get("y")
    wrong: list[str] = []
    if x is None:
        wrong.append(f"no x, only {', '.join(names) or 'nothing'}")
    elif x.dtype.kind not in "fiub" or not x.ndim or len(x) < 2:
        wrong.append(f"x is {x.dtype.name} {x.shape}, not numbers of 2 samples or more")
    if y is not None and (y.dtype.kind not in "iu" or (x is not None and y.size != len(x))):
        wrong.append(f"y is {y.dtype.name} {y.shape}, not a whole number for each sample")
    if wrong or x is None:
        raise GraphError(f"{path}: {'; '.join(wrong)}", hint="numpy.savez('calib.npz', x=x, y=y)")
    return x, None if y is None else y.reshape(-1)


def _chosen(count: int, wanted: int | None) -> Array:
    """(count,) which samples are for calibration: evenly, since files are often sorted by class."""
    number = max(1, count // SHARE) if wanted is None else wanted
    if not 0 < number < count:
        raise GraphError(f"--calibrate {number} of {count} samples leaves none for calibration or none for the test")
    chosen = np.zeros(count, bool)
    chosen[np.arange(number) * count // number] = True
    return chosen


def _report(made: Converted, x: Array, y: Array | None, chip: str, profile: str) -> Report:
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("running", total=len(x))

        def tell(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total)

        return made.report(x, y, chip=chip, profile=profile, progress=tell)
