"""Brian2, C++ standalone, one thread: 10,000 inputs to 10,000 neurons by random synapses. Arguments: in.npz, out.json.

Compiled with -O3 -march=native -ffast-math. The time is that of the run that Brian2 itself reports, without the build.
"""

import json
import sys
import tempfile

import brian2 as b
import numpy as np


def main() -> None:
    given = np.load(sys.argv[1])
    b.prefs.codegen.cpp.extra_compile_args_gcc = ["-O3", "-march=native", "-ffast-math", "-w"]
    b.set_device("cpp_standalone", build_on_run=False)
    b.defaultclock.dt = 1 * b.ms
    inputs = b.SpikeGeneratorGroup(int(given["sources"]), given["index"], given["step"] * b.ms)
    neurons = b.NeuronGroup(
        int(given["targets"]), "dv/dt = -v / (10*ms) : 1", threshold="v > 1", reset="v = 0", method="euler"
    )
    synapses = b.Synapses(inputs, neurons, "w : 1", on_pre="v += w")
    synapses.connect(i=given["source"], j=given["target"])
    synapses.w = given["weight"]
    counted = b.SpikeMonitor(neurons, record=False)
    b.run(int(given["steps"]) * b.ms)
    b.device.build(directory=tempfile.mkdtemp(), run=True, with_output=False)
    seconds = b.device._last_run_time
    json.dump({"seconds": seconds, "spikes": int(counted.num_spikes), "version": b.__version__}, open(sys.argv[2], "w"))


main()
