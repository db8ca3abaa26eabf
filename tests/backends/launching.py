"""Runs graphs on the OpenCL device that is here, against the references, and counts their kernels."""

from __future__ import annotations

import numpy as np

from hetero.graph.ir import Graph
from hetero.op import Array
from hetero.spi import Device
from hetero_launch.executable import LaunchExecutable
from hetero_opencl import OpenCLBackend
from hetero_opencl.opened import PROCESSOR

BACKEND = OpenCLBackend(PROCESSOR)
FOUND = BACKEND.probe()
DEVICE = FOUND.devices[0] if FOUND.devices else Device("opencl")
ABSENT = "" if FOUND.devices else f"no OpenCL device: {FOUND.reason}"
TOLERANCE = {"float32": 1e-5, "float64": 1e-12}


def launched(graph: Graph, feed: list[Array], backend: OpenCLBackend = BACKEND) -> int:
    """Compares with the references; gives the number of kernels."""
    executable = backend.compile(graph, DEVICE)
    assert isinstance(executable, LaunchExecutable)
    outs = executable(*(backend.from_host(a, DEVICE) for a in feed))
    for out, type, want in zip(outs, graph.output_types.values(), graph.evaluate(*feed), strict=True):
        got = backend.to_host(out, type, DEVICE)
        assert got.dtype == want.dtype
        if want.dtype == bool:
            assert (got != want).mean() < 0.01  # a sum may lie on either side of zero
        else:
            np.testing.assert_allclose(got, want, atol=TOLERANCE[want.dtype.name], rtol=1e-5)
    return executable.kernels
