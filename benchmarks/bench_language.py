"""Language models on each backend: a sentence encoder beside ONNX Runtime, a decoder beside NumPy by hand and torch.

Peers run in the same process, turn by turn. Speed does not depend on the weights' values: MiniLM's are the real ones
where its package is installed, else random ones of the same sizes. Torch is taken where it is installed.
"""

from __future__ import annotations

from functools import lru_cache
from importlib.util import find_spec
from typing import Any

import numpy as np

import hetero as ht
from benchmarks.ratio import ratio
from hetero import nn, registry
from hetero.models import Bert, BertConfig, Gpt, GptConfig, MiniLM, minilm
from hetero.nn.module import type_of
from hetero.op import Array

BACKENDS = ["numpy", "opencl", "onnxruntime"]
TOKENS = 128  # of each text
CONFIG = GptConfig(vocabulary=1000, width=256, layers=4, heads=4, length=96)
PROMPT, STEPS = 16, 64


def device_of(name: str) -> str:
    try:
        return registry.find(name).name
    except ht.BackendError as e:
        raise NotImplementedError(str(e)) from e  # asv's word for: skip


def random_weights(module: Any) -> Any:
    rng = np.random.default_rng(0)
    shapes = {path: type_of(leaf).known for path, leaf in nn.state(module).items()}
    return nn.load_state(module, {p: rng.normal(0, 0.05, s).astype("float32") for p, s in shapes.items()})


@lru_cache(maxsize=1)
def encoder() -> MiniLM:
    try:
        return minilm()
    except ht.ModelError:
        return MiniLM(random_weights(Bert(BertConfig())), tokenizer=_NoTexts())


class _NoTexts:
    def encode(self, text: str, longest: int) -> list[int]:
        raise NotImplementedError


class Encoder:
    """MiniLM-L6, texts of 128 tokens: 3 GFLOP a text."""

    params = ([1, 8], BACKENDS)
    param_names = ("texts", "backend")
    timeout = 300.0  # seconds

    def setup(self, texts: int, name: str) -> None:
        self.device = device_of(name)
        import onnxruntime

        from hetero.convert.onnx_out import to_onnx

        self.graph = encoder().graph
        shape = (texts, TOKENS)
        self.feed: dict[str, Array] = {
            "ids": np.random.default_rng(0).integers(1000, 20000, shape), "mask": np.ones(shape, np.int64)
        }  # fmt: skip
        model = to_onnx(self.graph).SerializeToString()
        self.session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
        self._hetero()

    def _hetero(self) -> None:
        self.graph.run(self.feed, device=self.device)

    def _onnxruntime(self) -> None:
        self.session.run(None, self.feed)

    def track_onnxruntime_over_hetero(self, texts: int, name: str) -> float:
        """Above 1: faster than ONNX Runtime on our export."""
        return ratio(self._onnxruntime, self._hetero, repeats=5 if texts == 1 else 1)

    track_onnxruntime_over_hetero.unit = "x"  # pyright: ignore[reportFunctionMemberAccess]


class Decoder:
    """A decoder of 3.5 million weights, 16 tokens in, 64 out, one after another with a cache."""

    params = (BACKENDS,)
    param_names = ("backend",)
    timeout = 300.0  # seconds

    def setup(self, name: str) -> None:
        self.device = device_of(name)
        self.model: Gpt = random_weights(Gpt(CONFIG))
        self.prompt = np.random.default_rng(1).integers(0, CONFIG.vocabulary, (1, PROMPT))
        self.weights = {path: np.asarray(leaf) for path, leaf in nn.state(self.model).items()}
        made = self._hetero()
        assert np.array_equal(made, by_hand(self.weights, self.prompt)), "the peer computes something else"

    def _hetero(self) -> Array:
        return self.model.generate(self.prompt, STEPS, device=self.device).tokens

    def _by_hand(self) -> None:
        by_hand(self.weights, self.prompt)

    def track_tokens_per_s(self, name: str) -> float:
        """New tokens, measured; prompt included, compiling not."""
        return self.model.generate(self.prompt, STEPS, device=self.device).tokens_per_s

    def track_numpy_over_hetero(self, name: str) -> float:
        """Above 1: faster than NumPy by hand, which writes its cache in place."""
        return ratio(self._by_hand, self._hetero, repeats=7)

    track_tokens_per_s.unit = "tokens/s"  # pyright: ignore[reportFunctionMemberAccess]
    track_numpy_over_hetero.unit = "x"  # pyright: ignore[reportFunctionMemberAccess]


class DecoderBesideTorch:
    """The same decoder where torch is installed; elsewhere it is left out."""

    params = (BACKENDS,)
    param_names = ("backend",)
    timeout = 300.0  # seconds

    def setup(self, name: str) -> None:
        if find_spec("torch") is None:
            raise NotImplementedError("no torch here")
        self.ours = Decoder()
        self.ours.setup(name)
        self.peer = Torch(self.ours.weights)
        assert np.array_equal(self.peer(self.ours.prompt), self.ours._hetero()), "the peer computes something else"

    def track_torch_over_hetero(self, name: str) -> float:
        """Above 1: faster than torch in eager mode, without gradients."""
        return ratio(lambda: self.peer(self.ours.prompt), self.ours._hetero, repeats=7)

    track_torch_over_hetero.unit = "x"  # pyright: ignore[reportFunctionMemberAccess]


