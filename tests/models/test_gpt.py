"""The decoder: scores as PyTorch's layers give them, the cache as if there were none, the same tokens everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

import hetero as ht
from hetero import nn
from hetero.errors import AttributeValueError, DTypeError, HeteroError, ShapeError
from hetero.models import Gpt, GptConfig
from hetero.models.generation import Sampler, generation, gumbel
from hetero.op import Array
from hetero.spi import Device

RECORDED: dict[str, Any] = dict(np.load(Path(__file__).parent / "torch_models.npz"))
CONFIGS = {
    "learned": GptConfig(vocabulary=50, width=24, layers=2, heads=3, length=20),
    "rotary": GptConfig(
        vocabulary=50, width=32, layers=2, heads=4, length=20, positions="rotary", kv_heads=2, inner=40
    ),
}


def model_of(name: str) -> Gpt:
    """Weights large enough that scores differ by more than rounding, and tokens are not only repeated."""
    model = Gpt(CONFIGS[name], ht.random.key(7))
    matrices = {p: leaf for p, leaf in nn.state(model).items() if isinstance(leaf, ht.Tensor) and leaf.ndim == 2}
    return nn.bind(model, {p: leaf * (4.0 if "layers" in p else 10.0) for p, leaf in matrices.items()})


MODELS = {name: model_of(name) for name in CONFIGS}
PROMPT = np.random.default_rng(0).integers(0, 50, (2, 5))


def from_torch(name: str) -> str | None:
    parts = {"norm1": "attention_norm", "norm2": "norm", "linear1": "up", "linear2": "down"}
    for old, new in parts.items():
        name = name.replace(f".{old}.", f".{new}.")
    return name.replace("self_attn.out_proj", "attention.output")


def test_scores_are_those_of_torch() -> None:
    given = {k.removeprefix("gpt/"): v for k, v in RECORDED.items() if k.startswith("gpt/")}
    ids, y = given.pop("ids"), given.pop("y")
    for i in range(2):
        for leaf in ("weight", "bias"):
            parts = np.split(given.pop(f"layers.{i}.self_attn.in_proj_{leaf}"), 3)
            names = ("query", "key", "value")
            given |= {f"layers.{i}.attention.{n}.{leaf}": p for n, p in zip(names, parts, strict=True)}
    model = nn.load_state(Gpt(GptConfig(17, 12, 2, 3, 10, inner=20)), given, rename=from_torch)
    got = np.asarray(ht.jit(model)(ht.asarray(ids)))
    assert np.allclose(got, y, atol=1e-4 * np.abs(y).max())
    graph = ht.trace(model, ht.spec(("batch", "sequence"), "int64"))  # the length stays open
    assert np.allclose(graph.run({"ids": ids})["out"], got, atol=1e-5 * np.abs(y).max())


@pytest.mark.parametrize("name", MODELS)
def test_decoding_with_a_cache_gives_what_the_whole_gives(tensor_device: Device, name: str) -> None:
    model, ids = MODELS[name], np.random.default_rng(1).integers(0, 50, (2, 9))
    whole = np.asarray(model(ht.asarray(ids)))

    def along(ids: ht.Tensor) -> ht.Tensor:
        """A prompt of three, then one token after another in a loop."""
        first, caches = model.decode(ids[:, :3], model.empty_cache(2), 0)

        def step(state: Any, token: Any) -> Any:
            position, caches = state
            scores, caches = model.decode(token.reshape((2, 1)), caches, position)
            return (position + 1, caches), scores

        _, rest = ht.scan(step, (ht.asarray(3), caches), ids[:, 3:].T)
        return ht.concat([first.reshape((1, 2, 50)), rest], axis=0)

    got = ht.trace(along, ht.spec((2, 9), "int64")).run({"ids": ids}, device=tensor_device.name)["out"]
    assert np.allclose(np.moveaxis(got, 0, 1), whole[:, 2:], atol=1e-5 * np.abs(whole).max())


def test_a_decoder_is_the_same_in_onnx() -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    from hetero.convert.onnx_out import to_onnx

    model = MODELS["rotary"]
    graph = generation(model, 2, 5, 6, Sampler())
    session = onnxruntime.InferenceSession(to_onnx(graph).SerializeToString(), providers=["CPUExecutionProvider"])
    (tokens,) = session.run(None, {"prompt": PROMPT, "noise": gumbel(None, (6, 1, 1))})
    assert np.array_equal(tokens, model.generate(PROMPT, 6).tokens)


def by_hand(model: Gpt, prompt: Array, steps: int, pick: Any) -> Array:
    """No cache and no loop: everything again for each token."""
    ids = prompt
    for k in range(steps):
        scores = np.asarray(model(ht.asarray(ids)))[:, -1]
        ids = np.concatenate([ids, pick(scores, k)[:, None]], 1)
    return ids[:, prompt.shape[1] :]


@pytest.mark.parametrize("name", MODELS)
def test_tokens_are_those_of_the_highest_scores_on_every_backend(tensor_device: Device, name: str) -> None:
    made = MODELS[name].generate(PROMPT, 8, device=tensor_device.name)
    assert np.array_equal(made.tokens, by_hand(MODELS[name], PROMPT, 8, lambda scores, k: scores.argmax(1)))
    assert len(set(made.tokens.ravel().tolist())) > 5  # no token over and over
    assert made.device == tensor_device.name
    assert made.measured_s > 0
    assert made.tokens_per_s == 16 / made.measured_s
    assert "16 tokens behind 10 on" in str(made)
    assert "(measured)" in str(made)


def test_tokens_are_drawn_alike_on_every_backend(tensor_device: Device) -> None:
    model, key = MODELS["learned"], ht.random.key(3, device="numpy")
    noise = gumbel(key, (8, 2, 50))

    def pick(scores: Array, k: int) -> Array:
        scaled = scores / 4.0
        least = np.sort(scaled, 1)[:, -5][:, None]
        return np.where(scaled >= least, scaled + noise[k], -np.inf).argmax(1)

    made = model.generate(PROMPT, 8, key=key, temperature=4.0, top_k=5, device=tensor_device.name)
    assert np.array_equal(made.tokens, by_hand(model, PROMPT, 8, pick))
    other = model.generate(PROMPT, 8, key=ht.random.key(4, device="numpy"), temperature=4.0, top_k=5)
    assert not np.array_equal(made.tokens, other.tokens)


def test_draws_follow_the_scores() -> None:
    """5,000 draws of one row: every token's share is within five deviations of what softmax says."""
    scores = np.array([2.0, 1.0, 0.0, -1.0, -30.0], "float32")
    many = np.tile(scores, (5000, 1))
    noise = ht.asarray(gumbel(ht.random.key(0), many.shape))
    for temperature, top_k in ((1.0, None), (2.0, 3)):
        kept = np.where(scores >= np.sort(scores)[-(top_k or 5)], np.exp(scores / temperature), 0)
        share = kept / kept.sum()
        drawn = np.asarray(Sampler(temperature, top_k)(ht.asarray(many), noise))
        found = np.bincount(drawn, minlength=5) / 5000
        assert np.all(np.abs(found - share) <= 5 * (share * (1 - share) / 5000) ** 0.5 + 1e-12)


