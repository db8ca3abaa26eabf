# pyright: reportMissingImports=false, reportUntypedBaseClass=false, reportUntypedClassDecorator=false
"""Lava's own fixed-point models, which also take their start from shared memory and leave what they did there.

A Lava model runs in a process of its own. Reading one of its variables goes element by element, and so does setting
one; memory that was shared before the fork costs nothing. The arithmetic is that of the base classes, untouched.

`proc_params["hetero"]` of a process is a dict of shared arrays: `turn` counts runs, so that a model knows that a new
one begins; `done` counts its steps; `start.*` are its states before the run, `end.*` after it, `trace.*` of each step
(first axis).

A folder of its own, because Lava's compiler executes every file that lies beside the one that defines a process.
"""

from __future__ import annotations

import mmap
import os
import time
from typing import Any

import numpy as np
from lava.magma.core.decorator import implements, requires, tag
from lava.magma.core.model.py.model import PyLoihiProcessModel
from lava.magma.core.model.py.ports import PyOutPort
from lava.magma.core.model.py.type import LavaPyType
from lava.magma.core.process.ports.ports import OutPort
from lava.magma.core.process.process import AbstractProcess
from lava.magma.core.process.variable import Var
from lava.magma.core.resources import CPU
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol
from lava.proc.conv.models import PyConvModelFixed
from lava.proc.conv.process import Conv
from lava.proc.dense.models import (
    PyDelayDenseModelBitAcc,
    PyDenseModelBitAcc,
    PyLearningDenseModelBitApproximate,
)
from lava.proc.dense.process import DelayDense, Dense, LearningDense
from lava.proc.lif.models import PyLifModelBitAcc
from lava.proc.lif.process import LIF
from lava.proc.sparse.models import PySparseModelBitAcc
from lava.proc.sparse.process import Sparse


def shared(shape: tuple[int, ...], dtype: Any = np.int32) -> Any:
    """An array of zeros that processes forked from this one share."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    memory = mmap.mmap(-1, max(size, 1))
    return np.frombuffer(memory, dtype, int(np.prod(shape))).reshape(shape)


class Feed(AbstractProcess):
    """Sends what its shared memory holds, a step at a time."""

    def __init__(self, *, shape: tuple[int, ...]) -> None:
        super().__init__(shape=shape)
        self.s_out = OutPort(shape=shape)


class Lifs(LIF):
    """LIF with decays and a threshold for each neuron, where Lava's has one for all."""

    def __init__(self, *, shape: tuple[int, ...], du: Any, dv: Any, vth: Any, **rest: Any) -> None:
        super().__init__(shape=shape, du=du, dv=dv, vth=vth, **rest)
        self.du = Var(shape=shape, init=du)
        self.dv = Var(shape=shape, init=dv)
        self.vth = Var(shape=shape, init=vth)


class _Kept:
    """The part of a model that knows the shared memory. `kept` names the states."""

    kept: tuple[str, ...] = ()

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)  # pyright: ignore[reportCallIssue]
        self.memory: dict[str, Any] = proc_params["hetero"]
        self.turn, self.row = 0, 0

    def run_spk(self) -> None:
        turn = int(self.memory["turn"][0])
        if turn != self.turn:
            self.turn, self.row = turn, 0
            for name in self.kept:
                getattr(self, name)[...] = self.memory[f"start.{name}"]
        _fault(self.row)
        super().run_spk()  # pyright: ignore[reportAttributeAccessIssue]
        for name in self.kept:
            self.memory[f"end.{name}"][...] = getattr(self, name)
        self.leave(self.row)
        self.row += 1
        self.memory["done"][0] = self.row

    def leave(self, row: int) -> None:
        """What happened in this step, for the trace."""
        for name in self.kept:
            if f"trace.{name}" in self.memory:
                self.memory[f"trace.{name}"][row] = getattr(self, name)


class _KeptSynapse(_Kept):
    kept = ("a_buff",)

    def leave(self, row: int) -> None:
        """What the synapse gives in this step: its target takes it in the next one."""
        super().leave(row)
        if "trace.y" in self.memory:
            a = self.a_buff  # pyright: ignore[reportAttributeAccessIssue]
            self.memory["trace.y"][row] = a[:, 0] if a.ndim > 1 else a


def _fault(row: int) -> None:
    """What the tests of the deadline want to happen: an exception inside a model, or no end."""
    wanted = os.environ.get("HETERO_LAVA_TESTING", "")
    if wanted and row == 2:
        if wanted == "raise":
            raise ValueError("a model that raises, as the test wants it")
        if wanted == "sleep":
            time.sleep(3600)
        if wanted == "exit":
            os._exit(3)


@implements(proc=Feed, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class FeedModel(PyLoihiProcessModel):
    s_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32)

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        self.memory: dict[str, Any] = proc_params["hetero"]
        self.turn, self.row = 0, 0

    def run_spk(self) -> None:
        turn = int(self.memory["turn"][0])
        if turn != self.turn:
            self.turn, self.row = turn, 0
        self.s_out.send(self.memory["data"][self.row])
        self.row += 1
        self.memory["done"][0] = self.row


class LifModel(_Kept, PyLifModelBitAcc):
    kept = ("u", "v")

    def leave(self, row: int) -> None:
        super().leave(row)
        self.memory["trace.s"][row] = self.s_out_buff


class LifsModel(LifModel):
    implements_process = Lifs  # the decorator refuses to say it twice
    du: Any = LavaPyType(np.ndarray, np.uint16, precision=12)
    dv: Any = LavaPyType(np.ndarray, np.uint16, precision=12)
    vth: Any = LavaPyType(np.ndarray, np.int32, precision=17)


class DenseModel(_KeptSynapse, PyDenseModelBitAcc):
    pass


class LearningDenseModel(_KeptSynapse, PyLearningDenseModelBitApproximate):
    """Each run draws its random numbers anew, from the seed; weights come in as they are to be, and are not cut."""

    learned = ("weights", "x1", "x2", "y1", "y2", "y3")

    def run_spk(self) -> None:
        if int(self.memory["turn"][0]) != self.turn:
            self._init_randoms()
            self.weights_set = True
            for name in self.learned:
                getattr(self, name)[...] = self.memory[f"start.{name}"]
        super().run_spk()

    def run_lrn(self) -> None:
        """After the spikes of the same step."""
        super().run_lrn()
        for name in self.learned:
            self.memory[f"end.{name}"][...] = getattr(self, name)
            if f"trace.{name}" in self.memory:
                self.memory[f"trace.{name}"][self.row - 1] = getattr(self, name)


class DelayDenseModel(_KeptSynapse, PyDelayDenseModelBitAcc):
    pass


class SparseModel(_KeptSynapse, PySparseModelBitAcc):
    pass


class ConvModel(_KeptSynapse, PyConvModelFixed):
    kept = ("a_buf",)

    def leave(self, row: int) -> None:
        if "trace.y" in self.memory:
            self.memory["trace.y"][row] = self.a_buf


MODELS = {
    Feed: FeedModel, LIF: LifModel, Lifs: LifsModel, Dense: DenseModel, LearningDense: LearningDenseModel,
    DelayDense: DelayDenseModel, Sparse: SparseModel, Conv: ConvModel,
}  # fmt: skip
