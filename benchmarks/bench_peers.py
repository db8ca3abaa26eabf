"""Every row of `benchmarks.performance`, kept by asv; a row whose peer is not installed is left out."""

from __future__ import annotations

from benchmarks.peers_rows import ROWS
from benchmarks.performance import measured
from benchmarks.ratio import at_most

TURNS = 3  # the table for docs/performance.md takes more
NAMES = {f"{r.what}, {r.device}, against {r.peer}": r for r in ROWS}


class Peers:
    """Times the peer's speed."""

    params = (list(NAMES),)
    param_names = ("row",)
    timeout = 300.0  # seconds

    def setup(self, name: str) -> None:
        self.found = measured(NAMES[name], at_most(TURNS))
        if self.found.missing:
            raise NotImplementedError(self.found.missing)  # asv's word for: skip, and only here

    def track_times_the_peer(self, name: str) -> float:
        return self.found.times

    track_times_the_peer.unit = "x"  # pyright: ignore[reportFunctionMemberAccess]
