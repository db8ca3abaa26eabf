"""Modules are data: their tensors have paths, nothing changes one, and what a file lacks is told at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hetero as ht
from hetero import nn
from hetero.errors import BackendError, GraphError, ModelError


class Pair(nn.Module):
    def __init__(self, key: ht.Tensor | None = None) -> None:
        self.first = nn.Linear(3, 2, key=key)
        self.more = {"a": [nn.LayerNorm(2, key=key)], "b": (nn.Linear(2, 1, bias=False, key=key),)}
        self.scale = 2.0

    def __call__(self, x: ht.Tensor) -> ht.Tensor:
        return self.more["b"][0](self.more["a"][0](self.first(x))) * self.scale


PATHS = ["first.weight", "first.bias", "more.a.0.weight", "more.a.0.bias", "more.b.0.weight"]
SHAPES: dict[str, tuple[int, ...]] = dict(zip(PATHS, ((2, 3), (2,), (2,), (2,), (1, 2)), strict=True))


def values(seed: int = 0) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    return {p: rng.uniform(-1, 1, s).astype("float32") for p, s in SHAPES.items()}


def test_tensors_are_named_by_their_path() -> None:
    assert list(nn.state(Pair())) == PATHS
    assert "  more.b.0.weight: float32(1, 2)" in repr(Pair())


def test_a_module_without_a_key_takes_no_memory_and_says_so_when_called() -> None:
    model = Pair()
    assert all(isinstance(leaf, ht.Spec) for leaf in nn.state(model).values())
    with pytest.raises(GraphError, match="weight and bias of this Linear have no values yet"):
        model(ht.ones((1, 3), dtype="float32"))


def test_nothing_changes_a_module() -> None:
    model = Pair(ht.random.key(0))
    with pytest.raises(GraphError, match=r"Pair\.scale is set and stays so"):
        model.scale = 3.0
    with pytest.raises(GraphError, match="stays so"):
        del model.first


def test_bind_gives_another_module_and_leaves_the_first() -> None:
    model = Pair(ht.random.key(0))
    other = nn.bind(model, {"more.b.0.weight": ht.zeros((1, 2), dtype="float32")})
    x = ht.ones((1, 3), dtype="float32")
    assert np.asarray(other(x)).tolist() == [[0.0]]
    assert np.asarray(model(x)).tolist() != [[0.0]]
    assert other.first is not model.first
    assert nn.state(other)["first.weight"] is nn.state(model)["first.weight"]
    with pytest.raises(GraphError, match=r"no more\.c"):
        nn.bind(model, {"more.c": 0})


def test_a_file_gives_back_what_was_saved(tmp_path: Path) -> None:
    model = Pair(ht.random.key(1))
    nn.save_state(model, tmp_path / "m.safetensors")
    again = nn.load_state(Pair(), tmp_path / "m.safetensors")
    x = ht.asarray(np.random.default_rng(0).uniform(-1, 1, (4, 3)).astype("float32"))
    assert np.array_equal(np.asarray(again(x)), np.asarray(model(x)))
    assert [p.name for p in tmp_path.iterdir()] == ["m.safetensors"]


def test_everything_that_does_not_fit_is_told_at_once() -> None:
    given = values()
    del given["first.bias"], given["more.a.0.weight"]
    given |= {"first.weight": np.zeros((3, 2), "float32"), "extra": np.zeros(4, "float32")}
    with pytest.raises(ModelError) as e:
        nn.load_state(Pair(), given)
    text = str(e.value)
    assert "the mapping does not hold this Pair" in text
    for words in (
        "missing: first.bias float32(2,)",
        "missing: more.a.0.weight float32(2,)",
        "unexpected: extra (4,)",
        "shape: first.weight is (3, 2), the module wants (2, 3)",
    ):
        assert words in text


def test_names_of_a_file_are_mapped_and_shown_both_ways() -> None:
    given = {f"model/{p}": a for p, a in values().items()} | {"step": np.zeros(())}

    def rename(name: str) -> str | None:
        return None if name == "step" else name.removeprefix("model/")

    assert np.array_equal(
        np.asarray(nn.state(nn.load_state(Pair(), given, rename=rename))["first.bias"]), values()["first.bias"]
    )
    given["model/first.bias"] = np.zeros(9, "float32")
    with pytest.raises(ModelError, match=r"shape: first\.bias \(model/first\.bias\) is \(9,\)"):
        nn.load_state(Pair(), given, rename=rename)
    with pytest.raises(ModelError, match="are both renamed to x"):
        nn.load_state(Pair(), given, rename=lambda name: "x")


def test_values_take_the_dtype_of_the_module_unless_that_loses_bits() -> None:
    half = {p: a.astype("float16") for p, a in values().items()}
    made = nn.state(nn.load_state(Pair(), half))["first.weight"]
    assert isinstance(made, ht.Tensor)
    assert made.dtype == ht.float32
    assert np.array_equal(np.asarray(made), half["first.weight"].astype("float32"))
    wide = values() | {p: values()[p].astype("float64") for p in PATHS[:2]}
    with pytest.raises(ModelError, match=r"first\.weight: float64 does not go into float32") as e:
        nn.load_state(Pair(), wide)
    assert "first.bias: float64" in str(e.value)


@pytest.mark.parametrize("data", [b"", b"\x08\0\0\0\0\0\0\0nonsense", b"\xff" * 64])
def test_a_damaged_file_is_an_error_of_ours(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "m.safetensors").write_bytes(data)
    with pytest.raises(ModelError, match="is damaged"):
        nn.load_state(Pair(), tmp_path / "m.safetensors")


def test_files_that_are_not_there_are_errors_of_ours(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot be read"):
        nn.load_state(Pair(), tmp_path / "none")
    with pytest.raises(ModelError, match="cannot write"):
        nn.save_state(Pair(ht.random.key(0)), tmp_path / "none" / "m")
    with pytest.raises(GraphError, match="have no values to save"):
        nn.save_state(Pair(), tmp_path / "m")


def test_a_traced_module_has_its_weights_as_constants_or_as_inputs() -> None:
    model = nn.load_state(Pair(), values())
    x = np.random.default_rng(1).uniform(-1, 1, (4, 3)).astype("float32")
    fixed = ht.trace(model, ht.spec(("batch", 3)))
    assert list(fixed.input_types) == ["x"]

    def call(params: dict[str, Any], x: ht.Tensor) -> ht.Tensor:
        return nn.bind(model, params)(x)

    named = ht.trace(call, nn.state(Pair()), ht.spec(("batch", 3)))  # from specs: no weights are needed
    assert list(named.input_types) == [*(f"params.{p}" for p in sorted(PATHS)), "x"]
    assert not [a for a in named.constants.values() if a.size > 1]
    want = np.asarray(model(ht.asarray(x)))
    assert np.allclose(fixed.run({"x": x})["out"], want, atol=1e-6)
    feed = {f"params.{p}": a for p, a in values().items()} | {"x": x}
    assert np.allclose(named.run(feed)["out"], want, atol=1e-6)


# -- first values -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("how", "deviation", "bound"),
    [
        (nn.init.fan_in, (1 / 288 / 3) ** 0.5, 288**-0.5),  # of numbers uniform within b: b / sqrt(3)
        (nn.init.glorot, (6 / (288 + 576) / 3) ** 0.5, (6 / (288 + 576)) ** 0.5),
        (nn.init.he, (2 / 288) ** 0.5, None),
        (nn.init.normal(0.02), 0.02, None),
    ],
)
def test_first_values_have_the_deviation_of_their_source(how: Any, deviation: float, bound: float | None) -> None:
    w = np.asarray(how(ht.random.key(2), (64, 32, 3, 3), "float32"))
    assert w.dtype == np.float32
    assert abs(w.std() / deviation - 1) < 5 / w.size**0.5
    assert abs(w.mean()) < 5 * deviation / w.size**0.5
    if bound:
        assert np.abs(w).max() <= bound
        assert np.abs(w).max() > 0.999 * bound


def test_a_key_gives_the_same_weights_on_every_backend(tensor_device: Any) -> None:
    def weight(device: Any) -> Any:
        return np.asarray(nn.state(nn.Linear(7, 5, key=ht.random.key(9, device=device)))["weight"])

    if tensor_device.backend == "onnxruntime":  # which draws nothing, and says so
        with pytest.raises(BackendError, match="philox has no form in ONNX"):
            weight(tensor_device)
    else:
        assert np.array_equal(weight(tensor_device), weight("numpy"))


def test_layers_of_one_model_do_not_share_a_key() -> None:
    made = nn.MultiHeadAttention(8, 2, key=ht.random.key(0))
    weights = [np.asarray(leaf).tobytes() for leaf in nn.state(made).values()]
    assert len(set(weights)) == len(weights)
