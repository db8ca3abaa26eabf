"""What was measured of a graph, on disk: for the same form of graph, devices and versions, by any process."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from hetero.cache import Cache
from hetero.graph.ir import Graph
from hetero.spi import Device

VERSION = "1"  # of what is measured and how


@cache
def _store(folder: str) -> Cache:
    return Cache("auto")


class Kept:
    """The entry of one graph on these devices: candidate -> seconds."""

    def __init__(self, graph: Graph, devices: Sequence[Device]) -> None:
        here = [f"{d.name} {d.description}" for d in devices]
        self._key = (VERSION, str(os.cpu_count()), *here, graph.form)

    def read(self, names: Sequence[str]) -> dict[str, float]:
        """Seconds of those of `names` that were measured; nothing where the entry is not of that form."""
        data = self._cache().get(*self._key)
        if data is None:
            return {}
        try:
            found: Any = json.loads(data)
            seconds = {str(n): float(s) for n, s in found.items()}
        except (ValueError, TypeError, AttributeError):
            self._cache().damaged(*self._key)
            return {}
        return {n: s for n, s in seconds.items() if n in names and math.isfinite(s) and s > 0}

    def write(self, seconds: Mapping[str, float]) -> None:
        self._cache().put(json.dumps(dict(seconds)).encode(), *self._key)

    def _cache(self) -> Cache:
        return _store(os.environ.get("HETERO_CACHE_DIR", ""))  # tests, and whoever changes it, get another folder
