"""BERT's encoder: learned positions, layers of attention and two linear layers, each normalised after it is added.

Source: Devlin et al., "BERT: Pre-training of Deep Bidirectional Transformers", NAACL 2019, section 3.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from hetero import nn
from hetero.array_api.manipulation import expand_dims
from hetero.nn.functional import count
from hetero.nn.init import keys, normal
from hetero.tensor import Tensor


@dataclass(frozen=True, slots=True)
class BertConfig:
    """Sizes. The defaults are those of all-MiniLM-L6-v2."""

    vocabulary: int = 30522
    width: int = 384
    layers: int = 6
    heads: int = 12
    inner: int = 1536  # width between the two linear layers
    positions: int = 512
    kinds: int = 2  # of tokens: of the first sentence, of the second
    epsilon: float = 1e-12


class BertLayer(nn.Module):
    """(batch, n, width) -> (batch, n, width)"""

    def __init__(self, config: BertConfig, key: Tensor | None = None) -> None:
        c, (first, second, third) = config, keys(key, 3)
        self.attention = nn.MultiHeadAttention(c.width, c.heads, key=first)
        self.attention_norm = nn.LayerNorm(c.width, epsilon=c.epsilon, key=key)
        self.up = nn.Linear(c.width, c.inner, key=second)
        self.down = nn.Linear(c.inner, c.width, key=third)
        self.norm = nn.LayerNorm(c.width, epsilon=c.epsilon, key=key)

    def __call__(self, x: Tensor, mask: Tensor) -> Tensor:
        x = self.attention_norm(x + self.attention(x, mask=mask))
        return self.norm(x + self.down(nn.gelu(self.up(x))))


class Bert(nn.Module):
    """integer (batch, n), bool (batch, n) -> (batch, n, width); every token is of the first kind"""

    def __init__(self, config: BertConfig, key: Tensor | None = None) -> None:
        c, (first, second, third, *rest) = config, keys(key, 3 + config.layers)
        self.config = c
        self.word = nn.Embedding(c.vocabulary, c.width, key=first, initial=normal(0.02))
        self.position = nn.Embedding(c.positions, c.width, key=second, initial=normal(0.02))
        self.kind = nn.Embedding(c.kinds, c.width, key=third, initial=normal(0.02))
        self.norm = nn.LayerNorm(c.width, epsilon=c.epsilon, key=key)
        self.layers = tuple(BertLayer(c, k) for k in rest)

    def __call__(self, ids: Tensor, mask: Tensor) -> Tensor:
        first_kind = self.kind(count(1, ids))
        x = self.word(ids) + (self.position(count(ids.shape[1], ids)) + first_kind)
        x = self.norm(x)
        seen = expand_dims(expand_dims(mask, axis=1), axis=1)  # of every head and query
        for layer in self.layers:
            x = layer(x, seen)
        return x


# Names in checkpoints of Hugging Face's BertModel -> paths here. What follows is `weight` or `bias`.
_PARTS = {
    "embeddings.word_embeddings": "word", "embeddings.position_embeddings": "position",
    "embeddings.token_type_embeddings": "kind", "embeddings.LayerNorm": "norm",
    "attention.self.query": "attention.query", "attention.self.key": "attention.key",
    "attention.self.value": "attention.value", "attention.output.dense": "attention.output",
    "attention.output.LayerNorm": "attention_norm", "intermediate.dense": "up", "output.dense": "down",
    "output.LayerNorm": "norm",
}  # fmt: skip
_NAME = re.compile(r"(?:encoder\.layer\.(?P<layer>\d+)\.)?(?P<part>.+)\.(?P<leaf>weight|bias)")
UNUSED = ("embeddings.position_ids", "pooler.")  # a count from 0; a layer for another task


def from_hugging_face(name: str) -> str | None:
    """The path in a `Bert` of a name in a checkpoint of BertModel; None for what is not used."""
    name = name.removeprefix("bert.")
    found = _NAME.fullmatch(name)
    if name.startswith(UNUSED):
        return None
    if not found or found["part"] not in _PARTS:
        return name  # load_state calls it unexpected
    path = f"{_PARTS[found['part']]}.{found['leaf']}"
    return path if found["layer"] is None else f"layers.{found['layer']}.{path}"


__all__ = ["Bert", "BertConfig", "BertLayer", "from_hugging_face"]
