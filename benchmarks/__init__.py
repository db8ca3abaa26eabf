"""asv benchmarks. Speed is told as a ratio to NumPy, or to a peer, measured in the same run, turn by turn."""
