# pyright: reportMissingImports=false
"""A network of Lava processes, built from a description and run again and again.

The description (JSON) has `steps`, `feeds`: {name: shape}, `layers`: {name: {op, shape, ...}}, `edges`: [source,
target] pairs, and `posts`: [neurons, layer that learns from them] pairs; its arrays are called `layer.parameter`.
Layers have hetero's shapes; a convolution turns them into Lava's (x, y, channel) at its own ports.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
from lava.magma.core.learning.learning_rule import Loihi2FLearningRule
from lava.magma.core.run_conditions import RunSteps
from lava.magma.core.run_configs import Loihi2HwCfg, Loihi2SimCfg
from lava.proc.conv.process import Conv
from lava.proc.dense.process import DelayDense, Dense, LearningDense
from lava.proc.lif.process import LIF
from lava.proc.sparse.process import Sparse
from lava.utils import loihi
from lava.utils.weightutils import SignMode
from scipy.sparse import csr_matrix

from .models import MODELS, Feed, LearningDenseModel, Lifs, shared

Arrays = Mapping[str, Any]
MESSAGE_BITS = 24  # of a graded spike


class Net:
    """Built on its first run; `stop` ends its processes."""

    def __init__(self, spec: dict[str, Any], arrays: Arrays) -> None:
        self.steps: int = spec["steps"]
        self.turn = shared((1,), np.int64)
        self.memory: dict[str, dict[str, Any]] = {}
        self.processes: dict[str, Any] = {}
        for name, shape in spec["feeds"].items():
            self._add(name, Feed(shape=tuple(shape)), {"data": shared((self.steps, *shape))})
        for name, layer in spec["layers"].items():
            given = {k.rsplit(".", 1)[1]: a for k, a in arrays.items() if k.rsplit(".", 1)[0] == name}
            self._add(name, *MAKE[layer["op"]](layer, given, self.steps))
        for source, target in spec["edges"]:
            _connect(self.processes[source], self.processes[target], spec["layers"][target])
        for neurons, layer in spec["posts"]:
            self.processes[neurons].s_out.connect(self.processes[layer].s_in_bap)
        self.parts = _parts(list(self.processes), spec["edges"] + spec["posts"])

    def _add(self, name: str, process: Any, memory: dict[str, Any]) -> None:
        self.memory[name] = {"turn": self.turn, "done": shared((1,), np.int64), **memory}
        process.proc_params["hetero"] = self.memory[name]
        self.processes[name] = process

    def run(self, arrays: Arrays) -> dict[str, Any]:
        """All steps: `name.data` of feeds, `name.start.*` of layers -> `name.trace.*`, `name.end.*` of layers"""
        self.turn[0] += 1
        for name, memory in self.memory.items():
            memory["done"][0] = 0
            for key, array in memory.items():
                if key == "data" or key.startswith("start."):
                    array[...] = arrays.get(f"{name}.{key}", 0)
        for part in self.parts:
            self.processes[part].run(condition=RunSteps(num_steps=self.steps), run_cfg=run_config())
        self._check()
        return {
            f"{name}.{key}": array
            for name, memory in self.memory.items()
            for key, array in memory.items()
            if key.startswith(("trace.", "end."))
        }

    def _check(self) -> None:
        """Models that did not leave what they did, as a board's would not, give no answer rather than a wrong one."""
        wrong = [
            f"{n} did {m['done'][0]} of {self.steps}" for n, m in self.memory.items() if m["done"][0] != self.steps
        ]
        if wrong:
            raise RuntimeError(f"steps are missing: {', '.join(wrong)}")

    def actors(self) -> list[Any]:
        """The system processes that run the models."""
        found: list[Any] = []
        for part in self.parts:
            runtime = self.processes[part].runtime
            infrastructure = getattr(runtime, "_messaging_infrastructure", None)
            found += list(infrastructure.actors) if infrastructure is not None else []
        return found

    def stop(self) -> None:
        for part in self.parts:
            self.processes[part].stop()


def hardware() -> bool:
    """Whether Lava has its extension for Loihi, and somebody named a board. Never tried: there is no board here."""
    return loihi.is_installed() and any(os.environ.get(k) for k in ("NXSDKHOST", "SLURM", "BOARD", "PARTITION"))


def run_config() -> Any:
    """Simulation, with the models that keep what they did; on a board, Lava's own choice."""
    kind = Loihi2HwCfg if hardware() else Loihi2SimCfg
    return kind(select_tag="fixed_pt", exception_proc_model_map={} if hardware() else dict(MODELS))


def _parts(names: list[str], edges: list[list[str]]) -> list[str]:
    """One process of each part of the network that hangs together: Lava runs what is connected."""
    of = {n: n for n in names}
    for a, b in edges:
        old, new = of[b], of[a]
        of = {n: new if part == old else part for n, part in of.items()}
    return list(dict.fromkeys(of.values()))


# -- layers ---------------------------------------------------------------------------------------------------


