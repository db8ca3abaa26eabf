"""A small decoder: layers that are normalised before they look, positions learned or rotary, and a cache.

Sources: Radford et al., "Language Models are Unsupervised Multitask Learners", 2019, section 2.3 (pre-norm, learned
positions, tied output); Su et al., "RoFormer", 2021 (rotary).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from hetero import nn
from hetero.errors import AttributeValueError, ShapeError
from hetero.models.generation import Generation, Sampler, generate
from hetero.nn.functional import count
from hetero.nn.heads import Position
from hetero.nn.init import keys, normal
from hetero.nn.module import have
from hetero.tensor import Tensor, matmul

Caches: TypeAlias = "tuple[nn.Cache, ...]"


@dataclass(frozen=True, slots=True)
class GptConfig:
    """Sizes. The output shares its weights with the embedding."""

    vocabulary: int
    width: int
    layers: int
    heads: int
    length: int  # positions that a cache holds
    positions: Literal["learned", "rotary"] = "learned"
    kv_heads: int | None = None  # fewer heads for keys and values
    inner: int | None = None  # width between the two linear layers; four times the width unless given

    def __post_init__(self) -> None:
        if self.positions not in ("learned", "rotary"):
            raise AttributeValueError(f"a GPT has no {self.positions!r} positions", hint="learned or rotary")


class GptLayer(nn.Module):
    """(batch, n, width) -> (batch, n, width)"""

    def __init__(self, config: GptConfig, key: Tensor | None = None) -> None:
        c, (first, second, third) = config, keys(key, 3)
        inner = c.inner or 4 * c.width
        self.attention_norm = nn.LayerNorm(c.width, key=key)
        self.attention = nn.MultiHeadAttention(
            c.width, c.heads, kv_heads=c.kv_heads, rotary=c.positions == "rotary", key=first
        )
        self.norm = nn.LayerNorm(c.width, key=key)
        self.up = nn.Linear(c.width, inner, key=second)
        self.down = nn.Linear(inner, c.width, key=third)

    def __call__(self, x: Tensor) -> Tensor:
        return self._rest(x + self.attention(self.attention_norm(x), causal=True))

    def step(self, x: Tensor, cache: nn.Cache, position: Position) -> tuple[Tensor, nn.Cache]:
        seen, cache = self.attention.step(self.attention_norm(x), cache, position)
        return self._rest(x + seen), cache

    def _rest(self, x: Tensor) -> Tensor:
        return x + self.down(nn.gelu(self.up(self.norm(x)), "tanh"))


class Gpt(nn.Module):
    """integer (batch, n) -> scores (batch, n, vocabulary) of the token that follows each"""

    def __init__(self, config: GptConfig, key: Tensor | None = None) -> None:
        c, (first, second, *rest) = config, keys(key, 2 + config.layers)
        self.config = c
        self.word = nn.Embedding(c.vocabulary, c.width, key=first, initial=normal(0.02))
        learned = c.positions == "learned"
        self.position = nn.Embedding(c.length, c.width, key=second, initial=normal(0.02)) if learned else None
        self.layers = tuple(GptLayer(c, k) for k in rest)
        self.norm = nn.LayerNorm(c.width, key=key)

    def __call__(self, ids: Tensor) -> Tensor:
        """Everything at once, without a cache."""
        x = self._embedded(ids, 0)
        for layer in self.layers:
            x = layer(x)
        return self._scores(x)

    def empty_cache(self, batch: int, device: Any = None) -> Caches:
        """The state of a decoder that has seen nothing: keys and values of each layer, of the full length."""
        c = self.config
        heads = c.kv_heads or c.heads
        return tuple(nn.empty_cache(batch, heads, c.length, c.width // c.heads, device=device) for _ in range(c.layers))

    def decode(self, ids: Tensor, caches: Caches, position: Position) -> tuple[Tensor, Caches]:
        """integer (batch, n) from `position` on, what was before -> scores (batch, vocabulary) behind the last, caches

        One token is n = 1; a prompt is any n at position 0.
        """
        x, after = self._embedded(ids, position), list[nn.Cache]()
        for layer, cache in zip(self.layers, caches, strict=True):
            x, new = layer.step(x, cache, position)
            after.append(new)
        last = x[:, x.shape[1] - 1] if x.shape[1] > 1 else x.reshape((x.shape[0], x.shape[2]))
        return self._scores(last), tuple(after)

    def generate(
        self, prompt: Any, steps: int, *, key: Tensor | None = None, temperature: float = 0.0, top_k: int | None = None,
        device: str | None = None,
    ) -> Generation:  # fmt: skip
        """`steps` tokens behind the prompt, integer (batch, n), as one graph on `device` or the one in use

        At temperature 0 each is the one of the highest score; above, it is drawn with `key` by softmax(scores /
        temperature), among the `top_k` highest if given.
        """
        return generate(self, prompt, steps, Sampler(temperature, top_k), key, device)

    def _embedded(self, ids: Tensor, position: Position) -> Tensor:
        x = self.word(ids)
        n: Any = ids.shape[1]  # an open dimension perhaps
        if isinstance(n, int) and n > self.config.length:
            raise ShapeError(f"{n} tokens are more than the {self.config.length} that this model has positions for")
        return x if self.position is None else x + self.position(count(n, ids) + position)

    def _scores(self, x: Tensor) -> Tensor:
        (word,) = have(self.word, "weight")
        return matmul(self.norm(x), word.T)


__all__ = ["Caches", "Gpt", "GptConfig", "GptLayer"]
