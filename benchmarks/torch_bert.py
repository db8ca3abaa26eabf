"""MiniLM in torch's eager mode, with its own layer norm, linear, gelu and attention: the peer of our encoder."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from hetero.models import BertConfig
from hetero.op import Array


class TorchBert:
    """integer (batch, n), mask (batch, n) of 1 and 0 -> (batch, width), each of length 1; weights by hetero's paths"""

    def __init__(self, weights: dict[str, Array], config: BertConfig) -> None:
        self.torch: Any = import_module("torch")
        self.config = config
        self.w = {k.removeprefix("bert."): self.torch.from_numpy(v.copy()) for k, v in weights.items()}

    def __call__(self, ids: Array, mask: Array) -> Array:
        torch: Any = self.torch
        with torch.inference_mode():
            return self._vectors(torch.from_numpy(ids), torch.from_numpy(mask)).numpy()

    def _linear(self, x: Any, name: str) -> Any:
        return self.torch.nn.functional.linear(x, self.w[f"{name}.weight"], self.w[f"{name}.bias"])

    def _norm(self, x: Any, name: str) -> Any:
        c, w = self.config, self.w
        return self.torch.nn.functional.layer_norm(
            x, (c.width,), w[f"{name}.weight"], w[f"{name}.bias"], c.epsilon
        )  # fmt: skip

    def _vectors(self, ids: Any, mask: Any) -> Any:
        f, c, w = self.torch.nn.functional, self.config, self.w
        batch, n = ids.shape
        seen = (mask != 0)[:, None, None, :]
        x = self._norm(w["word.weight"][ids] + w["position.weight"][:n] + w["kind.weight"][0], "norm")
        for k in range(c.layers):
            layer = f"layers.{k}"
            q, key, value = (
                self._linear(x, f"{layer}.attention.{p}").view(batch, n, c.heads, -1).transpose(1, 2)
                for p in ("query", "key", "value")
            )
            made = f.scaled_dot_product_attention(q, key, value, attn_mask=seen)
            made = self._linear(made.transpose(1, 2).reshape(batch, n, c.width), f"{layer}.attention.output")
            x = self._norm(x + made, f"{layer}.attention_norm")
            x = self._norm(x + self._linear(f.gelu(self._linear(x, f"{layer}.up")), f"{layer}.down"), f"{layer}.norm")
        weight = mask[:, :, None].to(x.dtype)
        mean = (x * weight).sum(1) / weight.sum(1).clamp(min=1e-9)
        return f.normalize(mean, dim=1)
