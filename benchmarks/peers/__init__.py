"""Programs of other simulators, each run by an interpreter of its own; see `benchmarks.bench_spiking`."""
