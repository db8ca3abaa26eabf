"""`hetero demo`: a real pretrained network on real files, on every backend that is here.

The network is the content-type model inside the `magika` package: it looks at the first and last 1024 bytes of a
file and says what the file is. ONNX Runtime and magika itself are asked the same, and must agree.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.resources import files as package_files
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.progress import track
from rich.table import Table

from hetero import registry
from hetero.cli.common import Json, bytes_text, console, print_json, seconds_text
from hetero.cli.magika_model import MagikaModel, open_model
from hetero.counters import Stats, reset_stats, stats
from hetero.errors import BackendError, HeteroError, ModelError
from hetero.graph.ir import Graph
from hetero.op import Array
from hetero.spi import Device

TOLERANCE = 1e-4  # of a score, which lies between 0 and 1
REPEATS = 5
LONG = 500  # characters: a device for spiking networks refuses every node, each with its name


@dataclass(slots=True)
class Result:
    """What one backend did."""

    device: str
    labels: list[str] = field(default_factory=list[str])
    scores: list[float] = field(default_factory=list[float])
    worst: float = float("inf")  # largest difference of any score from ONNX Runtime
    seconds: float = float("nan")  # one file, median, measured
    stats: Stats = field(default_factory=Stats)
    missing: str = ""  # why it did not run

    @property
    def ran(self) -> bool:
        return not self.missing


@dataclass(frozen=True, slots=True)
class Outcome:
    """Everything that was asked, and what everybody answered."""

    paths: Sequence[Path]
    names: list[str]  # by ONNX Runtime
    wanted: Array  # its scores
    magika: list[str]
    results: Sequence[Result]
    problems: list[str]


def demo(
    files: Annotated[list[Path] | None, typer.Argument(help="Files to classify (default: hetero's own).")] = None,
    json: Json = False,
) -> None:
    """Classify files with a real network on every backend, against ONNX Runtime and magika. Exit 1 if any differs.

    Example: hetero demo README.md /bin/ls
    """
    outcome = ask_everybody(_checked(files) if files else own_files(), quiet=json)
    if json:
        print_json(_report(outcome))
    else:
        _show(outcome)
    if outcome.problems:
        raise typer.Exit(1)


def ask_everybody(paths: Sequence[Path], *, quiet: bool) -> Outcome:
    """ONNX Runtime, magika and every backend on the same files."""
    model = open_model()
    inputs = np.stack([model.features(p) for p in paths])
    wanted = model.ask_onnxruntime(inputs)
    names = [model.labels[int(k)] for k in np.argmax(wanted, axis=1)]
    magika = [model.ask_magika(p) for p in paths]
    results = [
        _measure(name, model, inputs, wanted)
        for name in track(registry.available(), "running", console=console(), transient=True, disable=quiet)
    ]
    problems = disagreements(paths, results, names, magika) + own_error(model, paths, inputs, wanted, results)
    return Outcome(paths, names, wanted, magika, results, problems)


def own_files() -> list[Path]:
    """hetero's README and pyproject where this is a checkout, and Python and kernel files as installed."""
    here = [Path(n) for n in ("README.md", "pyproject.toml") if Path(n).is_file()]
    installed: list[Path] = []
    for package, pattern, count in (("hetero", "*.py", 3), ("hetero_kernels", "*.ker", 3)):
        root = Path(str(package_files(package)))
        found = sorted(root.glob(pattern), key=lambda p: (-p.stat().st_size, p.name))
        installed += found[:count]
    return here + installed


def _checked(paths: Sequence[Path]) -> list[Path]:
    wrong = [str(p) for p in paths if not p.is_file()]
    if wrong:
        raise ModelError(f"no such file: {', '.join(wrong)}", hint="give paths of files that exist")
    return list(paths)


def _measure(name: str, model: MagikaModel, inputs: Array, wanted: Array) -> Result:
    """One backend on all files at once, then on single files for the time."""
    try:
        device = registry.find(name)
    except BackendError as e:
        return Result(name, missing=str(e))
    result = Result(device.name)
    try:
        graph = model.graph
        scores = _run(graph, inputs, device)
        result.worst = float(np.max(np.abs(scores - wanted)))
        result.labels = [model.labels[int(k)] for k in np.argmax(scores, axis=1)]
        result.scores = [float(s) for s in np.max(scores, axis=1)]
        _run(graph, inputs[:1], device)  # compiles for a batch of one
        reset_stats()
        times = [_timed(graph, inputs[k % len(inputs)][None], device) for k in range(REPEATS)]
        result.stats, result.seconds = stats(), statistics.median(times)
    except HeteroError as e:
        result.missing = str(e) if len(str(e)) < LONG else e.problem.partition(": ")[0]
    return result


