"""Each layer gives what PyTorch's own layer of that name gave (record_torch.py), on every backend."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hetero as ht
from hetero import nn
from hetero.nn.heads import repeated
from hetero.spi import Device

RECORDED: dict[str, Any] = dict(np.load(Path(__file__).parent / "torch_layers.npz"))


def case(name: str) -> dict[str, Any]:
    return {k.split("/")[1]: v for k, v in RECORDED.items() if k.startswith(f"{name}/")}


LAYERS: dict[str, Callable[[], Any]] = {
    "linear": lambda: nn.Linear(5, 3),
    "linear_plain": lambda: nn.Linear(5, 3, bias=False),
    "embedding": lambda: nn.Embedding(7, 3),
    "layer_norm": lambda: nn.LayerNorm(6, epsilon=1e-3),
    "rms_norm": lambda: nn.RMSNorm(6, epsilon=1e-3),
    "batch_norm": lambda: nn.BatchNorm(3, epsilon=1e-3),
    "conv": lambda: nn.Conv2d(4, 6, (3, 2), stride=(2, 1), padding=(1, 2), dilation=(1, 2), groups=2),
    "conv_plain": lambda: nn.Conv2d(2, 3, 3, bias=False),
}


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_gives_what_torch_gives(tensor_device: Device, name: str) -> None:
    given = case(name)
    y, x = given.pop("y"), given.pop("x0")
    layer = nn.load_state(LAYERS[name](), given, device=tensor_device)
    assert np.allclose(np.asarray(ht.jit(layer)(ht.asarray(x, device=tensor_device))), y, atol=2e-6)


def heads(given: dict[str, Any], number: int, bias: bool = True) -> nn.MultiHeadAttention:
    """Torch has the weights of query, key and value in one."""
    made: dict[str, Any] = {}
    for leaf in ("weight", "bias") if bias else ("weight",):
        parts = np.split(given[f"in_proj_{leaf}"], 3)
        made |= {f"{n}.{leaf}": p for n, p in zip(("query", "key", "value"), parts, strict=True)}
        made[f"output.{leaf}"] = given[f"out_proj.{leaf}"]
    return nn.load_state(nn.MultiHeadAttention(8, number, bias=bias), made)


HEADS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "heads": lambda g: heads(g, 2)(ht.asarray(g["x0"])),
    "heads_masked": lambda g: heads(g, 4)(ht.asarray(g["x0"]), mask=ht.asarray(~g["hidden"][:, None, None])),
    "heads_causal": lambda g: heads(g, 2)(ht.asarray(g["x0"]), causal=True),
    "heads_context": lambda g: heads(g, 2, False)(ht.asarray(g["x0"]), context=ht.asarray(g["x1"])),
}


@pytest.mark.parametrize("name", HEADS)
def test_attention_of_several_heads_gives_what_torch_gives(tensor_device: Device, name: str) -> None:
    with ht.use(tensor_device.name):
        got = HEADS[name](case(name))
    assert got.device == tensor_device or tensor_device.backend == "auto"
    assert np.allclose(np.asarray(got), case(name)["y"], atol=2e-6)


def test_fewer_heads_of_keys_serve_neighbours_as_in_torch() -> None:
    g = {k: ht.asarray(v) for k, v in case("groups").items()}
    k, v = (repeated(g[n], 2) for n in "kv")
    assert np.allclose(np.asarray(nn.attention(g["q"], k, v, g["mask"], scale=0.3)), np.asarray(g["y"]), atol=2e-6)


@pytest.mark.parametrize("name", ["relu", "gelu", "sigmoid", "silu", "softplus"])
def test_an_activation_gives_what_torch_gives(name: str) -> None:
    given = case("act")
    assert np.allclose(np.asarray(getattr(nn, name)(ht.asarray(given["x"]))), given[name], atol=1e-6)


def test_functions_along_an_axis_and_the_other_gelu() -> None:
    given = case("act")
    x = ht.asarray(given["x"])
    assert np.allclose(np.asarray(nn.softmax(x, 0)), given["softmax"], atol=1e-6)
    assert np.allclose(np.asarray(nn.log_softmax(x, -2)), given["log_softmax"], atol=2e-6)
    assert np.allclose(np.asarray(nn.gelu(x, "tanh")), given["gelu_tanh"], atol=1e-6)


def test_dropout_does_nothing_without_a_key() -> None:
    x = ht.ones((4, 5), dtype="float32")
    assert nn.Dropout(0.5)(x) is x
    assert nn.Dropout(0.0)(x, ht.random.key(0)) is x


def test_dropout_keeps_the_mean_and_zeroes_its_rate() -> None:
    x = ht.ones((400, 500), dtype="float32")
    y = np.asarray(nn.Dropout(0.25)(x, ht.random.key(5)))
    assert set(np.unique(y)) == {np.float32(0), np.float32(4 / 3)}
    share = float(np.mean(y == 0))
    assert abs(share - 0.25) < 5 * (0.25 * 0.75 / y.size) ** 0.5  # five deviations of a binomial
    assert np.array_equal(y, np.asarray(nn.dropout(x, 0.25, ht.random.key(5))))
    assert not np.array_equal(y, np.asarray(nn.dropout(x, 0.25, ht.random.key(6))))


def test_a_sequence_takes_layers_and_functions() -> None:
    a, b = ht.random.split(ht.random.key(0))
    model = nn.Sequential(nn.Linear(3, 4, key=a), nn.relu, nn.Linear(4, 2, key=b))
    x = np.random.default_rng(0).uniform(-1, 1, (5, 3)).astype("float32")
    w = {k: np.asarray(v) for k, v in nn.state(model).items()}
    hidden = np.maximum(x @ w["layers.0.weight"].T + w["layers.0.bias"], 0)
    assert np.allclose(
        np.asarray(model(ht.asarray(x))), hidden @ w["layers.2.weight"].T + w["layers.2.bias"], atol=1e-6
    )


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: nn.MultiHeadAttention(8, 3), "3 heads, 3 of them for keys and values, do not share a width of 8"),
        (lambda: nn.MultiHeadAttention(8, 4, kv_heads=3), "4 heads, 3 of them"),
        (lambda: nn.Conv2d(1, 1, 3, stride=(1, 2, 3)), "stride has 3 numbers for 2 axes"),
        (lambda: nn.dropout(ht.ones((2,)), 1.0), "rate from 0 up to, but not, 1"),
        (lambda: nn.rotary(ht.ones((2, 3)), ht.arange(2)), "even width, got 3"),
        (lambda: nn.init.he(ht.random.key(0), (4,)), "no fan"),
    ],
)
def test_what_makes_no_sense_is_refused(make: Callable[[], Any], words: str) -> None:
    with pytest.raises(ht.HeteroError, match=words):
        make()
