"""What stands in a NIR graph, as plain data: read from an HDF5 file, or taken from the objects of the package `nir`.

A file is read by a process of its own (`nir_worker`), which is ended when it takes too long; no object is made of it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from atexit import register
from collections.abc import Mapping
from importlib.util import find_spec
from math import prod
from os import PathLike, fspath
from pathlib import Path
from threading import Lock, Timer
from typing import Any

import numpy as np

from hetero.errors import ModelError

MAX_BYTES = (1 << 31) - 1  # of a file
MAX_DEPTH = 24  # graphs within graphs
START_S, LIMIT_S, BYTE_PER_S = 60.0, 5.0, 5e6  # of the process, of a file, and more for a large one
INSTALL = "pip install 'hetero[nir]'"


def read_file(source: str | PathLike[str]) -> dict[str, Any]:
    """The fields of the file's graph by name: arrays, texts, and dicts of the same."""
    path = Path(fspath(source))
    try:
        size = path.stat().st_size
        with path.open("rb"):
            pass
    except OSError as e:
        raise ModelError(f"cannot read {path}: {e.strerror}", hint="give the path of a .nir file") from e
    except ValueError as e:  # a zero byte in the name
        raise ModelError(f"cannot read {path!r}: {e}") from e
    if size > MAX_BYTES:
        raise ModelError(f"{path} has {size} bytes; a model file has at most {MAX_BYTES}")
    if find_spec("h5py") is None:
        raise ModelError("reading NIR wants the packages nir and h5py", hint=INSTALL)
    head, blob = _WORKER.ask(str(path.resolve()), LIMIT_S + size / BYTE_PER_S)
    if "error" in head:
        raise ModelError(f"{path} is no NIR file, or is damaged: {head['error']}")
    try:
        return _arrays(head["tree"], blob)
    except (KeyError, TypeError, ValueError) as e:
        raise ModelError(f"{path} is damaged: {e}") from e


def _arrays(tree: Any, blob: bytes) -> Any:
    """The worker's tree with arrays in it."""
    if isinstance(tree, dict) and list(tree) == [""]:
        name, shape, place = tree[""]
        dtype = np.dtype(str(name))
        if dtype.kind not in "fiub":
            raise ValueError(f"an array of {dtype}")
        return np.frombuffer(blob, dtype, prod(shape), place).reshape(shape) if prod(shape) else np.zeros(shape, dtype)
    return {k: _arrays(v, blob) for k, v in tree.items()} if isinstance(tree, dict) else tree


class _Worker:
    """The process, started when first asked and again after it was ended."""

    def __init__(self) -> None:
        self.process: subprocess.Popen[bytes] | None = None
        self.owner = 0  # a process that was forked off must not read our answers
        self.lock = Lock()

    def ask(self, path: str, limit_s: float) -> tuple[dict[str, Any], bytes]:
        with self.lock:
            if self.process is None or self.owner != os.getpid():
                self.owner = os.getpid()
                script = Path(__file__).with_name("nir_worker.py")
                self.process = subprocess.Popen(
                    [sys.executable, str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                )  # fmt: skip
                if self._within(START_S, None)[0] != b"ready\n":
                    raise ModelError("the process that reads HDF5 files does not start", hint=INSTALL)
            line, blob = self._within(limit_s, path)
        if not line:
            return {"error": f"the HDF5 library crashed on it, or did not end within {limit_s:.3g} s"}, b""
        head = json.loads(line)
        return (head, blob) if len(blob) == head["bytes"] else ({"error": "the HDF5 library crashed on it"}, b"")

    def _within(self, limit_s: float, path: str | None) -> tuple[bytes, bytes]:
        """One answer: a line, and the bytes it announces; empty where the process ended before, or was ended."""
        process = self.process
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        timer = Timer(limit_s, process.kill)
        timer.start()
        line = blob = b""
        try:
            if path is not None:
                process.stdin.write(json.dumps(path).encode() + b"\n")
                process.stdin.flush()
            line = process.stdout.readline()
            if path is not None and line.endswith(b"\n"):
                blob = process.stdout.read(json.loads(line)["bytes"])
        except OSError:
            line = b""
        finally:
            timer.cancel()
        if not line.endswith(b"\n") or process.poll() is not None:
            self.end()
            return b"", b""
        return line, blob

    def end(self) -> None:
        if self.process is not None and self.owner == os.getpid():
            self.process.kill()
            self.process.communicate()
            self.process = None


_WORKER = _Worker()
register(_WORKER.end)


def read_object(source: Any, depth: int = 0) -> dict[str, Any]:
    """As `read_file`, of a NIRGraph."""
    if depth > MAX_DEPTH:
        raise ModelError(f"a NIRGraph with more than {MAX_DEPTH} graphs within each other", hint="does it hold itself?")
    fields: dict[str, Any] = {k: v for k, v in vars(source).items() if k != "metadata"}
    nodes: Any = fields.get("nodes")
    if isinstance(nodes, Mapping):
        fields["nodes"] = {k: read_object(v, depth + 1) if hasattr(v, "__dict__") else v for k, v in nodes.items()}
    return fields | {"type": type(source).__name__}
