"""Fused regions under `ht.jit` against NumPy, expression by expression, in the same run."""

from __future__ import annotations

import numpy as np

import hetero as ht
from benchmarks.ratio import ratio
from hetero import registry
from hetero.op import Array

C = 0.7978845608028654  # sqrt(2 / pi)


def gelu(x: ht.Tensor) -> ht.Tensor:
    return 0.5 * x * (1.0 + ht.tanh(C * (x + 0.044715 * x * x * x)))


def gelu_numpy(x: Array) -> Array:
    c, a, half, one = (np.float32(v) for v in (C, 0.044715, 0.5, 1.0))
    return half * x * (one + np.tanh(c * (x + a * x * x * x)))


def layer_norm(x: ht.Tensor, scale: ht.Tensor, bias: ht.Tensor) -> ht.Tensor:
    off = x - ht.mean(x, axis=-1, keepdims=True)
    variance = ht.mean(off * off, axis=-1, keepdims=True)
    return off / ht.sqrt(variance + 1e-5) * scale + bias


def layer_norm_numpy(x: Array, scale: Array, bias: Array) -> Array:
    off = x - x.mean(-1, keepdims=True)
    variance = (off * off).mean(-1, keepdims=True)
    return off / np.sqrt(variance + np.float32(1e-5)) * scale + bias


class Fusion:
    """Data stays on the device; a turn ends when the device has finished."""

    params = (["numpy", "opencl"],)
    param_names = ("backend",)
    timeout = 300.0  # seconds

    def setup(self, name: str) -> None:
        try:
            self.device = registry.find(name)
        except ht.BackendError as e:
            raise NotImplementedError(str(e)) from e  # asv's word for: skip
        rng = np.random.default_rng(0)
        self.x = rng.standard_normal(10_000_000, "float32")
        self.rows = rng.standard_normal((10_000, 1000), "float32")
        self.scale, self.bias = (rng.standard_normal(1000, "float32") for _ in range(2))
        self.gelu, self.layer_norm = ht.jit(gelu), ht.jit(layer_norm)
        self.on_device = [ht.asarray(a, device=self.device) for a in (self.x, self.rows, self.scale, self.bias)]

    def _gelu(self) -> None:
        self.gelu(self.on_device[0])
        registry.load(self.device.backend).synchronize(self.device)

    def _layer_norm(self) -> None:
        self.layer_norm(*self.on_device[1:])
        registry.load(self.device.backend).synchronize(self.device)

    def time_gelu(self, name: str) -> None:
        self._gelu()

    def time_layer_norm(self, name: str) -> None:
        self._layer_norm()

    def track_gelu_over_numpy(self, name: str) -> float:
        """Times faster than NumPy, 1e7 float32."""
        return ratio(lambda: gelu_numpy(self.x), self._gelu)

    def track_layer_norm_over_numpy(self, name: str) -> float:
        """Times faster than NumPy, 10000 x 1000 float32."""
        return ratio(lambda: layer_norm_numpy(self.rows, self.scale, self.bias), self._layer_norm)

    track_gelu_over_numpy.unit = track_layer_norm_over_numpy.unit = "x"  # pyright: ignore[reportFunctionMemberAccess]
