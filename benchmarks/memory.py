"""Peak memory of ResNet-50, batch 1: each runtime in a process of its own that imports, loads and runs it.

`auto` is tuned before, so that its process opens the device that it takes, and no other.

python -m benchmarks.memory [--json]
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

RUN = """
import resource, sys
import numpy as np
path, device = sys.argv[1:]
x = {"gpu_0/data_0": np.random.default_rng(0).standard_normal((1, 3, 224, 224)).astype("float32")}
if device == "onnxruntime itself":
    import onnxruntime
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    run = lambda: session.run(None, x)
else:
    import hetero
    graph = hetero.from_onnx(path)
    run = lambda: graph.run(x, device=device)
for _ in range(3):
    run()
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""
TUNE = """
import sys
import numpy as np
import hetero
from hetero.auto import tune
x = np.random.default_rng(0).standard_normal((1, 3, 224, 224)).astype("float32")
tune(hetero.from_onnx(sys.argv[1]), {"gpu_0/data_0": x})
"""
DEVICES = ("onnxruntime itself", "onnxruntime", "numpy", "opencl", "auto")


def peak_bytes(device: str) -> int:
    """Bytes resident at most, the interpreter and its libraries included."""
    made = subprocess.run([sys.executable, "-c", RUN, str(_path()), device], capture_output=True, text=True, check=True)
    return int(made.stdout)


def tuned() -> None:
    """Let `auto` know the quickest device, as it does after a while."""
    subprocess.run([sys.executable, "-c", TUNE, str(_path())], capture_output=True, text=True, check=True)


def _path() -> Path:
    import onnx

    return Path(onnx.__path__[0]) / "backend" / "test" / "data" / "light" / "light_resnet50.onnx"


class Memory:
    """Times ONNX Runtime's peak."""

    params = (["onnxruntime", "numpy", "opencl"],)
    param_names = ("device",)
    timeout = 300.0  # seconds

    def track_times_onnxruntime(self, device: str) -> float:
        return peak_bytes(device) / peak_bytes("onnxruntime itself")

    track_times_onnxruntime.unit = "x"  # pyright: ignore[reportFunctionMemberAccess]


def main(as_json: Annotated[bool, typer.Option("--json", help="The bytes as JSON.")] = False) -> None:
    """Peak memory, measured. Example: python -m benchmarks.memory --json"""
    tuned()
    found = {d: peak_bytes(d) for d in DEVICES}
    if as_json:
        print(json.dumps(found, indent=1))
        return
    table = Table("ResNet-50, batch 1", "peak", "times ONNX Runtime's", box=None)
    for device, peak in found.items():
        table.add_row(device, f"{peak / 2**20:.0f} MiB", f"{peak / found['onnxruntime itself']:.2f}")
    Console().print(table)


if __name__ == "__main__":
    typer.run(main)
