"""Runs `child.py` under Oclgrind and reads what that says."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

FLAGS = ("--data-races", "--check-api")
# Oclgrind 21.10 ends itself when it looks for unwritten values in code that was optimised, and in some with vectors.
LANES_ONLY = ("--uninitialized", "--build-options", "-cl-opt-disable")
LIMIT_S = 600.0
ROOT = Path(__file__).parents[3]
PATHS = (ROOT, ROOT / "backends", ROOT / "kernels", ROOT / "tests" / "backends")


@dataclass(frozen=True, slots=True)
class Watched:
    """What ran, and what Oclgrind said of it: each kind of finding once, with how often it came."""

    kernels: frozenset[str]  # names of kernels that were launched
    forms: frozenset[str]  # of generated ones
    launches: int
    graphs: int
    findings: dict[str, int]


# What pyopencl itself asks when it looks what a driver can do
ASKED = re.compile(r"Function: clGetDeviceInfo\n|Kernel '_source' not found")
WRONG_CALL = re.compile(r"\nOclgrind - OpenCL runtime error detected\n(?:\t.*\n)*")


def installed() -> bool:
    return shutil.which("oclgrind") is not None


def findings(log: str) -> dict[str, int]:
    """Every entry of a log without its addresses -> how often it stands there. Whatever is written there counts."""
    found: dict[str, int] = {}
    for entry in re.split(r"\n\s*\n", log):
        if entry.strip():
            text = re.sub(r"0x[0-9a-f]+", "0x", entry.strip())
            text = re.sub(r"\t(First entity|Second entity|Entity):.*", r"\t\1", text)
            found[text] = found.get(text, 0) + 1
    return found


def watch(group: str, style: str, folder: Path) -> Watched:
    """The graphs of `group`, their kernels cut in `style`, run with exactly the memory that they may touch."""
    log, said = folder / f"{group}-{style}.log", folder / f"{group}-{style}.json"
    env = os.environ | {
        "PYTHONPATH": os.pathsep.join(map(str, PATHS)), "HETERO_CACHE_DIR": str(folder / f"{group}-{style}"),
        "HETERO_OPENCL_DEVICE": "oclgrind", "PYOPENCL_NO_CACHE": "1", "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    flags = (*FLAGS, *(LANES_ONLY if style == "accelerator" else ()))
    command = ["oclgrind", *flags, "--max-errors", "10000", "--log", str(log), sys.executable, "-m", "oclgrind.child"]
    done = subprocess.run(
        [*command, group, style, str(said)], env=env, capture_output=True, text=True, timeout=LIMIT_S, check=False
    )  # fmt: skip
    calls = [c.strip() for c in WRONG_CALL.findall(done.stderr) if not ASKED.search(c)]
    if done.returncode or not said.exists():
        rest = WRONG_CALL.sub("", done.stderr).strip()
        raise AssertionError(f"{group} in {style} ended with {done.returncode}:\n{done.stdout}{rest[-4000:]}")
    told = json.loads(said.read_text("utf-8"))
    written = log.read_text("utf-8", "replace") if log.exists() else ""  # the file is made with the first entry
    return Watched(
        frozenset(told["kernels"]), frozenset(told["forms"]), told["launches"], told["graphs"],
        findings("\n\n".join([written, *calls])),
    )  # fmt: skip
