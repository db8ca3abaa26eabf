"""`quantize(graph, data)`: a network in integers of 8 or 4 bits, in QDQ form, with what that loses and saves.

QDQ: before each product its weights and what comes in are codes, and are made numbers again; so the graph says exactly
what is rounded where, and runs on every backend as it is. `hetero.graph.passes.integers` makes products of the codes
themselves of it. Weights have a scale for each channel (of 4 bits: for each block), activations scale and zero point
for each tensor, biases are int32 on the scale of their product. Post-training, as in Krishnamoorthi, arXiv:1806.08342
(2018), section 3.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from hetero import dtype as dt
from hetero.convert.quantize_data import Data, feeds
from hetero.convert.quantize_layers import Found, Product, find
from hetero.convert.quantize_prepare import prepare
from hetero.convert.quantize_ranges import WAYS, Codes, Scale, Seen, scale_of, stored, weight_codes
from hetero.convert.quantize_report import LayerError, Measured, OutputError, QuantizeReport, measure, sqnr_db
from hetero.errors import GraphError
from hetero.graph.build import Builder, Ref, compact, rewrite
from hetero.graph.ir import Graph, Node, Port
from hetero.op import Array

WEIGHTS = ("int8", "int4", "bfloat16")
ACTIVATIONS = ("int8", "uint8", "bfloat16", None)
BIAS_TOP = 2**30  # of int32: as much again is left for the product
RECORD = "quantized layer "  # and its number: outputs of the graphs that are compared

Weights = Literal["int8", "int4", "bfloat16"]
Activations = Literal["int8", "uint8", "bfloat16"]
Calibration = Literal["minmax", "percentile", "mse"]


@dataclass(frozen=True, slots=True, eq=False)
class Quantized:
    """The graph in QDQ form, and its report."""

    graph: Graph
    report: QuantizeReport

    @property
    def integers(self) -> Graph:
        """The graph with products of whole codes; the same up to the rounding of float32."""
        from hetero.graph.passes.integers import integer_products

        return integer_products(self.graph)

    def __str__(self) -> str:
        return str(self.report)


def quantize(
    graph: Graph, data: Data, *, weights: Weights = "int8", activations: Activations | None = "int8",
    calibration: Calibration = "minmax", percentile: float = 99.99, block: int = 32, clip: bool = True,
    skip: Collection[str] = (), test: Data | None = None, device: str | None = None,
) -> Quantized:  # fmt: skip
    """`graph` with its convolutions and matrix products quantised.

    data         runs to calibrate on: samples (n, ...) of the one input, a feed {name: array}, or a sequence of these
    weights      int8 or int4, symmetric; or bfloat16, products of which are summed in float32
    activations  int8 or uint8, with a zero point; None: weights alone are quantised; with bfloat16 weights: bfloat16
    calibration  of activations: minmax; percentile; or mse, the range that loses least of its own tensor
    percentile   of the numbers that `percentile` keeps
    block        of weights of 4 bits: so many of one sum have one scale; 0: all of a channel
    clip         weights of 4 bits: the scale that loses least, or False: one at which none is clipped
    skip         names of layers, as in the report, that stay in floats
    test         what the errors are measured on; `data` where it is not given
    device       what runs the graphs

    A GraphError lists everything that is wrong with the arguments. The report says what cannot be quantised and stays.
    """
    asked = _Asked(weights, activations, calibration, percentile, block, clip, tuple(skip))
    asked.check()
    runs = feeds(graph, data)
    tests = runs if test is None else feeds(graph, test)
    plain = prepare(graph)
    found = find(plain, skip=skip, activations=activations is not None)
    unknown = sorted(set(skip) - {p.split(": ")[0] for p in found.left})
    if unknown:
        known = ", ".join(p.name for p in found.products) or "none"
        raise GraphError(f"{graph.name} has no layer {', '.join(unknown)} to skip", hint=f"its layers: {known}")
    if not found.products:
        lines = "\n".join(f"  {w}" for w in found.left) or "  it has no conv and no matmul"
        raise GraphError(f"nothing of {graph.name} can be quantised:\n{lines}", hint="docs/quantize.md says what can")
    scales = _calibrated(plain, found, runs, asked, device) if asked.codes else {}
    before = _recorded(plain, found)
    made = _Rewrite(plain, found, scales, asked)
    after = rewrite(before, made.rule)
    names = [f"{RECORD}{k}" for k in range(len(found.products))]
    measured = measure(before, after, names, tests, device)
    small = _without(after, names)
    report = _report(graph, small, found, made, measured, asked, "data" if test is None else "test", len(tests))
    return Quantized(small, report)


@dataclass(frozen=True, slots=True)
class _Asked:
    weights: str
    activations: str | None
    calibration: str
    percentile: float
    block: int
    clip: bool
    skip: tuple[str, ...]

    @property
    def codes(self) -> bool:
        """Whether activations become integers."""
        return self.activations in ("int8", "uint8")

    def check(self) -> None:
        wrong: list[str] = []
        if self.weights not in WEIGHTS:
            wrong.append(f"weights={self.weights!r}, not {', '.join(WEIGHTS)}")
        if self.activations not in ACTIVATIONS:
            wrong.append(f"activations={self.activations!r}, not {', '.join(map(str, ACTIVATIONS))}")
        elif (self.weights == "bfloat16") != (self.activations == "bfloat16"):
            wrong.append(
                f"weights={self.weights!r} with activations={self.activations!r}: bfloat16 is for both or none"
            )
        if self.calibration not in WAYS:
            wrong.append(f"calibration={self.calibration!r}, not {', '.join(WAYS)}")
        if not 50 < self.percentile <= 100:
            wrong.append(f"percentile={self.percentile!r}, not over 50 and up to 100")
        if isinstance(self.block, bool) or not 0 <= self.block < 1 << 31:
            wrong.append(f"block={self.block!r}, not a whole number from 0 on")
        if wrong:
            raise GraphError(f"quantize wants other arguments: {'; '.join(wrong)}")


def _calibrated(
    graph: Graph, found: Found, runs: Sequence[dict[str, Array]], asked: _Asked, device: str | None
) -> dict[int, Scale]:
    """Value -> scale and zero point, for everything that comes into a product."""
    values = dict.fromkeys(p.node.inputs[k] for p in found.products for k in p.activations)
    ports = tuple(Port(f"v{i}", i) for i in values)
    watched = compact(replace(graph, outputs=ports))
    seen = {i: Seen() for i in values}
    for feed in runs:
        made = watched.run(feed, device=device)
        for i, one in seen.items():
            one.add(made[f"v{i}"])
    wild = [p.name for p in found.products for k in p.activations if not seen[p.node.inputs[k]].finite]
    if wild:
        raise GraphError(f"what comes into {', '.join(wild)} is not finite on the calibration data", hint="skip= them")
    code = dt.of(asked.activations or "int8")
    return {i: scale_of(one, code, asked.calibration, asked.percentile) for i, one in seen.items()}


def _recorded(graph: Graph, found: Found) -> Graph:
    """The graph with the output of each layer as one of its own."""
    more = tuple(Port(f"{RECORD}{k}", p.output) for k, p in enumerate(found.products))
    return replace(graph, outputs=(*graph.outputs, *more))


def _without(graph: Graph, names: Collection[str]) -> Graph:
    dropped = set(names)
    return compact(replace(graph, outputs=tuple(p for p in graph.outputs if p.name not in dropped)))


# -- the rewriting ------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Size:
    """Of one layer: its weights' error, bytes before and after."""

    signal: float = 0.0
    noise: float = 0.0
    before: int = 0
    after: int = 0


