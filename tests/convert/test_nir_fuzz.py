"""Damaged and hostile NIR files: each gives a Graph or a ModelError; no other exception, no warning, no hang, no crash.

HETERO_FUZZ_EXAMPLES (800 unless told otherwise) files, the same ones for the same number: half have bytes changed,
half have something changed in what they say, so that the file still opens.
"""

from __future__ import annotations

import io
import os
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import nir as typed_nir
import numpy as np
import pytest

from hetero.convert.nir_in import from_nir
from hetero.errors import ModelError
from hetero.graph.ir import Graph
from hetero.testing.hostile import runs_or_is_refused

nir: Any = typed_nir  # whose annotations do not allow what its functions take
EXAMPLES = int(os.environ.get("HETERO_FUZZ_EXAMPLES", "800"))
PARTS = 8
LIMIT_S = 20.0  # for one file; the slowest takes far less than one second
LIF = Path(__file__).parent.parent / "data/nir/lif_norse.nir"

# -- what is damaged ----------------------------------------------------------------------------------------


def _bytes(graph: Any) -> bytes:
    file = io.BytesIO()
    nir.write(file, graph)
    return file.getvalue()


def _port(kind: str, *shape: int) -> Any:
    return getattr(nir, kind)(np.array(shape))


def _full(n: Any, *values: float) -> list[Any]:
    return [np.full(n, v, np.float32) for v in values]


def pictures() -> bytes:
    """Every type of node that is for pictures."""
    rng = np.random.default_rng(0)
    pair = np.array([2, 2])
    nodes = {
        "in": _port("Input", 2, 8, 8),
        "conv": nir.Conv2d((8, 8), rng.normal(size=(4, 2, 3, 3)), 1, "same", 1, 1, np.zeros(4)),
        "if": nir.IF(*_full((4, 8, 8), 1, 1)),
        "sum": nir.SumPool2d(pair, pair, np.array([0, 0])),
        "mean": nir.AvgPool2d(pair, pair, np.array([0, 0])),
        "flat": nir.Flatten({"input": np.array([4, 2, 2])}, 0, -1),
        "fc": nir.Affine(rng.normal(size=(3, 16)), np.zeros(3)),
        "lif": nir.LIF(*_full(3, 5e-3, 1, 0, 0.1)),
        "out": _port("Output", 3),
    }
    return _bytes(nir.NIRGraph(nodes, list(zip(nodes, list(nodes)[1:], strict=False)), type_check=False))


def loops() -> bytes:
    """Graphs in graphs, loops, delays, and the other neurons."""
    rng = np.random.default_rng(1)
    ports = {"input": _port("Input", 3), "output": _port("Output", 3)}
    core = nir.NIRGraph(
        ports | {"l": nir.CubaLIF(*_full(3, 2e-3, 5e-3, 1, 0, 0.1)), "w": nir.Linear(rng.normal(size=(3, 3)))},
        [("input", "l"), ("l", "w"), ("w", "l"), ("l", "output")],
    )
    nodes = {
        "in": _port("Input", 3), "s": nir.Scale(rng.normal(size=3)), "core": core,
        "d": nir.Delay(np.array([0, 1e-3, 4e-3])), "t": nir.Threshold(np.zeros(3)), "li": nir.LI(*_full(3, 5e-3, 1, 0)),
        "i": nir.I(np.ones(3)), "c": nir.CubaLI(*_full(3, 2e-3, 5e-3, 1, 0)), "out": _port("Output", 3),
    }  # fmt: skip
    edges = [("in", "s"), ("s", "core"), ("core", "d"), ("d", "t"), ("t", "li"), ("li", "out"), ("d", "s"),
             ("core", "i"), ("i", "c"), ("c", "out")]  # fmt: skip
    return _bytes(nir.NIRGraph(nodes, edges, type_check=False))


def published() -> bytes:
    return LIF.read_bytes()


SOURCES = [s() for s in (pictures, loops, published)]

# -- damage by bytes ----------------------------------------------------------------------------------------


