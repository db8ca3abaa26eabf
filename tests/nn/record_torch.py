"""Writes torch_layers.npz and ../models/torch_models.npz: what PyTorch's own layers give.

    PYTHON_WITH_TORCH tests/nn/record_torch.py [FOLDER OF MINILM]

Needs NumPy and torch, nothing of hetero. Recorded with torch 2.14.1.
Without the folder MiniLM's vectors stay as they are.
"""

from __future__ import annotations

import json
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

torch: Any = import_module("torch")
HERE = Path(__file__).parent


def fill(module: Any, seed: int) -> dict[str, Any]:
    """Random weights for a torch module, which is left without gradients; they, by name."""
    rng = np.random.default_rng(seed)
    with torch.no_grad():
        for tensor in module.state_dict().values():
            if tensor.dtype.is_floating_point:
                tensor.copy_(torch.from_numpy(rng.uniform(0.2, 1.0, tuple(tensor.shape)).astype("float32")))
                tensor.mul_(torch.from_numpy(np.sign(rng.uniform(-1, 3, tuple(tensor.shape))).astype("float32")))
    for name, tensor in module.state_dict().items():
        if name == "running_var":
            tensor.abs_()
    module.eval().requires_grad_(False)
    return {k: v.numpy() for k, v in module.state_dict().items() if v.dtype.is_floating_point}


def draw(seed: int, *shape: int) -> Any:
    return torch.from_numpy(np.random.default_rng(seed).uniform(-1, 1, shape).astype("float32"))


def layers() -> dict[str, Any]:
    """case -> x, y and weights, flat: `linear/x`, `linear/weight`, ..."""
    nn, out = torch.nn, dict[str, Any]()

    def case(name: str, module: Any, *inputs: Any, **options: Any) -> None:
        weights = fill(module, len(out))
        y = module(*inputs, **options)
        y = y[0] if isinstance(y, tuple) else y
        named = {f"x{i}": x.numpy() for i, x in enumerate(inputs)} | weights | {"y": y.numpy()}
        out.update({f"{name}/{k}": v for k, v in named.items()})

    case("linear", nn.Linear(5, 3), draw(1, 2, 4, 5))
    case("linear_plain", nn.Linear(5, 3, bias=False), draw(2, 4, 5))
    case("embedding", nn.Embedding(7, 3), torch.tensor([[0, 6], [3, 3]]))
    case("layer_norm", nn.LayerNorm(6, eps=1e-3), draw(3, 2, 3, 6))
    case("rms_norm", nn.RMSNorm(6, eps=1e-3), draw(4, 2, 3, 6))
    case("batch_norm", nn.BatchNorm2d(3, eps=1e-3), draw(5, 2, 3, 4, 5))
    case("conv", nn.Conv2d(4, 6, (3, 2), stride=(2, 1), padding=(1, 2), dilation=(1, 2), groups=2), draw(6, 2, 4, 7, 8))
    case("conv_plain", nn.Conv2d(2, 3, 3, bias=False), draw(7, 1, 2, 5, 5))
    x, context = draw(8, 2, 5, 8), draw(9, 2, 4, 8)
    hidden = torch.tensor([[False] * 5, [False] * 3 + [True] * 2])  # torch's is true where nobody may look
    causal = torch.triu(torch.ones(5, 5, dtype=torch.bool), 1)
    case("heads", nn.MultiheadAttention(8, 2, batch_first=True), x, x, x)
    case("heads_masked", nn.MultiheadAttention(8, 4, batch_first=True), x, x, x, key_padding_mask=hidden)
    case("heads_causal", nn.MultiheadAttention(8, 2, batch_first=True), x, x, x, attn_mask=causal)
    case("heads_context", nn.MultiheadAttention(8, 2, bias=False, batch_first=True), x, context, context)
    out["heads_masked/hidden"] = hidden.numpy()
    q, k, v, added = draw(10, 2, 4, 5, 6), draw(11, 2, 2, 7, 6), draw(12, 2, 2, 7, 6), draw(13, 5, 7)
    attend = nn.functional.scaled_dot_product_attention
    out |= {"groups/q": q.numpy(), "groups/k": k.numpy(), "groups/v": v.numpy(), "groups/mask": added.numpy()}
    out["groups/y"] = attend(q, k, v, attn_mask=added, enable_gqa=True, scale=0.3).numpy()
    x = draw(14, 3, 5) * 4
    out["act/x"] = x.numpy()
    for name in ("relu", "gelu", "sigmoid", "silu", "softplus"):
        out[f"act/{name}"] = getattr(nn.functional, name)(x).numpy()
    out["act/gelu_tanh"] = nn.functional.gelu(x, approximate="tanh").numpy()
    out["act/softmax"], out["act/log_softmax"] = x.softmax(0).numpy(), x.log_softmax(0).numpy()
    return out