def _run(graph: Graph, inputs: Array, device: Device) -> Array:
    (name,), (out,) = graph.input_types, graph.output_types
    return graph.run({name: inputs}, device=device.name)[out]


def _timed(graph: Graph, inputs: Array, device: Device) -> float:
    start = time.perf_counter()
    _run(graph, inputs, device)
    return time.perf_counter() - start


def disagreements(paths: Sequence[Path], results: Sequence[Result], names: list[str], magika: list[str]) -> list[str]:
    """Every way in which a backend, ONNX Runtime and magika do not say the same."""
    said: list[str] = []
    for path, ours, theirs in zip(paths, names, magika, strict=True):
        if theirs and theirs != ours:
            said.append(f"{path.name}: magika says {theirs}, ONNX Runtime {ours}")
    for r in results:
        if r.ran and r.worst > TOLERANCE:
            said.append(f"{r.device}: a score is off by {r.worst:.3g}, more than {TOLERANCE:g}")
        wrong = [p.name for p, a, b in zip(paths, r.labels, names, strict=False) if a != b]
        if wrong:
            said.append(f"{r.device} names another type than ONNX Runtime for {', '.join(wrong)}")
    if not any(r.ran for r in results):
        said.append("no backend ran")
    return said


def own_error(
    model: MagikaModel, paths: Sequence[Path], inputs: Array, wanted: Array, results: Sequence[Result]
) -> list[str]:
    """Where scores differ: the files on which ONNX Runtime itself is that far from the result in double."""
    if all(r.worst <= TOLERANCE for r in results if r.ran):
        return []
    off = np.max(np.abs(model.exact(inputs) - wanted), axis=1)
    return [
        f"{path.name}: ONNX Runtime is itself {gap:.2g} from the scores in double; this network magnifies rounding here"
        for path, gap in zip(paths, off, strict=True)
        if gap > TOLERANCE
    ]


def _report(o: Outcome) -> dict[str, Any]:
    return {
        "files": [str(p) for p in o.paths],
        "onnxruntime": [{"label": n, "score": float(s)} for n, s in zip(o.names, o.wanted.max(axis=1), strict=True)],
        "magika": o.magika,
        "agree": not o.problems,
        "problems": o.problems,
        "backends": [
            {
                "device": r.device, "ran": r.ran, "missing": r.missing,
                "labels": r.labels, "scores": r.scores,
                "largest_difference_from_onnxruntime": r.worst if r.ran else None,
                "seconds_per_inference": r.seconds if r.ran else None, "seconds_status": "measured, median",
                "inferences_counted": REPEATS, "ops": r.stats.ops, "fallbacks": r.stats.fallback_count,
                "copied_bytes": r.stats.copied_bytes,
            }
            for r in o.results
        ],
    }  # fmt: skip


def _show(o: Outcome) -> None:
    out = console()
    ran = [r for r in o.results if r.ran]
    table = Table("file", "ONNX Runtime", "magika", *[r.device for r in ran], box=None, pad_edge=False)
    for k, path in enumerate(o.paths):
        ours = [f"{r.labels[k]} {r.scores[k]:.4f}" for r in ran]
        table.add_row(
            path.name, f"{o.names[k]} {float(np.max(o.wanted[k])):.4f}", o.magika[k] or "(by its rules)", *ours
        )
    out.print(table)
    out.print()
    table = Table("backend", "largest difference", "one inference", "copied per inference", "ops per inference",
                  box=None, pad_edge=False)  # fmt: skip
    for r in ran:
        copied = bytes_text(r.stats.total_copied_bytes // REPEATS)
        ops = "; ".join(
            f"{device}: " + ", ".join(f"{op} {n // REPEATS}" for op, n in sorted(ops.items()))
            for device, ops in r.stats.ops.items()
        )
        table.add_row(r.device, f"{r.worst:.2g}", f"{seconds_text(r.seconds)} (measured)", copied, ops)
    out.print(table)
    for r in o.results:
        if not r.ran:
            out.print(f"\n{r.device} did not run: {r.missing}", markup=False)
    out.print()
    if o.problems:
        out.print("[red]They do not agree:[/red]")
        for problem in o.problems:
            out.print(f"  {problem}", markup=False)
    else:
        out.print(
            f"{len(ran)} backends, ONNX Runtime and magika agree on {len(o.paths)} files, scores within {TOLERANCE:g}."
        )