@dataclass(slots=True)
class _Rewrite:
    """Emits codes and numbers around each product; `sizes` say what became of the weights, by layer."""

    graph: Graph
    found: Found
    scales: dict[int, Scale]
    asked: _Asked
    sizes: dict[str, _Size] = field(default_factory=dict[str, _Size])
    _known: dict[Any, Ref] = field(default_factory=dict[Any, Ref])
    _factors: dict[int, tuple[Product, Array]] = field(default_factory=dict[int, "tuple[Product, Array]"])

    def rule(self, builder: Builder, node: Node, refs: tuple[Ref, ...]) -> Sequence[Ref] | None:
        product = next((p for p in self.found.products if p.node is node), None)
        if product is not None:
            return self._product(builder, product, list(refs))
        if id(node) in self._factors:
            product, factor = self._factors[id(node)]
            at = node.inputs.index(product.bias or 0)
            refs = tuple(self._bias(builder, product, factor) if k == at else r for k, r in enumerate(refs))
            return builder.emit(node.op, refs, node.attrs)
        return None

    def _product(self, builder: Builder, product: Product, refs: list[Ref]) -> Sequence[Ref]:
        size = self.sizes[product.name] = _Size()
        for k in product.activations:
            refs[k] = self._activation(builder, product.node.inputs[k], refs[k])
        if product.weight is not None:
            refs[product.weight], factor = self._weight(builder, product, size)
            if factor is not None and product.bias is not None:
                if product.add is None:
                    refs[2] = self._bias(builder, product, factor)
                else:
                    self._factors[id(product.add)] = product, factor
            elif product.bias is not None:
                kept = self.graph.constants[product.bias].nbytes
                size.before, size.after = size.before + kept, size.after + kept
        return builder.emit(product.node.op, refs, product.node.attrs)

    def _activation(self, builder: Builder, value: int, ref: Ref) -> Ref:
        if self.asked.activations is None:
            return ref
        key = ("activation", value)
        if key not in self._known:
            if self.asked.codes:
                one = self.scales[value]
                scale, zero = builder.constant(one.scale), builder.constant(one.zero, one.dtype)
                codes = builder("quantize_linear", ref, scale, zero)
                self._known[key] = builder("dequantize_linear", codes, scale, zero)
            else:
                self._known[key] = _rounded(builder, builder("cast", ref, dtype="bfloat16"))
        return self._known[key]

    def _weight(self, builder: Builder, product: Product, size: _Size) -> tuple[Ref, Array | None]:
        """The weights, and the scale of the sums of codes for each channel, if there is one."""
        assert product.weight is not None
        weight = self.graph.constants[product.node.inputs[product.weight]]
        size.before = weight.nbytes
        if self.asked.weights == "bfloat16":
            narrow = weight.astype(dt.of("bfloat16"))
            self._lost(size, weight, narrow.astype(np.float32), narrow.nbytes)
            return _rounded(builder, builder.constant(narrow)), None
        codes = self._codes(product, weight)
        scale, whole = builder.constant(codes.scale), builder.constant(codes.codes)
        made = builder("dequantize_linear", whole, scale, axis=codes.axis, block=codes.block)
        self._lost(size, weight, codes.numbers, codes.nbytes)
        if codes.block or not self.asked.codes:
            return made, None
        one = self.scales[product.node.inputs[product.activations[0]]]
        return made, (codes.scale.astype(np.float64) * one.scale).astype(np.float32)

    def _codes(self, product: Product, weight: Array) -> Codes:
        dtype, block = dt.of(self.asked.weights), 0
        if dtype == dt.of("int4") and weight.shape[product.summed] >= self.asked.block:
            block = self.asked.block
        least = None
        if self.asked.codes and not block and product.bias is not None:
            one = self.scales[product.node.inputs[product.activations[0]]]
            least = np.abs(self.graph.constants[product.bias]) / (np.float64(one.scale) * BIAS_TOP)
        axis = product.summed if block else product.channel
        return weight_codes(weight, axis, dtype, block=block, clip=self.asked.clip, least=least)

    def _lost(self, size: _Size, before: Array, after: Array, nbytes: int) -> None:
        size.signal = float(np.square(before.astype(np.float64)).sum())
        size.noise = float(np.square(after.astype(np.float64) - before).sum())
        size.after = nbytes

    def _bias(self, builder: Builder, product: Product, factor: Array) -> Ref:
        """int32 on the scale of the product"""
        assert product.bias is not None
        bias, size = self.graph.constants[product.bias], self.sizes[product.name]
        codes = np.clip(np.rint(bias.astype(np.float64) / factor), -BIAS_TOP, BIAS_TOP).astype(np.int32)
        size.before, size.after = size.before + bias.nbytes, size.after + codes.nbytes + factor.nbytes
        return builder("dequantize_linear", builder.constant(codes), builder.constant(factor), axis=0)


