"""What is compared with whom: each row makes two calls that do the same work, hetero's and the peer's.

Rows are data: `bench_peers` runs them in asv, `python -m benchmarks.performance` prints the table. A row whose peer
is not installed says so. Results are ready when a call returns, on every side.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import Any, TypeAlias

import numpy as np

import hetero as ht
from benchmarks import peers_others
from benchmarks.bench_fusion import gelu, layer_norm
from hetero import registry
from hetero.auto import tune
from hetero.op import Array
from hetero.tensor import apply

Call: TypeAlias = "Callable[[], Any]"
Pair: TypeAlias = "tuple[Call, Call]"  # hetero's call, the peer's


def _nothing() -> None:
    pass


@dataclass(frozen=True, slots=True)
class Row:
    """One comparison. `bar`: how many times the peer's speed hetero is to have; 0: none, or `over` is the bar.

    `better` is the bar on OpenCL runtimes that are better than the one that pip brings, where it is another.
    """

    what: str
    device: str
    peer: str
    bar: float
    pair: Callable[[str], Pair]
    number: int = 1  # calls in one timed turn
    settle: Call = _nothing  # between turns, and not timed: what was handed over and not waited for ends
    over: float = 0.0  # seconds that each of `ops` may take beyond the peer's
    ops: int = 1
    better: float = 0.0


def _rng() -> np.random.Generator:
    return np.random.default_rng(0)


def _ready(device: str, call: Callable[..., Any], *arrays: Array) -> Call:
    """`call` on tensors of the device; over when the device has finished."""
    tensors = [ht.asarray(a, device=device) for a in arrays]
    where = registry.find(device)
    backend = registry.load(where.backend)

    def run() -> None:
        call(*tensors)
        backend.synchronize(where)

    return run


def _jax(fn: Callable[..., Any], *arrays: Array) -> Call:
    jax: Any = import_module("jax")
    fast, there = jax.jit(fn), [jax.numpy.asarray(a) for a in arrays]
    return lambda: jax.block_until_ready(fast(*there))


def _op(name: str) -> Callable[..., Any]:
    """An op of the table as a function of tensors."""
    return lambda *x, **attrs: apply(name, *x, **attrs)


def _against_jax(
    ours: Callable[..., Any], theirs: Callable[..., Any], make: Callable[[], Sequence[Array]]
) -> Callable[[str], Pair]:
    def pair(device: str) -> Pair:
        arrays = make()
        return _ready(device, ht.jit(ours), *arrays), _jax(theirs, *arrays)

    return pair


# -- eager ------------------------------------------------------------------------------------------------------------


def _add(peer: Callable[[Array], tuple[Any, Any]]) -> Callable[[str], Pair]:
    def pair(device: str) -> Pair:
        x = np.ones(10, "float32")
        a, b = (ht.asarray(x, device=device) for _ in range(2))
        c, d = peer(x)
        return (lambda: a + b), (lambda: c + d)

    return pair


def _numpy(x: Array) -> tuple[Any, Any]:
    return x, x.copy()


def _strict(x: Array) -> tuple[Any, Any]:
    xp: Any = import_module("array_api_strict")
    return xp.asarray(x), xp.asarray(x)


def _torch(x: Array) -> tuple[Any, Any]:
    torch: Any = import_module("torch")
    return torch.from_numpy(x.copy()), torch.from_numpy(x.copy())


_queues: list[Any] = []
_contexts: list[Any] = []  # Intel's runtime lets go of one that only a queue holds


def _pyopencl(x: Array) -> tuple[Any, Any]:
    """On the device that hetero uses, so that both meet the same driver."""
    cl: Any = import_module("pyopencl")
    array: Any = import_module("pyopencl.array")
    said = registry.find("opencl").description
    devices = [d for p in cl.get_platforms() for d in p.get_devices()]
    context = cl.Context([max(devices, key=lambda d: (d.name in said, d.platform.version in said))])
    queue = cl.CommandQueue(context)
    _contexts.append(context)
    _queues.append(queue)
    return array.to_device(queue, x), array.to_device(queue, x)


def _finish() -> None:
    """Both queues are in order, and the device has few threads: what is left of one would disturb the other."""
    registry.load("opencl").synchronize(registry.find("opencl"))
    for queue in _queues:
        queue.finish()


# -- fused ------------------------------------------------------------------------------------------------------------


def _gelu_jax(x: Any) -> Any:
    jnp: Any = import_module("jax.numpy")
    return 0.5 * x * (1.0 + jnp.tanh(0.7978845608028654 * (x + 0.044715 * x * x * x)))


def _gelu_of(peer: Callable[[Array], Call]) -> Callable[[str], Pair]:
    def pair(device: str) -> Pair:
        (x,) = _flat()
        return _ready(device, ht.jit(gelu), x), peer(x)

    return pair


def _layer_norm_jax(x: Any, scale: Any, bias: Any) -> Any:
    jnp: Any = import_module("jax.numpy")
    off = x - x.mean(-1, keepdims=True)
    return off / jnp.sqrt((off * off).mean(-1, keepdims=True) + 1e-5) * scale + bias


RATE, VOLATILITY = 0.02, 0.3


def _black_scholes(xp: Any, erf: Callable[[Any], Any]) -> Callable[..., Any]:
    """Prices of a call and a put. Source: Black and Scholes, Journal of Political Economy 81 (1973), equation 13."""

    def prices(spot: Any, strike: Any, years: Any) -> Any:
        spread = VOLATILITY * xp.sqrt(years)
        d1 = (xp.log(spot / strike) + (RATE + VOLATILITY * VOLATILITY / 2) * years) / spread
        d2 = d1 - spread
        n1, n2 = (0.5 + 0.5 * erf(d * (1 / math.sqrt(2))) for d in (d1, d2))
        later = strike * xp.exp(-RATE * years)
        call = spot * n1 - later * n2
        return call, call - spot + later

    return prices


def _options(n: int) -> list[Array]:
    rng = _rng()
    return [rng.uniform(a, b, n).astype("float32") for a, b in ((10, 50), (10, 50), (0.2, 2))]


def _black_scholes_pair(device: str) -> Pair:
    arrays, jax = _options(10_000_000), import_module("jax")
    theirs = _black_scholes(import_module("jax.numpy"), jax.scipy.special.erf)
    return _ready(device, ht.jit(_black_scholes(ht, _op("erf"))), *arrays), _jax(theirs, *arrays)


def _softmax_jax(x: Any) -> Any:
    return import_module("jax").nn.softmax(x, axis=-1)


def _copied(device: str) -> Pair:
    """As many bytes read and written as a layer norm of the same rows: x + 1 on the same device"""
    copy = ht.jit(lambda x: x + 1.0)
    return _ready(device, ht.jit(layer_norm), *_scaled()), _ready(device, copy, *_wide())


def _wide() -> list[Array]:
    return [_rng().standard_normal((10_000, 1000), "float32")]


def _flat() -> list[Array]:
    return [_rng().standard_normal(10_000_000, "float32")]


def _scaled() -> list[Array]:
    return [*_wide(), *_rng().standard_normal((2, 1000), "float32")]


def _rows_pair(ours: Callable[..., Any], theirs: str, **attrs: Any) -> Callable[[str], Pair]:
    def pair(device: str) -> Pair:
        (x,) = _wide()
        jnp: Any = import_module("jax.numpy")
        return _ready(device, ht.jit(ours), x), _jax(lambda a: getattr(jnp, theirs)(a, **attrs), x)

    return pair


# -- products ---------------------------------------------------------------------------------------------------------


def _matmul(*shape: int) -> Callable[[str], Pair]:
    def pair(device: str) -> Pair:
        a, b = (_rng().standard_normal(shape, "float32") for _ in range(2))
        return _ready(device, ht.jit(lambda x, y: x @ y), a, b), (lambda: np.matmul(a, b))

    return pair


# -- networks ---------------------------------------------------------------------------------------------------------


def _light(name: str, peer: str = "onnxruntime") -> Callable[[str], Pair]:
    """One of onnx's light networks against ONNX Runtime, or torch's eager mode, on the file itself."""

    def pair(device: str) -> Pair:
        from pathlib import Path

        import onnx

        path = str(Path(onnx.__path__[0]) / "backend" / "test" / "data" / "light" / f"light_{name}.onnx")
        return _network(device, ht.from_onnx(path), path, peer)

    return pair


def _network(device: str, graph: Any, path: str, peer: str = "onnxruntime") -> Pair:
    graph = graph.specialize(dict.fromkeys(graph.symbols, 1))
    rng = _rng()
    feed = {n: (rng.integers(0, 256, t.known) if t.dtype.kind in "iu" else rng.standard_normal(t.known)).astype(t.dtype)
            for n, t in graph.input_types.items()}  # fmt: skip
    if device == "auto":
        tune(graph, feed)
    return (lambda: graph.run(feed, device=device)), NETWORKS[peer](path, feed)


def _torch_network(path: str, feed: Mapping[str, Array]) -> Call:
    from benchmarks.torch_network import TorchNetwork

    return partial(TorchNetwork(path), feed)


def _onnxruntime(path: str, feed: Mapping[str, Array]) -> Call:
    ort: Any = import_module("onnxruntime")
    options = ort.SessionOptions()
    options.log_severity_level = 4
    return partial(ort.InferenceSession(path, options, providers=["CPUExecutionProvider"]).run, None, feed)


NETWORKS: Mapping[str, Callable[[str, Mapping[str, Array]], Call]] = {
    "onnxruntime": _onnxruntime, "torch": _torch_network, "openvino": peers_others.openvino,
    "openvino, as it likes": partial(peers_others.openvino, precision=""),
}  # fmt: skip


def _magika(device: str) -> Pair:
    from hetero.cli.magika_model import open_model

    model = open_model()
    return _network(device, model.graph, str(model.path))


# -- language -------------------------------------------------------------------------------------------------------


def _minilm(peer: str, texts: int) -> Callable[[str], Pair]:
    """Texts of 128 tokens; the weights are the real ones where their package is installed, else random ones"""

    def pair(device: str) -> Pair:
        from benchmarks.bench_language import TOKENS, encoder
        from hetero import nn

        module, shape = encoder(), (texts, TOKENS)
        ids, mask = _rng().integers(1000, 20000, shape), np.ones(shape, np.int64)
        feed = {"ids": ids, "mask": mask}
        graph = module.graph.specialize({"batch": texts, "sequence": TOKENS})
        if device == "auto":
            tune(graph, feed)
        if peer == "torch":
            from benchmarks.torch_bert import TorchBert

            weights = {p: np.asarray(leaf) for p, leaf in nn.state(module).items()}
            theirs: Call = partial(TorchBert(weights, module.bert.config), ids, mask)
        else:
            theirs = partial(_session(graph).run, None, feed)
        assert np.allclose(
            graph.run(feed, device=device)["vectors"], np.asarray(theirs()).reshape(texts, -1), atol=1e-3
        )
        return (lambda: graph.run(feed, device=device)), theirs

    return pair


def _session(graph: Any) -> Any:
    """ONNX Runtime on our own export."""
    from hetero.convert.onnx_out import to_onnx

    ort: Any = import_module("onnxruntime")
    return ort.InferenceSession(to_onnx(graph).SerializeToString(), providers=["CPUExecutionProvider"])


# -- graphs of tiny ops -----------------------------------------------------------------------------------------------


def _hundred(device: str) -> Pair:
    """100 ops on 3 x 3 numbers in one graph: half of them products, which nothing can fuse"""
    x = _rng().standard_normal((3, 3), "float32") / 3

    def ours(a: Any) -> Any:
        b = a
        for _ in range(50):
            b = ht.tanh(b @ a)
        return b

    def theirs() -> Array:
        b = x
        for _ in range(50):
            b = np.tanh(b @ x)
        return b

    return _ready(device, ht.jit(ours), x), theirs


BOTH: Sequence[str] = ("opencl", "numpy")
OPENVINO: Sequence[str] = ("openvino", "openvino, as it likes")  # in float32, and by default

ROWS: list[Row] = [
    Row("eager a + b, 10 float32", "numpy", "NumPy", 1 / 1.7, _add(_numpy), 10_000),
    Row("eager a + b, 10 float32", "numpy", "torch", 2, _add(_torch), 10_000),
    Row("eager a + b, 10 float32", "numpy", "array-api-strict", 0, _add(_strict), 10_000),
    Row("eager a + b, 10 float32, not waited for", "opencl", "pyopencl.array", 3, _add(_pyopencl), 500, settle=_finish),
    Row("gelu, tanh form, 1e7 float32", "opencl", "jax.jit", 1.8, _against_jax(gelu, _gelu_jax, _flat), better=2.5),
    Row("gelu, tanh form, 1e7 float32", "numpy", "jax.jit", 1 / 1.5, _against_jax(gelu, _gelu_jax, _flat)),
    Row("gelu, tanh form, 1e7 float32", "numpy", "numexpr", 0, _gelu_of(peers_others.numexpr_gelu)),
    Row("gelu, tanh form, 1e7 float32", "opencl", "tinygrad", 0, _gelu_of(peers_others.tinygrad_gelu)),
    Row("Black-Scholes, 1e7 options, call and put", "opencl", "jax.jit", 0, _black_scholes_pair, better=2),
    Row("layer norm, 10000 x 1000 float32", "opencl", "jax.jit", 2,
        _against_jax(layer_norm, _layer_norm_jax, _scaled), better=4),
    Row("layer norm, 10000 x 1000 float32", "opencl", "a copy (x + 1) on the device", 0, _copied, better=0.6),
    Row("softmax, 10000 x 1000 float32", "opencl", "jax.jit", 2,
        _against_jax(lambda x: _op("softmax")(x, axis=1), _softmax_jax, _wide)),
    Row("argmax of rows, 10000 x 1000 float32", "opencl", "jax.jit", 2,
        _rows_pair(lambda x: ht.argmax(x, axis=1), "argmax", axis=1)),
    Row("cumsum of rows, 10000 x 1000 float32", "opencl", "jax.jit", 2,
        _rows_pair(lambda x: ht.cumulative_sum(x, axis=1), "cumsum", axis=1)),
    Row("matmul 1024 float32", "opencl", "NumPy", 0.95, _matmul(1024, 1024), 5),
    Row("matmul 2048 float32", "opencl", "NumPy", 0.95, _matmul(2048, 2048), 2),
    Row("matmul 10000 of 8 x 8 x 8 float32", "opencl", "NumPy", 2, _matmul(10_000, 8, 8), 50),
    Row("100 ops on 3 x 3 in one graph", "numpy", "NumPy", 0, _hundred, 100, over=1e-6, ops=100),
    Row("ResNet-50, batch 1", "auto", "onnxruntime", 0.97, _light("resnet50"), 3),
    Row("SqueezeNet, batch 1", "auto", "onnxruntime", 0.97, _light("squeezenet"), 10),
    *(Row("ResNet-50, batch 1", "auto", peer, 0, _light("resnet50", peer), 3) for peer in OPENVINO),
    Row("ResNet-50, batch 1", "opencl", "torch eager", 0, _light("resnet50", "torch"), 3, better=1),
    Row("SqueezeNet, batch 1", "opencl", "torch eager", 0, _light("squeezenet", "torch"), 10, better=1),
    Row("magika, one file", "auto", "onnxruntime", 0.97, _magika, 10),
    Row("MiniLM, 1 text of 128 tokens", "auto", "onnxruntime", 0.97, _minilm("onnxruntime", 1), 3),
    Row("MiniLM, 8 texts of 128 tokens", "auto", "onnxruntime", 0.97, _minilm("onnxruntime", 8)),
    Row("MiniLM, 8 texts of 128 tokens", "opencl", "torch eager", 0, _minilm("torch", 8), better=1),
    Row("MiniLM, 8 texts of 128 tokens", "numpy", "torch eager", 0, _minilm("torch", 8)),
    *(Row(f"{n}, batch 1", d, "onnxruntime", 0, _light(f)) for n, f in (("ResNet-50", "resnet50"),) for d in BOTH),
]  # fmt: skip
