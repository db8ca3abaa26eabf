"""Layers of neural networks, and the functions that they are made of.

    model = nn.Sequential(nn.Linear(784, 128, key=a), nn.relu, nn.Linear(128, 10, key=b))
    y = ht.jit(model)(x)
    model = nn.load_state(model, "weights.safetensors")

A module is data that never changes: `state` lists its tensors by path, `bind` and `load_state` give a new one.
"""

from hetero.nn import init
from hetero.nn.functional import (
    attention,
    batch_norm,
    conv,
    dropout,
    embedding,
    gelu,
    layer_norm,
    linear,
    log_softmax,
    relu,
    rms_norm,
    rotary,
    sigmoid,
    silu,
    softmax,
    softplus,
)
from hetero.nn.heads import Cache, MultiHeadAttention, empty_cache
from hetero.nn.layers import BatchNorm, Conv2d, Dropout, Embedding, LayerNorm, Linear, RMSNorm, Sequential
from hetero.nn.module import Module, bind, state
from hetero.nn.weights import load_state, save_state

__all__ = [
    "BatchNorm",
    "Cache",
    "Conv2d",
    "Dropout",
    "Embedding",
    "LayerNorm",
    "Linear",
    "Module",
    "MultiHeadAttention",
    "RMSNorm",
    "Sequential",
    "attention",
    "batch_norm",
    "bind",
    "conv",
    "dropout",
    "embedding",
    "empty_cache",
    "gelu",
    "init",
    "layer_norm",
    "linear",
    "load_state",
    "log_softmax",
    "relu",
    "rms_norm",
    "rotary",
    "save_state",
    "sigmoid",
    "silu",
    "softmax",
    "softplus",
    "state",
]