def gpt() -> dict[str, Any]:
    """A decoder of torch's own encoder layers, normalised first, with a causal mask; its weights and scores."""
    nn = torch.nn
    width, vocabulary, length = 12, 17, 10
    word, position, norm = nn.Embedding(vocabulary, width), nn.Embedding(length, width), nn.LayerNorm(width)
    blocks = [
        nn.TransformerEncoderLayer(
            width, 3, 20, 0.0, lambda x: nn.functional.gelu(x, approximate="tanh"), batch_first=True, norm_first=True
        )
        for _ in range(2)
    ]
    out = {f"gpt/word.{k}": v for k, v in fill(word, 1).items()}
    out |= {f"gpt/position.{k}": v for k, v in fill(position, 2).items()}
    out |= {f"gpt/norm.{k}": v for k, v in fill(norm, 3).items()}
    for i, block in enumerate(blocks):
        out |= {f"gpt/layers.{i}.{k}": v for k, v in fill(block, 4 + i).items()}
    ids = torch.from_numpy(np.random.default_rng(0).integers(0, vocabulary, (2, 8)))
    x = word(ids) + position(torch.arange(8))
    seen = nn.Transformer.generate_square_subsequent_mask(8)
    for block in blocks:
        x = block(x, src_mask=seen)
    return out | {"gpt/ids": ids.numpy(), "gpt/y": (norm(x) @ word.weight.T).numpy()}


def weights_of(path: Path) -> dict[str, Any]:
    """The tensors of a safetensors file."""
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    dtypes = {"F32": "<f4", "I64": "<i8"}
    out: dict[str, Any] = {}
    for name, entry in header.items():
        if name != "__metadata__":
            begin, end = (8 + size + n for n in entry["data_offsets"])
            out[name] = torch.from_numpy(
                np.frombuffer(data[begin:end], dtypes[entry["dtype"]]).reshape(entry["shape"]).copy()
            )
    return out


def minilm(folder: Path, tokens: list[list[int]]) -> Any:
    """MiniLM's vectors by torch's own encoder layers, one text at a time, without padding."""
    nn, w = torch.nn, weights_of(folder / "model.safetensors")
    blocks: list[Any] = []
    for i in range(6):
        block = nn.TransformerEncoderLayer(384, 12, 1536, 0.0, "gelu", layer_norm_eps=1e-12, batch_first=True)
        p = f"encoder.layer.{i}."
        state: dict[str, Any] = {}
        for leaf in ("weight", "bias"):
            state[f"self_attn.in_proj_{leaf}"] = torch.cat(
                [w[f"{p}attention.self.{n}.{leaf}"] for n in ("query", "key", "value")]
            )
            for to, of in (("self_attn.out_proj", "attention.output.dense"), ("linear1", "intermediate.dense"),
                           ("linear2", "output.dense"), ("norm1", "attention.output.LayerNorm"),
                           ("norm2", "output.LayerNorm")):  # fmt: skip
                state[f"{to}.{leaf}"] = w[f"{p}{of}.{leaf}"]
        block.load_state_dict(state)
        blocks.append(block.eval().requires_grad_(False))
    rows: list[Any] = []
    for one in tokens:
        e = "embeddings."
        x = w[e + "word_embeddings.weight"][torch.tensor([one])] + w[e + "position_embeddings.weight"][: len(one)]
        x = x + w[e + "token_type_embeddings.weight"][0]
        x = nn.functional.layer_norm(x, (384,), w[e + "LayerNorm.weight"], w[e + "LayerNorm.bias"], 1e-12)
        for block in blocks:
            x = block(x)
        rows.append(nn.functional.normalize(x.mean(1), dim=1)[0].numpy())
    return np.stack(rows)


def main() -> None:
    np.savez_compressed(HERE / "torch_layers.npz", **layers())
    models = HERE.parent / "models" / "torch_models.npz"
    out = gpt()
    if len(sys.argv) > 1:
        folder = Path(sys.argv[1])
        given = json.loads((HERE.parent / "models" / "tokens.json").read_text("utf-8"))
        out["minilm/vectors"] = minilm(folder, [entry["tokens"] for entry in given if "vector" in entry])
    elif models.exists():
        out["minilm/vectors"] = np.load(models)["minilm/vectors"]
    np.savez_compressed(models, **out)


if __name__ == "__main__":
    main()