def changed_bytes(data: bytes, rng: random.Random) -> bytes:
    """Cut off, with bytes flipped, repeated, removed or put in; mostly where bytes say something."""
    raw = bytearray(data)
    telling = [k for k, b in enumerate(raw) if b]
    for _ in range(rng.choice([1, 1, 2, 8])):
        at = min(rng.choice(telling) if rng.random() < 0.8 else rng.randrange(len(data)), max(len(raw) - 1, 0))
        kind = rng.randrange(8)
        if kind == 0:
            del raw[at:]
        elif kind < 4 and raw:
            raw[at] ^= 1 << rng.randrange(8)
        elif kind == 4:
            raw[at : at + rng.randrange(1, 9)] = rng.randbytes(rng.randrange(9))
        elif kind == 5:
            del raw[at : at + rng.randrange(1, 40)]
        elif kind == 6:
            size = rng.choice([1, 2, 4, 8])
            raw[at : at + size] = rng.choice([b"\xff", b"\0", b"\x7f"]) * size
        else:
            raw[at : at + 8] = rng.randrange(len(data)).to_bytes(8, "little")  # an address of something else
    return bytes(raw)


# -- damage by what is said ---------------------------------------------------------------------------------

SIZES = [0, -1, 1, 7, 2**31, 2**40, 2**62, 2**63 - 1, -(2**63)]
VALUES: list[Any] = [0, -1, 1, 1e300, float("nan"), float("inf"), -1e-320, 2**62, True, "same", "1", "\0", [[1]], 1j]
NAMES = ["", "in", "l", "core", "core/l", "nothing", "x" * 400, "..", "input", "w", "d"]
TYPES = ["NIRGraph", "Input", "Output", "LIF", "Conv2d", "Conv1d", "Affine", "Delay", "Flatten", "lif", "", "object"]


def _groups(file: Any) -> list[Any]:
    found: list[Any] = [file["node"]] if "node" in file else []
    for group in found:
        if len(found) < 60:  # one that holds itself has no end
            found += [m for m in (group.get(k) for k in group) if isinstance(m, h5py.Group)]
    return found


def _group(file: Any, rng: random.Random) -> Any:
    return rng.choice(_groups(file) or [file])


def _key(group: Any, rng: random.Random) -> str:
    return rng.choice(sorted(group) or ["type"])


def _numbers(group: Any, rng: random.Random) -> tuple[str, Any]:
    """The name and values of one of the group's arrays; "" where there is none."""
    for key in rng.sample(sorted(group), len(group)):
        data = group.get(key)
        few = isinstance(data, h5py.Dataset) and data.shape is not None and (data.size or 0) < 10**5
        if few and data.dtype.kind in "fi":
            return key, data[()]
    return "", None


def _put(group: Any, key: str, value: Any) -> None:
    if key in group:
        del group[key]
    group.create_dataset(key, data=value)


def drop(file: Any, rng: random.Random) -> None:
    group = _group(file, rng)
    if len(group):
        del group[_key(group, rng)]


def change_value(file: Any, rng: random.Random) -> None:
    group = _group(file, rng)
    _put(group, _key(group, rng), rng.choice(VALUES))


def change_element(file: Any, rng: random.Random) -> None:
    group = _group(file, rng)
    key, array = _numbers(group, rng)
    if key and array.shape and array.size:
        odd = rng.choice([0, -1, 1e300, float("nan"), 2.0**62, 1e-320, 3])
        array.flat[rng.randrange(array.size)] = odd if array.dtype == np.float64 else rng.choice([0, -1, 3, 10**6])
        _put(group, key, array)


def change_shape(file: Any, rng: random.Random) -> None:
    group = _group(file, rng)
    key, array = _numbers(group, rng)
    if key:
        flat = array.reshape(-1)
        _put(group, key, rng.choice([flat, array[..., None], array.T, flat[:-1]]))


def change_kind(file: Any, rng: random.Random) -> None:
    group = _group(file, rng)
    key, array = _numbers(group, rng)
    if key:
        with np.errstate(all="ignore"):
            _put(group, key, array.astype(rng.choice(["f2", "i1", "u8", "?", "S4", "c8", "f8"])))


