"""Which execution providers are here. One that is built in may have no hardware: each is opened once to see."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from typing import Any

from hetero.dtype import float32
from hetero.errors import BackendError
from hetero.graph.build import Builder
from hetero.op import TensorType
from hetero.spi import Device, host_memory_bytes

FIX = "pip install 'hetero[onnxruntime]'"
OLDEST = (1, 18)  # the first that reads opset 21
CPU = "CPUExecutionProvider"
REMOTE = frozenset({"AzureExecutionProvider"})  # sends data away: nothing that a device may do unasked
OPTIONS = "HETERO_ONNXRUNTIME_OPTIONS"  # {"QNNExecutionProvider": {"backend_path": "libQnnHtp.so"}}
# Dtypes of hetero that no kernel of ONNX Runtime takes, or that it does not hand over as NumPy arrays.
MISSING = frozenset({
    "bfloat16", "complex64", "complex128", "float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz",
    "float8_e8m0fnu", "float4_e2m1fn", "int4", "uint4", "int2", "uint2",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Provider:
    """An execution provider that opens, with the options it is opened with."""

    name: str
    options: tuple[tuple[str, str], ...] = ()

    def device(self, index: int) -> Device:
        said = "".join(f", {k}={v}" for k, v in self.options)
        what = f"{self.name} of onnxruntime {driver().__version__}{said}"
        return Device("onnxruntime", index, what, host_memory_bytes() if self.name == CPU else 0, True, MISSING)

    def session(self, model: bytes, weights: Mapping[str, Any], *, threads: int = 0, level: str = "ALL") -> Any:
        """An InferenceSession with this provider alone: what it does not take is an error, never another's work.

        `level` of its own optimisations: ALL, BASIC, or none (DISABLE_ALL).
        """
        ort = driver()
        options = ort.SessionOptions()
        options.log_severity_level = 4  # what goes wrong is raised
        options.intra_op_num_threads = threads
        if level != "ALL":
            name = level if level.startswith("DISABLE") else f"ENABLE_{level}"
            options.graph_optimization_level = getattr(ort.GraphOptimizationLevel, f"ORT_{name}")
        if self.name != CPU:
            options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
        if weights:
            options.add_external_initializers(list(weights), list(weights.values()))
        return ort.InferenceSession(model, options, providers=[(self.name, dict(self.options))])


@dataclass(slots=True)
class Found:
    usable: list[Provider] = field(default_factory=list[Provider])
    warnings: list[str] = field(default_factory=list[str])


@cache
def driver() -> Any:
    """The module onnxruntime, imported when it is first wanted; a BackendError with the remedy when it is not there."""
    try:
        ort: Any = import_module("onnxruntime")
        import_module("onnx")
    except Exception as e:  # a broken wheel fails in every way there is
        raise BackendError(f"{getattr(e, 'name', None) or 'onnxruntime'} does not import: {e}", hint=FIX) from e
    if _parts(ort.__version__) < OLDEST:
        wanted = ".".join(map(str, OLDEST))
        raise BackendError(f"onnxruntime {ort.__version__} is older than {wanted}", hint=FIX)
    return ort


def version() -> tuple[int, ...]:
    """(1, 24)"""
    return _parts(driver().__version__)


def _parts(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".")[:2])


def find() -> Found:
    """Every provider that opens, the processor first; warnings name the others."""
    found = Found()
    options = _options(found)
    built_in = [n for n in driver().get_available_providers() if n not in REMOTE]
    for name in sorted(built_in, key=lambda n: n != CPU):
        provider = Provider(name, tuple(sorted(options.pop(name, {}).items())))
        if reason := _refusal(provider):
            found.warnings.append(f"{name} does not open: {reason}")
        else:
            found.usable.append(provider)
    found.warnings += [f"{OPTIONS}: no provider is called {n!r}" for n in options]
    return found


def _options(found: Found) -> dict[str, dict[str, str]]:
    """Provider -> its options, from the environment."""
    text = os.environ.get(OPTIONS, "").strip()
    if not text:
        return {}
    try:
        given = json.loads(text)
        return {str(n): {str(k): str(v) for k, v in o.items()} for n, o in given.items()}
    except (ValueError, AttributeError) as e:
        found.warnings.append(f'{OPTIONS} is no JSON of the form {{"provider": {{"option": "value"}}}}: {e}')
        return {}


def _refusal(provider: Provider) -> str:
    """Why a provider does not open, or nothing. ONNX Runtime itself only warns, and takes the processor."""
    from hetero.convert.onnx_out import to_onnx

    builder = Builder("probe", track=False)
    x = builder.input("x", TensorType((1,), float32))
    model = to_onnx(builder.build({"y": builder("add", x, x)}), opset=21).SerializeToString()
    try:
        opened = provider.session(model, {}, threads=1).get_providers()
    except Exception as e:  # whatever the vendor's library raises is the reason
        return str(e)
    return "" if provider.name in opened else f"the session has {', '.join(opened)}"