# -- peers ------------------------------------------------------------------------------------------------------------


def by_hand(w: dict[str, Array], prompt: Array) -> Array:
    """The tokens of the highest scores, as somebody would write it for one text in NumPy."""
    heads, width = CONFIG.heads, CONFIG.width
    size = width // heads
    keys = np.zeros((CONFIG.layers, heads, CONFIG.length, size), np.float32)
    values = np.zeros_like(keys)

    def norm(x: Array, name: str) -> Array:
        off = x - x.mean(-1, keepdims=True)
        return (
            off / np.sqrt((off * off).mean(-1, keepdims=True) + np.float32(1e-5)) * w[f"{name}.weight"]
            + w[f"{name}.bias"]
        )

    def linear(x: Array, name: str) -> Array:
        return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    def step(ids: Array, at: int) -> Array:
        n = len(ids)
        x = w["word.weight"][ids] + w["position.weight"][at : at + n]
        for k in range(CONFIG.layers):
            layer = f"layers.{k}"
            y = norm(x, f"{layer}.attention_norm")
            q, new_k, new_v = (
                linear(y, f"{layer}.attention.{p}").reshape(n, heads, size).transpose(1, 0, 2)
                for p in ("query", "key", "value")
            )
            keys[k, :, at : at + n], values[k, :, at : at + n] = new_k, new_v
            scores = q @ keys[k, :, : at + n].transpose(0, 2, 1) * np.float32(size**-0.5)
            if n > 1:
                scores = np.where(np.tri(n, at + n, at, dtype=bool), scores, np.float32(-np.inf))
            e = np.exp(scores - scores.max(-1, keepdims=True))
            seen = (e / e.sum(-1, keepdims=True)) @ values[k, :, : at + n]
            x = x + linear(seen.transpose(1, 0, 2).reshape(n, width), f"{layer}.attention.output")
            y = linear(norm(x, f"{layer}.norm"), f"{layer}.up")
            y = np.float32(0.5) * y * (1 + np.tanh(np.float32(0.7978845608) * (y + np.float32(0.044715) * y * y * y)))
            x = x + linear(y, f"{layer}.down")
        return norm(x[-1:], "norm") @ w["word.weight"].T

    out = [int(step(prompt[0], 0).argmax())]
    while len(out) < STEPS:
        out.append(int(step(np.array(out[-1:]), prompt.shape[1] + len(out) - 1).argmax()))
    return np.array([out])


class Torch:
    """The same in torch's eager mode, with its own layer norm, linear, gelu and attention."""

    def __init__(self, weights: dict[str, Array]) -> None:
        from importlib import import_module

        self.torch: Any = import_module("torch")
        self.w = {k: self.torch.from_numpy(v.copy()) for k, v in weights.items()}

    def __call__(self, prompt: Array) -> Array:
        torch: Any = self.torch
        f, w, heads, width = torch.nn.functional, self.w, CONFIG.heads, CONFIG.width
        size = width // heads
        keys = torch.zeros(CONFIG.layers, 1, heads, CONFIG.length, size)
        values = torch.zeros_like(keys)

        def step(ids: Any, at: int) -> Any:
            n = ids.shape[1]
            x = f.embedding(ids, w["word.weight"]) + w["position.weight"][at : at + n]
            for k in range(CONFIG.layers):
                layer = f"layers.{k}"
                y = f.layer_norm(x, (width,), w[f"{layer}.attention_norm.weight"], w[f"{layer}.attention_norm.bias"])
                q, new_k, new_v = (
                    f.linear(y, w[f"{layer}.attention.{p}.weight"], w[f"{layer}.attention.{p}.bias"])
                    .view(1, n, heads, size)
                    .transpose(1, 2)
                    for p in ("query", "key", "value")
                )
                keys[k, :, :, at : at + n], values[k, :, :, at : at + n] = new_k, new_v
                seen = f.scaled_dot_product_attention(
                    q, keys[k, :, :, : at + n], values[k, :, :, : at + n], is_causal=n > 1
                )
                name = f"{layer}.attention.output"
                x = x + f.linear(seen.transpose(1, 2).reshape(1, n, width), w[f"{name}.weight"], w[f"{name}.bias"])
                y = f.layer_norm(x, (width,), w[f"{layer}.norm.weight"], w[f"{layer}.norm.bias"])
                y = f.gelu(f.linear(y, w[f"{layer}.up.weight"], w[f"{layer}.up.bias"]), approximate="tanh")
                x = x + f.linear(y, w[f"{layer}.down.weight"], w[f"{layer}.down.bias"])
            return f.layer_norm(x[:, -1], (width,), w["norm.weight"], w["norm.bias"]) @ w["word.weight"].T

        with torch.inference_mode():
            out = [step(torch.from_numpy(prompt), 0).argmax(-1)]
            while len(out) < STEPS:
                out.append(step(out[-1][:, None], prompt.shape[1] + len(out) - 1).argmax(-1))
            return torch.stack(out, 1).numpy()