def test_no_noise_is_not_a_number() -> None:
    assert not np.isnan(gumbel(ht.random.key(1), (1000, 100))).any()
    assert not gumbel(None, (2, 1, 1)).any()


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda m: m.generate(PROMPT, 17), ShapeError, "5 tokens and 17 more do not fit the 20 positions"),
        (lambda m: m.generate(PROMPT[0], 2), ShapeError, r"a prompt is \(batch, n\)"),
        (lambda m: m.generate(PROMPT, 0), ShapeError, "steps 1 or more"),
        (lambda m: m.generate(PROMPT * 1.0, 2), DTypeError, "a prompt is of integers"),
        (lambda m: m.generate(PROMPT + 50, 2), AttributeValueError, "tokens are 0 to 49"),
        (lambda m: m.generate(PROMPT, 2, temperature=1.0), AttributeValueError, "wants a key"),
        (lambda m: m.generate(PROMPT, 2, top_k=3), AttributeValueError, "top_k wants a temperature above 0"),
        (lambda m: m.generate(PROMPT, 2, temperature=-1, top_k=0), AttributeValueError, "below 0; top_k 0 is below 1"),
        (lambda m: m(ht.zeros((1, 21), dtype="int64")), ShapeError, "21 tokens are more than the 20"),
        (lambda m: GptConfig(5, 8, 1, 2, 4, cast(Any, "sinusoidal")), AttributeValueError, "no 'sinusoidal' positions"),
    ],
)
def test_what_cannot_be_is_refused(call: Any, error: type[HeteroError], words: str) -> None:
    with pytest.raises(error, match=words):
        call(MODELS["learned"])


def test_the_last_position_can_be_used_and_one_token_needs_no_loop() -> None:
    model = MODELS["learned"]
    assert np.array_equal(model.generate(PROMPT, 16).tokens[:, :1], model.generate(PROMPT, 1).tokens)


def test_a_bound_model_writes_with_its_own_weights() -> None:
    """What was traced for one module is not another's."""
    model = MODELS["learned"]
    before = model.generate(PROMPT, 4).tokens
    other = nn.bind(model, {"word.weight": ht.random.normal(ht.random.key(99), (50, 24))})
    assert not np.array_equal(other.generate(PROMPT, 4).tokens, before)
    assert np.array_equal(model.generate(PROMPT, 4).tokens, before)
