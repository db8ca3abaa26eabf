"""Graphs to disk and back; damaged and hostile files give an error and nothing else."""

from __future__ import annotations

import json
import os
import random
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hetero import dtype as dt
from hetero.dim import Dim
from hetero.errors import GraphError, HeteroError
from hetero.graph.build import Builder
from hetero.graph.ir import Graph
from hetero.graph.store import load, save
from hetero.op import TensorType
from hetero.testing import random_graph
from hetero.testing.hostile import runs_or_is_refused

EXAMPLES = int(os.environ.get("HETERO_FUZZ_EXAMPLES", "2000"))


def everything() -> Graph:
    """One of each thing that a file can hold."""
    batch = Dim.symbol("batch")
    body = Builder("body")
    s, x = (body.input(n, TensorType((3,), dt.float32)) for n in "sx")
    inner = body.build({"s": body("add", body("multiply", s, 0.5), x), "y": s})
    builder = Builder("everything")
    x = builder.input("x", TensorType((batch, 3), dt.float32))
    with builder.at("", "the_loop"):
        state, ys = builder("scan", builder.constant(np.zeros(3, "float32")), x, body=inner, carried=1, scanned=1)
    small = builder("cast", builder("reshape", ys, shape=(batch * 3,)), dtype="bfloat16")
    low = builder("pad", x, before=(0, 1), after=(0, 0), value=float("-inf"))
    constants = {
        f"c{k}": builder.constant(np.array([1, 0]).astype(name))
        for k, name in enumerate(("bool", "int8", "uint64", "float16", "complex64", "bfloat16"))
    }
    return builder.build({"state": state, "small": small, "low": low, **constants})


def test_a_graph_comes_back_as_it_went(tmp_path: Path) -> None:
    graph = everything()
    graph.save(str(tmp_path / "g.hetero"))
    again = load(tmp_path / "g.hetero")
    assert again == graph
    assert str(again) == str(graph)
    x = np.arange(12, dtype="float32").reshape(4, 3)
    for name, array in graph.run({"x": x}).items():
        assert np.array_equal(array, again.run({"x": x})[name]), name


@pytest.mark.parametrize("seed", range(20))
def test_random_graphs_come_back(seed: int, tmp_path: Path) -> None:
    graph, arrays = random_graph(seed)
    save(graph, tmp_path / "g.hetero")
    for want, got in zip(graph.evaluate(*arrays), load(tmp_path / "g.hetero").evaluate(*arrays), strict=True):
        assert np.array_equal(want, got)


def test_the_file_is_plain_safetensors_that_others_can_read(tmp_path: Path) -> None:
    from safetensors.numpy import load_file

    graph, _ = random_graph(1)
    save(graph, tmp_path / "g.safetensors")
    stored = load_file(tmp_path / "g.safetensors")
    assert sorted(a.tobytes() for a in stored.values()) == sorted(a.tobytes() for a in graph.constants.values())


def test_saving_where_it_cannot_be_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(GraphError, match="cannot write"):
        everything().save(str(tmp_path / "no" / "such" / "folder" / "g.hetero"))
    assert list(tmp_path.iterdir()) == []


def test_a_failed_save_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "g.hetero"
    everything().save(str(path))
    before = path.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(GraphError, match="No space left"):
        everything().save(str(path))
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["g.hetero"]


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"", "damaged"), (b"\x00" * 100, "damaged|no graph"), (b"PK\x03\x04" + b"x" * 50, "damaged"),
     (struct.pack("<Q", 2**60) + b"{}", "damaged")],
)  # fmt: skip
def test_a_file_that_is_no_graph_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(GraphError, match=said):
        load(tmp_path / "x")


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "nothing", tmp_path):
        with pytest.raises(GraphError, match="holds no valid graph"):
            load(path)


def header(path: Path) -> tuple[dict[str, Any], bytes]:
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def write(path: Path, head: dict[str, Any], rest: bytes) -> None:
    text = json.dumps(head).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + rest)


HOSTILE: list[Any] = [
    None, True, -1, 2**70, 1e308, "", "os.system", [], [[]], {}, {"graph": {}}, {"array": {"name": "t0"}},
    {"dim": [[1, ["a"]]]}, {"bytes": "zz"}, {"map": 3}, {"float": "x"}, "permute", "late", 0, 1, 7,
]  # fmt: skip


def mutate(value: Any, rng: random.Random) -> Any:
    """One change at a random place of a JSON value."""
    if isinstance(value, dict) and value and rng.random() < 0.9:
        key = rng.choice(sorted(value))
        if rng.random() < 0.1:
            return {k: v for k, v in value.items() if k != key}
        return value | {key: mutate(value[key], rng)}
    if isinstance(value, list) and value and rng.random() < 0.9:
        k = rng.randrange(len(value))
        if rng.random() < 0.15:
            return value[:k] + value[k + 1 :] if rng.random() < 0.5 else [*value, value[k]]
        return [*value[:k], mutate(value[k], rng), *value[k + 1 :]]
    return rng.choice(HOSTILE)


def loads(path: Path) -> bool:
    """Whether the file is taken; anything but a HeteroError is a crash."""
    try:
        load(path).check()
    except HeteroError:
        return False
    return True


def test_fuzzed_programs_load_or_are_refused(tmp_path: Path) -> None:
    """The program changed at random places: a valid graph or a HeteroError, and never anything else."""
    everything().save(str(tmp_path / "g"))
    head, rest = header(tmp_path / "g")
    program = json.loads(head["__metadata__"]["hetero_graph"])
    refused = 0
    for seed in range(EXAMPLES):
        rng = random.Random(seed)
        changed = program
        for _ in range(rng.randint(1, 3)):
            changed = mutate(changed, rng)
        write(tmp_path / "m", head | {"__metadata__": {"hetero_graph": json.dumps(changed)}}, rest)
        refused += not loads(tmp_path / "m")
    assert refused > EXAMPLES // 4


@pytest.mark.parametrize("part", range(3))
def test_fuzzed_programs_that_load_run_or_are_refused(part: int, tmp_path: Path) -> None:
    """What the reader lets pass gives results or a HeteroError when it runs."""
    save(everything() if part == 0 else random_graph(part)[0], tmp_path / "g")
    head, rest = header(tmp_path / "g")
    program = json.loads(head["__metadata__"]["hetero_graph"])
    ran = 0
    for seed in range(part, EXAMPLES, 3):
        rng = random.Random(seed)
        changed = mutate(program, rng)
        if rng.random() < 0.3:
            changed = mutate(changed, rng)
        write(tmp_path / "m", head | {"__metadata__": {"hetero_graph": json.dumps(changed)}}, rest)
        if loads(tmp_path / "m"):
            ran += runs_or_is_refused(f"program {part}, number {seed}", load(tmp_path / "m"), rng)
    assert ran > EXAMPLES // 100


def test_fuzzed_bytes_load_or_are_refused(tmp_path: Path) -> None:
    """Bits flipped, ends cut off, stretches doubled."""
    everything().save(str(tmp_path / "g"))
    data = (tmp_path / "g").read_bytes()
    for seed in range(EXAMPLES):
        rng = random.Random(seed)
        changed = bytearray(data)
        for _ in range(rng.randint(1, 8)):
            changed[rng.randrange(len(changed))] = rng.randrange(256)
        if rng.random() < 0.3:
            del changed[rng.randrange(len(changed)) :]
        (tmp_path / "m").write_bytes(changed)
        loads(tmp_path / "m")