def _rounded(builder: Builder, narrow: Ref) -> Ref:
    return builder("cast", narrow, dtype="float32")


# -- the report ---------------------------------------------------------------------------------------------


def _report(
    graph: Graph, small: Graph, found: Found, made: _Rewrite, measured: Measured, asked: _Asked, data: str, runs: int
) -> QuantizeReport:
    layers: list[LayerError] = []
    for k, p in enumerate(found.products):
        size, noise = made.sizes[p.name], measured.layers[f"{RECORD}{k}"]
        coded = [made.scales[p.node.inputs[j]] for j in p.activations] if asked.codes else []
        layers.append(
            LayerError(
                p.name, p.node.op.name, asked.weights if p.weight is not None else "", asked.activations or "float32",
                tuple(float(c.scale) for c in coded), tuple(c.zero for c in coded),
                noise.sqnr_db, noise.worst, sqnr_db(size.signal, size.noise) if p.weight is not None else None,
                size.before, size.after,
            )
        )  # fmt: skip
    outputs = tuple(
        OutputError(n, o.sqnr_db, o.worst, o.same / o.rows if o.rows else 1.0) for n, o in measured.outputs.items()
    )
    calibration = (
        f"{asked.calibration} {asked.percentile:g} %" if asked.calibration == "percentile" else asked.calibration
    )
    return QuantizeReport(
        graph.name, asked.weights, asked.activations, calibration, data, runs, tuple(layers), outputs,
        _bytes(made.graph), _bytes(small), tuple(found.left),
    )  # fmt: skip


def _bytes(graph: Graph) -> int:
    return sum(stored(a) for a in graph.constants.values())


__all__ = ["Quantized", "quantize"]
