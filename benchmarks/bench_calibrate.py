"""How far a small, quick calibration is off on cases that it was not fitted on. The full one: `hetero calibrate`."""

from __future__ import annotations

import hetero as ht
from benchmarks.ratio import at_most
from hetero import registry
from hetero.calibration import measure_device
from hetero.calibration.samples import cases
from hetero.scheduler.cost import estimate, work_of

TENTHS = 5  # of the cases of a quick calibration


class Calibrating:
    """One calibration a device; noise of the machine is in it."""

    params = (["numpy", "opencl"],)
    param_names = ("backend",)
    timeout = 120.0  # seconds

    def setup(self, name: str) -> None:
        try:
            self.device = registry.find(name)
        except ht.BackendError as e:
            raise NotImplementedError(str(e)) from e  # asv's word for: skip

    def track_error(self, name: str) -> float:
        """Median relative error of ops that were not fitted."""
        return 100 * measure_device(self.device, quick=True, share=at_most(TENTHS) / 10).overall.median

    track_error.unit = "%"  # pyright: ignore[reportFunctionMemberAccess]
    track_error.number = 1  # pyright: ignore[reportFunctionMemberAccess]


class Estimating:
    """Pricing groups on a profile."""

    def setup(self) -> None:
        from hetero.profile import load

        self.profile = load("h100")
        drawn = [c.graph for c in cases(0, quick=False)]
        self.pairs = [(graph, node) for graph in drawn for node in graph.nodes]
        self.works = [work_of(graph, node) for graph, node in self.pairs]

    def time_work_of(self) -> None:
        for graph, node in self.pairs:
            work_of(graph, node)

    def time_estimate(self) -> None:
        for work in self.works:
            estimate(work, self.profile)
