"""Run under Oclgrind: compiles and runs the graphs of one group, compares them with their references, and writes down
which kernels were launched. `python -m oclgrind.child GROUP STYLE FILE`

Every storage is a buffer of its own, as long as it must be and no longer: vectors may overhang by OVERHANG bytes on a
processor, and by nothing where an item is a lane. Overhangs hold zeros; all else is what nobody has written yet.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import hetero_kernels as hk
from hetero import registry
from hetero.op import Array
from hetero.testing.agree import assert_agrees, run_graph
from hetero_launch import Bound, Style, executable, memory
from hetero_opencl import OpenCLBackend
from hetero_opencl.opened import ACCELERATOR, PROCESSOR, OpenCLDriver
from oclgrind import broken
from oclgrind.graphs import GROUPS

STYLES = {"processor": replace(PROCESSOR, blas=frozenset()), "accelerator": ACCELERATOR, "library": PROCESSOR}
HINT = "__has_builtin(__builtin_prefetch)"  # Oclgrind cannot run it

# Oclgrind 21.10 takes a buffer to be as long as what the host first writes or copies to it, and all behind that for
# unwritten. So the host writes whole buffers, and parts of them are written by kernels.
BYTES = """
KERNEL hetero_zero(GLOBAL u8 *x, const INDEX from) { x[from + GLOBAL_ID(0)] = 0; }
KERNEL hetero_bytes(GLOBAL const u8 *x, GLOBAL u8 *to, const INDEX from, const INDEX at)
{
    to[at + GLOBAL_ID(0)] = x[from + GLOBAL_ID(0)];
}
"""


def exact(style: Style) -> None:
    """Memory without reserve, so that the first byte too far is an error."""
    overhang = memory.OVERHANG if style.vector_bytes else 0

    plain, kept = OpenCLDriver.kernel, list[Any]()  # nothing is handed out twice, not even an address

    def size_class(nbytes: int) -> int:
        return max(nbytes + overhang, 1)

    def apart(sizes: Mapping[int, int], lives: Any) -> tuple[dict[int, int], list[int]]:
        return {number: slot for slot, number in enumerate(sizes)}, list(sizes.values())

    def allocate(self: OpenCLDriver, nbytes: int) -> Any:
        made = self.cl.Buffer(self.context, self.cl.mem_flags.READ_WRITE, nbytes)
        if overhang:
            by_kernel(self, "hetero_zero", overhang, made, np.int32(nbytes - overhang))
        return made

    def by_kernel(self: OpenCLDriver, name: str, items: int, *given: Any) -> None:
        bound = plain(self, hk.prelude({}) + BYTES, name, (items,), (1,))
        for position, value in enumerate(given):
            bound.bind(position, value)
        bound.launch()

    def copy(self: OpenCLDriver, to: Any, source: Any, nbytes: int, source_byte: int = 0, to_byte: int = 0) -> None:
        by_kernel(self, "hetero_bytes", nbytes, source, to, np.int32(source_byte), np.int32(to_byte))

    def write(self: OpenCLDriver, mem: Any, array: Array) -> None:
        whole = np.zeros(mem.size, np.uint8)
        whole[: array.nbytes] = array.reshape(-1).view(np.uint8)
        self.cl.enqueue_copy(self.queue, mem, whole)

    memory.size_class = executable.size_class = size_class
    executable.share = apart
    OpenCLDriver.allocate, OpenCLDriver.write, OpenCLDriver.copy = allocate, write, copy  # type: ignore[method-assign]
    memory.Pool.give = lambda self, mem, size: kept.append(mem)  # type: ignore[method-assign]


def recorded(kernels: dict[str, int], forms: set[str]) -> None:
    """Counts launches by kernel from now on."""
    before = OpenCLDriver.kernel

    def kernel(self: OpenCLDriver, text: str, name: str, size: Any, group: Any) -> Bound:
        bound = before(self, text.replace(HINT, "0"), name, size, group)
        forms.add(form(text, name))

        def launch() -> None:
            kernels[name] = kernels.get(name, 0) + 1
            bound.launch()

        return Bound(bound.bind, launch)

    OpenCLDriver.kernel = kernel  # type: ignore[method-assign]


def form(text: str, name: str) -> str:
    """Which of the forms that `generate.py` and `spiking.py` write, by the parameters of the kernel."""
    parameters = text[text.rindex(f"KERNEL {name}(") :].split("{")[0]
    if name == "hetero_region":
        loops = re.search(r"for \(INDEX block", text[text.rindex("KERNEL ") :])
        return "flat" if "INDEX count" in parameters else "rows" if loops else "broadcast"
    return re.sub(r"\d+$", "", name.removeprefix("hetero_"))


def main(group: str, style: str, to: str) -> None:
    kernels: dict[str, int] = {}
    forms: set[str] = set()
    exact(STYLES[style])
    recorded(kernels, forms)
    backend = OpenCLBackend(STYLES[style])
    registry._added["opencl"] = backend
    registry.probe.cache_clear()
    device = registry.find("opencl")
    assert "oclgrind" in device.description.lower(), device.description
    graphs = 0
    if group in broken.KERNELS:
        broken.launch(backend.runtime(device), group)
    else:
        for graph, arrays in GROUPS[group](backend, device):
            # Oclgrind 21.10 picks wrong lanes in some vectors of integers; what PoCL computes is compared elsewhere.
            check = run_graph if (group, style) == ("elementwise", "processor") else assert_agrees
            check(graph, arrays, device)
            graphs += 1
    backend.synchronize(device)
    told = {"kernels": sorted(kernels), "forms": sorted(forms), "launches": sum(kernels.values()), "graphs": graphs}
    Path(to).write_text(json.dumps(told), "utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
