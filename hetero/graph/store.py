"""Graphs to disk and back: one safetensors file, the program as JSON in its metadata, constants as its tensors.
Numbers of 4 bits are packed, two in a byte, the first in the lower half.

Nothing in a file is executed. What is read is rebuilt op by op through the same rules that made it, so a file
cannot state a shape that the ops do not give, or name an op or attribute that is not in the table.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hetero import dtype as dt
from hetero.dim import Dim
from hetero.errors import GraphError, HeteroError
from hetero.files import write_whole
from hetero.graph.build import Builder, Ref
from hetero.graph.check import check
from hetero.graph.ir import Graph
from hetero.op import OPS, Array, TensorType

VERSION = 1
KEY = "hetero_graph"
DEPTH = 32  # graphs inside graphs; deeper is a hostile file
_NIBBLES = ("int4", "uint4")
_PLAIN = frozenset(d.name for d in (*dt.INTEGER, *dt.REAL_FLOAT, dt.bool_, dt.float16))


def save(graph: Graph, path: str | os.PathLike[str]) -> None:
    """Write `graph`; the file appears whole or not at all."""
    from safetensors.numpy import save as to_bytes  # late: only who saves pays for it

    tensors: dict[str, Array] = {}
    text = json.dumps({"version": VERSION, "graph": _graph_out(graph, tensors)})
    data = to_bytes({k: _storable(a) for k, a in tensors.items()}, {KEY: text})
    try:
        write_whole(path, data)
    except OSError as e:
        raise GraphError(
            f"cannot write {os.fspath(path)}: {e.strerror or e}", hint="choose a folder that can be written to"
        ) from e


def load(path: str | os.PathLike[str]) -> Graph:
    """The graph that `save` wrote; anything else in the file is a GraphError."""
    try:
        text, tensors = _read(Path(path))
        content = json.loads(text)
        if not isinstance(content, dict) or content.get("version") != VERSION:
            raise GraphError(f"{path} is of another version than {VERSION}", hint="save it again with this hetero")
        return check(_graph_in(content["graph"], tensors, 0))
    except HeteroError as e:
        raise GraphError(f"{path} holds no valid graph: {e.problem}", hint=e.hint) from e
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError, RecursionError) as e:
        raise GraphError(f"{path} holds no valid graph: {type(e).__name__}: {e}") from e


def _read(path: Path) -> tuple[str, dict[str, Array]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="numpy") as file:
            metadata: Mapping[str, str] = file.metadata() or {}
            if KEY not in metadata:
                raise GraphError("the file has no graph in it", hint="was it saved with graph.save?")
            return metadata[KEY], {name: file.get_tensor(name) for name in file.keys()}
    except SafetensorError as e:
        raise GraphError(f"the file is damaged: {e}") from e
    except OSError as e:
        raise GraphError(f"the file cannot be read: {e.strerror or e}") from e


# -- out ----------------------------------------------------------------------------------------------------


def _graph_out(graph: Graph, tensors: dict[str, Array]) -> dict[str, Any]:
    def array(value: Array) -> dict[str, Any]:
        name = f"t{len(tensors)}"
        tensors[name] = value
        return {"name": name, "dtype": value.dtype.name, "shape": list(value.shape)}

    def attribute(value: Any) -> Any:
        if isinstance(value, Graph):
            return {"graph": _graph_out(value, tensors)}
        if isinstance(value, Dim):
            return {"dim": _dim_out(value)}
        if isinstance(value, np.ndarray):
            return {"array": array(value)}
        if isinstance(value, Mapping):
            return {"map": {str(k): attribute(v) for k, v in value.items()}}
        if isinstance(value, tuple | list):
            return [attribute(v) for v in value]
        if isinstance(value, float) and not math.isfinite(value):
            return {"float": repr(value)}
        if isinstance(value, bytes):
            return {"bytes": value.hex()}
        if value is None or isinstance(value, bool | int | float | str):
            return value
        if isinstance(value, np.generic):
            return attribute(value.item())
        raise GraphError(f"an attribute of type {type(value).__name__} cannot be saved")

    return {
        "name": graph.name,
        "inputs": [[p.name, p.value, _type_out(graph.types[p.value])] for p in graph.inputs],
        "constants": [[i, array(a)] for i, a in graph.constants.items()],
        "nodes": [
            {
                "op": n.op.name,
                "inputs": list(n.inputs),
                "outputs": [[i, _type_out(graph.types[i])] for i in n.outputs],
                "attrs": {k: attribute(v) for k, v in n.attrs.items()},
                "where": n.where,
                "name": n.name,
            }
            for n in graph.nodes
        ],
        "outputs": [[p.name, p.value] for p in graph.outputs],
    }


def _type_out(t: TensorType) -> list[Any]:
    shape = None if t.shape is None else [{"dim": _dim_out(n)} if isinstance(n, Dim) else n for n in t.shape]
    return [t.dtype.name, shape]


def _dim_out(dim: Dim) -> list[list[Any]]:
    return [[c, list(m)] for m, c in dim.terms.items()]


def _storable(array: Array) -> Array:
    """safetensors knows the plain dtypes; others go as bytes."""
    flat = np.asarray(array, order="C")
    if flat.dtype.name in _NIBBLES:
        pairs = np.zeros((flat.size + 1) // 2 * 2, np.uint8)
        pairs[: flat.size] = flat.reshape(-1).astype(np.int8).view(np.uint8) & 15
        return pairs[0::2] | pairs[1::2] << 4
    return flat if flat.dtype.name in _PLAIN else flat.reshape(-1).view(np.uint8)


# -- in -----------------------------------------------------------------------------------------------------


def _graph_in(data: Any, tensors: Mapping[str, Array], depth: int) -> Graph:
    if depth > DEPTH:
        raise GraphError(f"graphs inside graphs, more than {DEPTH} deep")
    builder = Builder(str(data["name"]), track=False)
    env: dict[int, Ref] = {}

    def put(value: Any, ref: Ref) -> None:
        if not isinstance(value, int) or value in env:
            raise GraphError(f"value {value!r} is made twice, or is no number")
        env[value] = ref

    for name, value, type in data["inputs"]:
        put(value, builder.input(str(name), _type_in(type)))
    for value, stated in data["constants"]:
        put(value, builder.share(_array_in(stated, tensors)))
    for node in data["nodes"]:
        op = OPS.get(node["op"])
        if op is None:
            raise GraphError(f"no op is called {node['op']!r}")
        attrs = {str(k): _attribute_in(v, tensors, depth) for k, v in node["attrs"].items()}
        with builder.at(str(node["where"]), str(node["name"])):
            outs = builder.emit(op, [_known(env, i) for i in node["inputs"]], attrs)
        stated_types = [_type_in(t) for _, t in node["outputs"]]
        if [r.type for r in outs] != stated_types and op.kind != "late":
            raise GraphError(f"{node['op']} gives {', '.join(str(r.type) for r in outs)}, not what the file says")
        for (value, _), ref in zip(node["outputs"], outs, strict=True):
            put(value, ref)
    return builder.build({str(name): _known(env, value) for name, value in data["outputs"]})


def _known(env: Mapping[int, Ref], value: Any) -> Ref:
    if value not in env:
        raise GraphError(f"value {value!r} is read before it is made")
    return env[value]


def _type_in(data: Any) -> TensorType:
    name, shape = data
    return TensorType(None if shape is None else tuple(_size_in(n) for n in shape), dt.of(str(name)))


def _size_in(data: Any) -> Any:
    if isinstance(data, dict):
        return Dim({tuple(map(str, names)): int(c) for c, names in data["dim"]})
    if isinstance(data, bool) or not isinstance(data, int) or data < 0:
        raise GraphError(f"a size is {data!r}, not a number of 0 or more")
    return data


def _array_in(stated: Any, tensors: Mapping[str, Array]) -> Array:
    dtype, shape = dt.of(str(stated["dtype"])), tuple(_size_in(n) for n in stated["shape"])
    raw = tensors[stated["name"]]
    if dtype.name in _NIBBLES:
        array = _unpacked(raw, dtype, shape)
    else:
        array = raw if raw.dtype == dtype else raw.view(dtype).reshape(shape)
    if array.shape != shape:
        raise GraphError(f"tensor {stated['name']} is {array.shape}, the file says {shape}")
    array = array.copy() if array.flags.writeable and not array.flags.owndata else array
    array.setflags(write=False)
    return array


def _unpacked(raw: Array, dtype: dt.DType, shape: tuple[int, ...]) -> Array:
    """Numbers of 4 bits from their packed form."""
    count = math.prod(shape)
    if raw.dtype != np.uint8 or raw.ndim != 1 or len(raw) != (count + 1) // 2:
        raise GraphError(f"{raw.size} bytes are not {count} numbers of 4 bits")
    nibbles = np.stack([raw & 15, raw >> 4], -1).reshape(-1).astype(np.int8)
    values = np.where(nibbles > 7, nibbles - 16, nibbles) if dtype.name == "int4" else nibbles
    return values[:count].astype(dtype).reshape(shape)


def _attribute_in(data: Any, tensors: Mapping[str, Array], depth: int) -> Any:
    if isinstance(data, list):
        return tuple(_attribute_in(v, tensors, depth + 1) for v in data)
    if not isinstance(data, dict):
        return data
    ((tag, content),) = data.items()
    return _TAGS[tag](content, tensors, depth + 1)


def _map_in(data: Any, tensors: Mapping[str, Array], depth: int) -> Any:
    return {str(k): _attribute_in(v, tensors, depth) for k, v in data.items()}


def _dim_in(data: Any, tensors: Mapping[str, Array], depth: int) -> Any:
    return _size_in({"dim": data})


def _float_in(data: Any, tensors: Mapping[str, Array], depth: int) -> Any:
    return float(data)


def _bytes_in(data: Any, tensors: Mapping[str, Array], depth: int) -> Any:
    return bytes.fromhex(data)


def _array_attribute(data: Any, tensors: Mapping[str, Array], depth: int) -> Any:
    return _array_in(data, tensors)


_TAGS = {
    "graph": _graph_in, "dim": _dim_in, "array": _array_attribute, "map": _map_in, "float": _float_in,
    "bytes": _bytes_in,
}  # fmt: skip