def declare_much(file: Any, rng: random.Random) -> None:
    """An array that is large and holds nothing."""
    group = _group(file, rng)
    key = _key(group, rng)
    if key in group:
        del group[key]
    group.create_dataset(key, (rng.choice([2**20, 2**33, 2**50]),), "f4", chunks=(1024,), compression="gzip")


def change_ports(file: Any, rng: random.Random) -> None:
    for group in rng.sample(_groups(file), len(_groups(file))):
        if "shape" in group:
            return _put(group, "shape", np.array(rng.choices(SIZES, k=rng.randrange(4)), np.int64))
    return None


def change_type(file: Any, rng: random.Random) -> None:
    _put(_group(file, rng), "type", rng.choice(TYPES))


def change_edges(file: Any, rng: random.Random) -> None:
    for group in rng.sample(_groups(file), len(_groups(file))):
        old, nodes = group.get("edges"), group.get("nodes")
        if not isinstance(nodes, h5py.Group) or not isinstance(old, h5py.Dataset) or old.dtype.kind != "O":
            continue
        names = [*NAMES, *nodes]
        known = [[str(n, "utf8") for n in e] for e in np.asarray(old[()], object).reshape(-1, 2)]
        kept = rng.sample(known, rng.randrange(len(known) + 1)) if rng.random() < 0.3 else known
        chosen = names if rng.random() < 0.3 else list(nodes) or names
        more = [rng.choices(chosen, k=2) for _ in range(rng.choice([1, 2, 40]))]
        return _put(group, "edges", np.array([*kept, *more], h5py.string_dtype()))
    return None


def nest_in_itself(file: Any, rng: random.Random) -> None:
    """The same group a second time: in itself, in another, or by a link."""
    group, other = _group(file, rng), _group(file, rng)
    name = rng.choice(NAMES) or "again"
    name = name if name not in (".", "..") and name not in group else "again"
    if name in group:
        return
    group[name] = rng.choice([other, h5py.SoftLink("/node"), h5py.ExternalLink("/etc/passwd", "/x"),
                              h5py.SoftLink("/nothing")])  # fmt: skip


def nest_deeply(file: Any, rng: random.Random) -> None:
    group = _group(file, rng)
    for _ in range(rng.choice([5, 30, 300])):
        _put(group, "type", "NIRGraph")
        _put(group, "edges", [])
        if "nodes" in group:
            del group["nodes"]
        group = group.create_group("nodes").create_group("n")
    _put(group, "type", rng.choice(TYPES))


CHANGES: list[Callable[[Any, random.Random], None]] = [
    drop, change_value, change_element, change_element, change_shape, change_kind, declare_much, change_ports,
    change_type, change_edges, change_edges, nest_in_itself, nest_deeply,
]  # fmt: skip


def changed_words(data: bytes, rng: random.Random) -> bytes:
    file = io.BytesIO(data)
    with h5py.File(file, "r+") as opened:
        for _ in range(rng.choice([1, 1, 2, 4])):
            try:
                rng.choice(CHANGES)(opened, rng)
            except (ValueError, TypeError, OSError, RuntimeError, KeyError, OverflowError, AttributeError):
                continue  # h5py does not write this one
    return file.getvalue()


def files(part: int) -> Iterator[tuple[str, bytes]]:
    for number in range(part, EXAMPLES, PARTS):
        rng = random.Random(number)
        change = changed_bytes if number // PARTS % 2 else changed_words
        yield f"{change.__name__}, number {number}", change(rng.choice(SOURCES), rng)


# -- what comes of it ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("part", range(PARTS))
def test_fuzz_damaged_files_give_a_graph_or_a_model_error(part: int, tmp_path: Path) -> None:
    """What is accepted runs, or is refused by what it would take."""
    accepted = 0
    for name, data in files(part):
        path = tmp_path / "damaged.nir"
        path.write_bytes(data)
        began = time.perf_counter()
        try:
            graph = from_nir(path, dt=1e-3, rule=("euler", "exact")[part % 2], steps=3)
        except ModelError:
            graph = None
        except BaseException as e:
            raise AssertionError(f"{name}: {e!r}") from e
        if graph is not None:
            assert isinstance(graph, Graph)
            accepted += runs_or_is_refused(name, graph, random.Random(0))
        assert time.perf_counter() - began < LIMIT_S, f"{name} took too long"
    assert accepted >= EXAMPLES // PARTS // 20


