"""Which candidate runs: found by timed runs that were asked for anyway, never on values made up for it.

The first runs go to the likeliest candidate. Others are tried as long as what trials took beyond the leader's time is a
share of the time of all runs: no graph is slowed by more than that and one trial; `tune` tries them all at once. Then
the quickest runs. What came near is tried again after twice as many runs, and again after twice as many, so that what
else ran on the machine at first does not decide for ever. A device that fails is out, with its reason, and the next one
runs.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING

from hetero import counters
from hetero.errors import BackendError, DeviceError, HeteroError
from hetero.graph.build import Builder
from hetero.graph.ir import Graph
from hetero.op import Array
from hetero.spi import Buffer

if TYPE_CHECKING:
    from hetero.auto.kept import Kept

TRIALS = 4  # timed runs of each candidate; the first one warms caches up
MOST = 10  # runs of one that stays close to the best
CLOSE = 1.25  # times the best: worth more runs, since machines are noisy
AGAIN = 2.0  # times the best: what took longer is given up, the rest is tried again later
HOPELESS = 4.0  # times the best: given up after its second run
SHARE = 0.25  # of the time of all runs may go to trials
LATER = 64  # runs after which what came near, as another process measured it, is tried again
HOST = "numpy:0"  # the reference: what it refuses is the input's fault

_log = logging.getLogger("hetero")
tuning: ContextVar[list[Auto] | None] = ContextVar("hetero_tuning", default=None)  # who was called, while it is on


@dataclass(slots=True, eq=False)
class Candidate:
    """One way to run the graph: on a device, or split over several."""

    name: str
    make: Callable[[], Callable[..., tuple[Array, ...]]]
    run: Callable[..., tuple[Array, ...]] | None = None  # made when first tried
    seconds: list[float] = field(default_factory=list[float])
    refused: str = ""  # why it is out
    given_up: bool = False  # too slow to be tried again

    @property
    def best(self) -> float:
        return min(self.seconds[1:], default=float("inf"))  # the first run warms up

    def open(self, best: float, settled: int) -> bool:
        """Whether it is still to be tried, when the best takes `best` seconds and was settled on so many times."""
        most = settled + (MOST if self.best <= best * CLOSE else TRIALS)
        return not self.refused and not self.given_up and len(self.seconds) < most


class Auto:
    """A graph that finds the best of its candidates while it is used."""

    def __init__(self, graph: Graph, candidates: Sequence[Candidate], kept: Kept | None = None) -> None:
        self.graph = Builder(graph.name).build({})  # what ran is counted by the device that ran it
        self.peak_bytes = graph.peak_bytes
        self.candidates = list(candidates)
        self.chosen: Candidate | None = None
        self.name, self._kept = graph.name, kept
        self._lock = Lock()
        self._runs, self._settled = 0, 0
        self._next = float("inf")  # the run at which what came near is tried again
        self._spent, self._extra = 0.0, 0.0  # seconds of all runs, and of trials beyond what the leader takes
        self._timed = 0  # runs that are in `_spent`; the others were the chosen one's, and are not timed
        self._remember()

    def _remember(self) -> None:
        """What another process measured, as if it had been measured here."""
        seconds = self._kept.read([c.name for c in self.candidates]) if self._kept else {}
        if not seconds:
            return
        for c in self.candidates:
            c.given_up = c.name not in seconds or seconds[c.name] > AGAIN * min(seconds.values())
            c.seconds = [seconds[c.name]] * TRIALS if c.name in seconds else []
        self.chosen = min((c for c in self.candidates if c.name in seconds), key=lambda c: c.best)
        self._settled = 1
        self._next = LATER if sum(not c.given_up for c in self.candidates) > 1 else float("inf")

    def __call__(self, *inputs: Buffer) -> tuple[Buffer, ...]:
        chosen, called = self.chosen, tuning.get()
        self._runs += 1
        if called is not None:
            called.append(self)
        elif chosen is not None and chosen.run is not None and self._runs < self._next:
            try:
                return chosen.run(*inputs)
            except Exception as e:  # device libraries fail in every way there is; the reason is kept and told
                self._arbitrate(chosen, inputs, e)
        with self._lock:  # one trial at a time, so that they do not disturb each other
            return self._try(inputs, called is not None)

    def settled(self) -> bool:
        """Whether every candidate was tried as often as is worth it, by this process or by another."""
        return self.chosen is not None

    def forget(self) -> None:
        """Measure anew."""
        for c in self.candidates:
            c.seconds, c.given_up = [], False
        self.chosen, self._settled, self._next = None, 0, float("inf")

    def _try(self, inputs: Sequence[Buffer], at_once: bool) -> tuple[Buffer, ...]:
        """A run of the candidate whose turn it is; the next one where it refuses."""
        while True:
            candidate = self._turn(at_once)
            try:
                begun = time.perf_counter()
                candidate.run = candidate.run or candidate.make()
                start = time.perf_counter()
                outs = candidate.run(*inputs)
            except Exception as e:  # as above
                self._arbitrate(candidate, inputs, e)
                continue
            self._note(candidate, start - begun, time.perf_counter() - start)
            return outs

    def _turn(self, at_once: bool) -> Candidate:
        """The one that was tried least, if trials may go on; else the leader."""
        usable = [c for c in self.candidates if not c.refused]
        if not usable:
            reasons = "; ".join(f"{c.name}: {c.refused}" for c in self.candidates)
            raise BackendError(f"no device here runs {self.name}: {reasons}")
        leader = min(usable, key=lambda c: (c.best, not c.seconds, self.candidates.index(c)))
        if self.chosen is not None and self._runs < self._next:
            return self.chosen if not self.chosen.refused else leader
        if leader.best == float("inf"):
            return leader  # nothing to compare with
        if self._runs - 1 > self._timed:
            self._spent += (self._runs - 1 - self._timed) * leader.best
            self._timed = self._runs - 1
        waiting = [c for c in usable if c is not leader and c.open(leader.best, self._settled)]
        if not waiting and len(leader.seconds) >= TRIALS:
            return self._settle(usable)
        if not waiting or (self._extra > SHARE * self._spent and not at_once):
            return leader
        return min(waiting, key=lambda c: len(c.seconds))

    def _note(self, candidate: Candidate, making: float, seconds: float) -> None:
        """One run more. What it took beyond the leader's best is the price of trying."""
        leader = min((c.best for c in self.candidates if c is not candidate and not c.refused), default=float("inf"))
        candidate.seconds.append(seconds)
        self._spent += making + seconds
        self._timed = self._runs
        if leader != float("inf"):
            self._extra += making + max(0.0, seconds - leader)
        if len(candidate.seconds) > 1 and candidate.best > HOPELESS * leader:
            candidate.run, candidate.given_up = None, True  # frees its memory

    def _arbitrate(self, candidate: Candidate, inputs: Sequence[Buffer], error: Exception) -> None:
        """A candidate failed: it is out, unless the host fails as well and the input is at fault."""
        if candidate.name == HOST:
            raise error
        host = next((c for c in self.candidates if c.name == HOST and not c.refused), None)
        if host is not None and isinstance(error, HeteroError) and not isinstance(error, DeviceError | BackendError):
            (host.run or host.make())(*inputs)  # raises what the person should see
        candidate.refused = error.problem if isinstance(error, HeteroError) else f"{type(error).__name__}: {error}"
        candidate.run = None
        if candidate is self.chosen:
            counters.count_event(f"auto lost {candidate.name}")
            _log.warning("%s: %s failed and is out: %s", self.name, candidate.name, candidate.refused)
            self.chosen = None

    def _settle(self, usable: Sequence[Candidate]) -> Candidate:
        before, self.chosen = self.chosen, min(usable, key=lambda c: c.best)
        for c in usable:
            if c.best > AGAIN * self.chosen.best:
                c.run, c.given_up = None, True  # frees its memory
        alone = sum(not c.given_up for c in usable) < 2
        self._settled += 1
        self._next = float("inf") if alone else 2 * self._runs
        if self._kept is not None:
            self._kept.write({c.name: c.best for c in usable if c.best != float("inf")})
        if self.chosen is not before:
            counters.count_event(f"auto chose {self.chosen.name}")
            _log.info("%s", self.summary())
        return self.chosen

    def summary(self) -> str:
        """One line: what was chosen, and the measured time of each candidate."""
        each = ", ".join(f"{c.name} {c.refused or f'{c.best * 1e3:.3g} ms'}" for c in self.candidates)
        return f"{self.name}: auto chose {self.chosen.name if self.chosen else 'nothing yet'} (measured: {each})"
