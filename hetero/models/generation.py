"""Tokens one after another: a prompt at once, then a loop of one step each, all as one graph.

The seconds are measured; a program is compiled before the clock starts.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hetero import random
from hetero.eager import place
from hetero.errors import AttributeValueError, DTypeError, ShapeError
from hetero.execute import program_for
from hetero.graph.ir import Graph
from hetero.nn.module import kept
from hetero.op import Array
from hetero.select import device_of
from hetero.tensor import Tensor, apply
from hetero.tracing import scan, spec, trace

if TYPE_CHECKING:
    from hetero.models.gpt import Gpt


@dataclass(frozen=True, slots=True)
class Sampler:
    """How the next token comes from scores; at temperature 0 it is the one of the highest."""

    temperature: float = 0.0
    top_k: int | None = None

    def __post_init__(self) -> None:
        wrong = [f"temperature {self.temperature} is below 0"] * (self.temperature < 0)
        wrong += [f"top_k {self.top_k} is below 1"] * (self.top_k is not None and self.top_k < 1)
        wrong += ["top_k wants a temperature above 0"] * (self.top_k is not None and self.temperature == 0)
        if wrong:
            raise AttributeValueError("; ".join(wrong), hint="temperature=1.0, top_k=40")

    @property
    def draws(self) -> bool:
        return self.temperature > 0

    def __call__(self, scores: Tensor, noise: Tensor) -> Tensor:
        """(batch, vocabulary), Gumbel noise of the same shape -> int64 (batch,)

        The highest of scores / temperature + noise is a draw by softmax: Maddison et al., "A* Sampling", NeurIPS 2014.
        """
        if not self.draws:
            return apply("argmax", scores, axis=1, keepdims=False)
        scaled = scores * (1 / self.temperature)
        if self.top_k is not None and self.top_k < scores.shape[1]:
            ranked = apply("sort", scaled, axis=1, descending=True)
            least = ranked[:, self.top_k - 1 : self.top_k]
            scaled = apply("where", scaled >= least, scaled, place(np.asarray(-np.inf, scores.dtype), scores.device))
        return apply("argmax", scaled + noise, axis=1, keepdims=False)


@dataclass(frozen=True, slots=True)
class Generation:
    """What was written: int64 (batch, steps), where, and the seconds from the prompt to the last token, measured."""

    tokens: Array
    prompt_tokens: int
    device: str
    measured_s: float

    @property
    def tokens_per_s(self) -> float:
        """Measured: new tokens of all texts, over the seconds of prompt and steps together."""
        return self.tokens.size / self.measured_s

    def __str__(self) -> str:
        return (
            f"{self.tokens.size} tokens behind {self.prompt_tokens} on {self.device}: {self.measured_s:.3g} s, "
            f"{self.tokens_per_s:.0f} tokens/s (measured)"
        )


def generation(model: Gpt, batch: int, length: int, steps: int, sampler: Sampler) -> Graph:
    """The graph: `prompt` int64 (batch, length), `noise` (steps, batch, vocabulary) -> `tokens` int64 (batch, steps)

    At temperature 0 the noise is (steps, 1, 1) and not looked at. It comes from outside, so that every backend draws
    the same, one without Philox too.
    """

    def write(prompt: Tensor, noise: Tensor) -> dict[str, Tensor]:
        scores, caches = model.decode(prompt, model.empty_cache(batch), 0)
        token = sampler(scores, noise[0])
        first = token.reshape((1, batch))
        if steps == 1:
            return {"tokens": first.T}

        def step(state: Any, x: Any) -> Any:
            token, position, caches = state
            scores, caches = model.decode(token.reshape((batch, 1)), caches, position)
            token = sampler(scores, x)
            return (token, position + 1, caches), token

        position = place(np.asarray(length, np.int64), prompt.device)
        _, rest = scan(step, (token, position, caches), noise[1:])
        return {"tokens": apply("concat", first, rest, axis=0).T}

    return trace(write, spec((batch, length), "int64"), spec((steps, *_noisy(model, batch, sampler))))


def _noisy(model: Gpt, batch: int, sampler: Sampler) -> tuple[int, int]:
    """The shape of one step's noise."""
    return (batch, model.config.vocabulary) if sampler.draws else (1, 1)


def gumbel(key: Tensor | None, shape: tuple[int, ...]) -> Array:
    """-log(-log(u)) of uniform numbers, float32, made on the host; zeros without a key"""
    if key is None:
        return np.zeros(shape, np.float32)
    drawn = random.uniform(key.to_device("numpy"), shape)._array
    with np.errstate(divide="ignore"):  # of 0: never the highest
        return -np.log(-np.log(drawn))


def generate(
    model: Gpt, prompt: Any, steps: int, sampler: Sampler, key: Tensor | None, device: str | None
) -> Generation:
    """See `Gpt.generate`."""
    ids = _checked(model, prompt, steps)
    if sampler.draws and key is None:
        raise AttributeValueError("drawing tokens wants a key", hint="key=ht.random.key(0), or temperature=0")
    batch, length = ids.shape
    graph = kept(model, (batch, length, steps, sampler), lambda: generation(model, batch, length, steps, sampler))
    where = device_of(device)
    shape = (steps, *_noisy(model, batch, sampler))
    program_for(graph, {"prompt": ids.shape, "noise": shape}, where)  # compiled before the clock starts
    start = time.perf_counter()
    noise = gumbel(key if sampler.draws else None, shape)
    tokens = graph.run({"prompt": ids, "noise": noise}, device=where.name)["tokens"]
    return Generation(tokens, ids.size, where.name, time.perf_counter() - start)


def _checked(model: Gpt, prompt: Any, steps: int) -> Array:
    """The prompt as int64 (batch, n), with room for the steps."""
    ids = np.asarray(prompt._array if isinstance(prompt, Tensor) else prompt)
    if ids.dtype.kind not in "iu":
        raise DTypeError(f"a prompt is of integers, got {ids.dtype.name}", hint="encode the text first")
    if ids.ndim != 2 or not ids.size or steps < 1:
        raise ShapeError(f"a prompt is (batch, n) with a token at least, and steps 1 or more; got {ids.shape}, {steps}")
    c = model.config
    if ids.shape[1] + steps - 1 > c.length:
        raise ShapeError(
            f"{ids.shape[1]} tokens and {steps} more do not fit the {c.length} positions of this model",
            hint="a shorter prompt, fewer steps",
        )
    if ids.min() < 0 or ids.max() >= c.vocabulary:
        raise AttributeValueError(f"tokens are 0 to {c.vocabulary - 1}, got {ids.min()} to {ids.max()}")
    return ids.astype(np.int64)


__all__ = ["Generation", "Sampler", "generate", "generation"]