@pytest.mark.parametrize("source", SOURCES, ids=["pictures", "loops", "published"])
def test_fuzz_undamaged_files_run(source: bytes, tmp_path: Path) -> None:
    (tmp_path / "net.nir").write_bytes(source)
    graph = from_nir(tmp_path / "net.nir", dt=1e-3, rule="euler", steps=3)
    assert runs_or_is_refused("undamaged", graph, random.Random(0))


# -- what a file must not reach -----------------------------------------------------------------------------


def refused(tmp_path: Path, change: Callable[[Any], None], said: str) -> None:
    (tmp_path / "net.nir").write_bytes(SOURCES[1])
    with h5py.File(tmp_path / "net.nir", "r+") as file:
        change(file["node/nodes"])
    with pytest.raises(ModelError, match=said):
        from_nir(tmp_path / "net.nir", dt=1e-3, rule="euler")


def test_no_other_file_is_opened(tmp_path: Path) -> None:
    other = tmp_path / "other.h5"
    with h5py.File(other, "w") as file:
        file["scale"] = np.ones(3)
    (tmp_path / "raw").write_bytes(np.ones(3).tobytes())

    def link(nodes: Any) -> None:
        del nodes["s/scale"]
        nodes["s"]["scale"] = h5py.ExternalLink(str(other), "scale")

    def external(nodes: Any) -> None:
        del nodes["s/scale"]
        nodes["s"].create_dataset("scale", (3,), "f8", external=[(str(tmp_path / "raw"), 0, 24)])

    def virtual(nodes: Any) -> None:
        del nodes["s/scale"]
        layout = h5py.VirtualLayout((3,), "f8")
        layout[:] = h5py.VirtualSource(str(other), "scale", (3,))
        nodes["s"].create_virtual_dataset("scale", layout)

    refused(tmp_path, link, "link to elsewhere")
    refused(tmp_path, external, "in another file")
    refused(tmp_path, virtual, "in another file")


def test_what_unpacks_to_much_is_refused_before_it_does(tmp_path: Path) -> None:
    def much(nodes: Any) -> None:
        del nodes["s/scale"]
        nodes["s"].create_dataset("scale", (2**30,), "f4", chunks=(2**20,), compression="gzip")

    refused(tmp_path, much, "too much to be true")


def test_a_graph_in_itself_is_refused(tmp_path: Path) -> None:
    def again(nodes: Any) -> None:
        nodes["core/nodes"]["core"] = nodes["core"]

    refused(tmp_path, again, "stands in it twice")
    graph = nir.NIRGraph({"in": _port("Input", 1), "out": _port("Output", 1)}, [("in", "out")])
    graph.nodes["self"] = graph
    with pytest.raises(ModelError, match="does it hold itself"):
        from_nir(graph, dt=1e-3, rule="euler")


def test_ports_that_double_at_each_step_are_counted() -> None:
    """Sixty graphs in a row, each of which gives twice what comes in: 2**60 edges."""
    ports = {"input": _port("Input", 1), "output": _port("Output", 1)}
    through = nir.NIRGraph(ports, [("input", "output")], type_check=False)
    nodes = {"in": _port("Input", 1), "out": _port("Output", 1)}
    nodes |= {f"{side}{k}": through for k in range(60) for side in "ab"}
    edges = [("in", "a0"), ("in", "b0"), ("a59", "out")]
    edges += [(f"{s}{k}", f"{t}{k + 1}") for k in range(59) for s in "ab" for t in "ab"]
    with pytest.raises(ModelError, match="too many edges"):
        from_nir(nir.NIRGraph(nodes, edges, type_check=False), dt=1e-3, rule="euler")


@pytest.mark.parametrize("path", ["nothing.nir", ".", "a\0b"])
def test_what_is_no_file_is_refused(path: str) -> None:
    with pytest.raises(ModelError, match="cannot read"):
        from_nir(path, dt=1e-3, rule="euler")
