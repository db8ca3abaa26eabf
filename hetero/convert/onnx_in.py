"""Reads ONNX models: `from_onnx(path_or_bytes)` gives a Graph, or one ModelError with everything that is wrong."""

from __future__ import annotations

import re
from os import PathLike, fspath
from pathlib import Path
from typing import Any

import numpy as np

from hetero.convert import onnx_lowerings
from hetero.convert.onnx_import import Importer, Scope, element_type, plain_domain
from hetero.convert.onnx_tensor import Folder, sizes_of, string
from hetero.dim import Dim, Size
from hetero.errors import ModelError
from hetero.graph.build import Builder
from hetero.graph.ir import Graph
from hetero.op import TensorType

assert onnx_lowerings  # importing it fills the table

MAX_FILE = (1 << 31) - 1  # bytes; protobuf's own limit


def from_onnx(source: str | PathLike[str] | bytes, *, folder: str | PathLike[str] | None = None) -> Graph:
    """The model as a graph. Dimensions with names keep them; those without become `unk_0`, `unk_1`, ...

    `source` is a path or the bytes of a file. External data is read from the model's own folder (for bytes, from
    `folder`) and from nowhere else. Whatever is wrong, or not covered, is told in one ModelError before anything runs.
    """
    if isinstance(source, bytes | bytearray | memoryview):
        data, where = bytes(source), Path(fspath(folder)) if folder is not None else None
        called = "the model"
    else:
        path = Path(fspath(source))
        data, where, called = _read(path), path.parent if folder is None else Path(fspath(folder)), str(path)
    try:
        with np.errstate(all="ignore"):
            return _import(_parse(data, called), Folder(where), called)
    except (UnicodeDecodeError, RecursionError, MemoryError) as e:
        raise ModelError(f"{called} is damaged or hostile: {e or type(e).__name__}") from e


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > MAX_FILE:
            raise ModelError(f"{path} has {path.stat().st_size} bytes; a model file has at most {MAX_FILE}")
        return path.read_bytes()
    except OSError as e:
        raise ModelError(f"cannot read {path}: {e.strerror}", hint="give the path of an .onnx file") from e
    except ValueError as e:  # a zero byte in the name
        raise ModelError(f"cannot read {path!r}: {e}") from e


def _parse(data: bytes, called: str) -> Any:
    try:
        from google.protobuf.message import DecodeError
        from onnx import ModelProto
    except ImportError as e:
        raise ModelError("reading ONNX wants the package onnx", hint="pip install 'hetero[onnx]'") from e
    model = ModelProto()
    try:
        model.ParseFromString(data)
    except (DecodeError, RuntimeError) as e:
        raise ModelError(f"{called} is no ONNX model, or is cut off: {e}", hint="download it again") from e
    if not model.HasField("graph"):
        raise ModelError(f"{called} holds no graph", hint="is it an ONNX file? it may be cut off")
    _check_text(model, called)
    return model


def _check_text(message: Any, called: str) -> None:
    """Every text in the file must be UTF-8; the parser hands out bytes where one is not."""
    for field, value in message.ListFields():
        if field.type == field.TYPE_MESSAGE:
            for inner in (value,) if hasattr(value, "ListFields") else value:
                _check_text(inner, called)
        elif field.type == field.TYPE_STRING:
            for text in (value,) if isinstance(value, str | bytes) else value:
                if not isinstance(text, str):
                    raise ModelError(f"{called}: the field {field.full_name} is not UTF-8: {text[:40]!r}")


def _import(model: Any, folder: Folder, called: str) -> Graph:
    importer = Importer(_opsets(model, called), folder, _functions(model))
    graph = model.graph
    builder = Builder(string(graph.name, "the graph's name") or "graph", fold=True, track=False)
    scope = Scope(builder)
    importer.initializers(graph, scope)
    unnamed, stored = _Unnamed(), set(scope.values)
    for port in graph.input:
        if port.name not in stored:  # before IR 4, an input with a stored value is a constant
            scope.define(port.name, builder.input(port.name, _input_type(port, unnamed)))
    importer.nodes(graph.node, scope)
    outputs = importer.outputs(graph, scope) if not importer.problems else {}
    if importer.problems:
        raise ModelError(_list(called, importer.problems), hint="docs/onnx.md has the table of what is covered")
    if not outputs:
        raise ModelError(f"{called} has no outputs")
    return builder.build(outputs)


def _list(called: str, problems: list[str]) -> str:
    shown = problems[:100] + [f"and {len(problems) - 100} more"] * (len(problems) > 100)
    return f"{called} cannot be imported; {len(problems)} nodes are refused:\n" + "\n".join(f"  {p}" for p in shown)


def _opsets(model: Any, called: str) -> dict[str, int]:
    """Domain -> version, each known to the installed `onnx`."""
    import onnx.defs

    opsets: dict[str, int] = {}
    for imported in model.opset_import:
        domain, version = plain_domain(imported.domain), int(imported.version)
        if opsets.setdefault(domain, version) != version:
            raise ModelError(f"{called} imports two versions of the domain {domain!r}")
    newest = onnx.defs.onnx_opset_version()
    if not 1 <= opsets.get("", 1) <= newest:
        raise ModelError(
            f"{called} wants opset {opsets['']}, the installed onnx knows 1 to {newest}", hint="pip install -U onnx"
        )
    return opsets


def _functions(model: Any) -> dict[tuple[str, str], Any]:
    found: dict[tuple[str, str], Any] = {}
    for f in model.functions:
        key = (plain_domain(f.domain), f.name)
        if key in found or f.overload:
            raise ModelError(f"the function {f.name!r} is defined twice, or overloaded, which is not covered")
        found[key] = f
    return found


class _Unnamed:
    """Names for dimensions that have none."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> Dim:
        self.count += 1
        return Dim.symbol(f"unk_{self.count - 1}")


def _input_type(port: Any, unnamed: _Unnamed) -> TensorType:
    kind = element_type(port)
    tensor = port.type.tensor_type
    if not tensor.HasField("shape"):
        return kind
    sizes: list[Size] = [_size(dim, unnamed, port.name) for dim in tensor.shape.dim]
    sizes_of([n for n in sizes if not isinstance(n, Dim)], f"input {port.name!r}")
    return kind.with_shape(tuple(sizes))


def _size(dim: Any, unnamed: _Unnamed, port: str) -> Size:
    """A number, or a symbol: the name from the file, made an identifier."""
    if dim.HasField("dim_value"):
        return unnamed() if dim.dim_value == -1 else int(dim.dim_value)  # -1: how some exporters say "any"
    name = re.sub(r"\W", "_", string(dim.dim_param, f"a dimension of {port!r}"))
    if not name.strip("_"):
        return unnamed()
    return Dim.symbol(name if not name[0].isdigit() else f"_{name}")


__all__ = ["from_onnx"]
