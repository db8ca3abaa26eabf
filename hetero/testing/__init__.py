"""The conformance kit: what every backend, ours or a third party's, is tested by.

`pytest --pyargs hetero.testing --hetero-backend=NAME` runs the suite on an installed backend.
"""

from hetero.testing.agree import RTOL, assert_agrees, assert_close, run_graph
from hetero.testing.graphs import random_graph
from hetero.testing.pretend import DoNothingBackend, SmallMemoryBackend, plugged

__all__ = [
    "RTOL",
    "DoNothingBackend",
    "SmallMemoryBackend",
    "assert_agrees",
    "assert_close",
    "plugged",
    "random_graph",
    "run_graph",
]
