"""Where each task runs: task graphs, the simulator that judges every schedule, the algorithms, and plans for graphs."""