def _lif(layer: dict[str, Any], given: Arrays, steps: int) -> tuple[Any, dict[str, Any]]:
    shape = tuple(layer["shape"])
    rest: dict[str, Any] = {"shape": shape, "bias_mant": given["bias_mant"], "bias_exp": given["bias_exp"]}
    decays = {k: given[k] for k in ("du", "dv", "vth")}
    if all(a.ndim == 0 for a in decays.values()):
        process = LIF(**rest, **{k: int(a) for k, a in decays.items()})
    else:
        rest |= {k: np.broadcast_to(a, shape) for k, a in decays.items()}
        process = Lifs(**rest)
    memory = {f"{when}.{k}": shared(shape) for when in ("start", "end") for k in "uv"}
    memory |= {f"trace.{k}": shared((steps, *shape)) for k in layer["traces"]}
    return process, memory | {"trace.s": shared((steps, *shape), np.uint8)}


def _synapse(buffer: str, kept: tuple[int, ...], layer: dict[str, Any], steps: int) -> dict[str, Any]:
    memory = {f"{when}.{buffer}": shared(kept) for when in ("start", "end")}
    traced = {"y": kept if buffer == "a_buf" else kept[:1], "a_buff": kept}
    return memory | {f"trace.{k}": shared((steps, *traced[k])) for k in layer["traces"]}


def _dense(layer: dict[str, Any], given: Arrays, steps: int) -> tuple[Any, dict[str, Any]]:
    weights = given["weight"]
    return Dense(weights=weights, **_common(layer)), _synapse("a_buff", weights.shape[:1], layer, steps)


def _plastic(layer: dict[str, Any], given: Arrays, steps: int) -> tuple[Any, dict[str, Any]]:
    m, n = layer["shape"][0], layer["sources"]
    rule = Loihi2FLearningRule(dw=layer["rule"], rng_seed=layer["seed"], t_epoch=1, **layer["times"])
    process = LearningDense(weights=np.zeros((m, n), np.int32), learning_rule=rule, **_common(layer))
    memory = _synapse("a_buff", (m,), {"traces": [t for t in layer["traces"] if t in ("y", "a_buff")]}, steps)
    for name in LearningDenseModel.learned:
        shape = (m, n) if name == "weights" else (n,) if name[0] == "x" else (m,)
        memory |= {f"{when}.{name}": shared(shape) for when in ("start", "end")}
        memory |= {f"trace.{name}": shared((steps, *shape))} if name in layer["traces"] else {}
    return process, memory


def _delayed(layer: dict[str, Any], given: Arrays, steps: int) -> tuple[Any, dict[str, Any]]:
    weights, depth = given["weight"], layer["depth"]
    process = DelayDense(weights=weights, delays=given["delay"].astype(int), max_delay=depth, **_common(layer))
    return process, _synapse("a_buff", (weights.shape[0], depth + 1), layer, steps)


def _sparse(layer: dict[str, Any], given: Arrays, steps: int) -> tuple[Any, dict[str, Any]]:
    n, m = layer["sources"], layer["shape"][0]
    weights = csr_matrix((given["weight"], (given["target"], given["source"])), shape=(m, n))
    return Sparse(weights=weights, **_common(layer)), _synapse("a_buff", (m,), layer, steps)


def _conv(layer: dict[str, Any], given: Arrays, steps: int) -> tuple[Any, dict[str, Any]]:
    c, x, y = layer["source_shape"]
    weight = given["weight"].transpose(0, 2, 3, 1)[:, ::-1, ::-1].copy()  # Lava convolves, hetero correlates
    process = Conv(
        weight=weight, input_shape=(x, y, c), padding=tuple(layer["pads"]), stride=tuple(layer["strides"]),
        dilation=tuple(layer["dilations"]), groups=layer["groups"],
        num_message_bits=MESSAGE_BITS * layer["graded"],
    )  # fmt: skip
    o, *out = layer["shape"]
    return process, _synapse("a_buf", (*out, o), layer, steps)


def _common(layer: dict[str, Any]) -> dict[str, Any]:
    return {
        "weight_exp": layer["exponent"],
        "sign_mode": SignMode[layer["sign"]],
        "num_message_bits": MESSAGE_BITS * layer["graded"],
    }


MAKE = {"lif": _lif, "dense": _dense, "plastic": _plastic, "delayed": _delayed, "sparse": _sparse, "conv": _conv}


def _connect(source: Any, target: Any, layer: dict[str, Any]) -> None:
    """The output of one process to the input of another; axes as the synapse wants them."""
    port = source.a_out if hasattr(source, "a_out") else source.s_out
    if isinstance(source, Conv):
        port = port.transpose([2, 0, 1])
    if "source_shape" in layer and port.shape != tuple(layer["source_shape"]):
        port = port.reshape(tuple(layer["source_shape"]))
    if isinstance(target, Conv):
        port.transpose([1, 2, 0]).connect(target.s_in)
    elif layer["op"] == "lif":
        port.connect(target.a_in)
    elif port.shape != target.s_in.shape:
        port.reshape(target.s_in.shape).connect(target.s_in)
    else:
        port.connect(target.s_in)


__all__ = ["Net", "hardware", "run_config"]
