"""How much memory a schedule needs on each device at its worst moment.

A task's resident bytes (weights) count for the whole schedule on the device that runs it. A tensor lives on its
producer's device from the start of the producer to the end of its last reader there and of its last send away; on a
device that it is sent to from the start of its arrival (last hop) to the end of its last reader there. What nobody
reads is a result and stays to the end. Devices that a tensor only passes through forward it without keeping it.
"""

from __future__ import annotations

import numpy as np

from hetero.scheduler.flat import Flat
from hetero.scheduler.solution import SendArrays
from hetero.scheduler.taskgraph import INF, Floats, Ints


def resident(flat: Flat, device: Ints) -> Floats:
    """(P,) bytes of weights on each device."""
    weights = np.bincount(device, flat.resident_byte[np.arange(flat.n), device], minlength=flat.count)
    return np.asarray(weights, np.float64)


def most_memory(flat: Flat, device: Ints) -> Floats:
    """(P,) an upper bound that needs no times: everything that is ever on a device, at once."""
    there = np.zeros(len(flat.producer) * flat.count, bool)
    there[flat.producer_places(device)] = True
    there[flat.reader_places(device)] = True
    place = np.flatnonzero(there)
    live = np.bincount(place % flat.count, flat.tensor_byte[place // flat.count], minlength=flat.count)
    return resident(flat, device) + live


def peak_memory(flat: Flat, device: Ints, start_s: Floats, finish_s: Floats, sends: SendArrays) -> Floats:
    """(P,) bytes at the worst moment of each device."""
    weights = resident(flat, device)
    if not len(flat.producer):
        return weights
    home = device[flat.producer]
    begin, end = np.full((2, len(home), flat.count), INF)
    end[:] = -INF
    tensors = np.arange(len(home))
    begin[tensors, home] = start_s[flat.producer]
    end[tensors, home] = np.where(np.diff(flat.consumer_start) == 0, INF, finish_s[flat.producer])
    _, reader, tensor = flat.edges
    np.maximum.at(end, (tensor, device[reader]), finish_s[reader])
    first = flat.link_source[sends.link] == home[sends.tensor]
    last = flat.link_target[sends.link] == sends.destination
    np.maximum.at(end, (sends.tensor[first], home[sends.tensor[first]]), sends.end_s[first])
    begin[sends.tensor[last], sends.destination[last]] = sends.start_s[last]
    return weights + np.array([_peak(begin[:, p], end[:, p], flat.tensor_byte) for p in range(flat.count)])


def _peak(begin: Floats, end: Floats, size: Floats) -> float:
    """The largest sum of sizes over time; what ends when another begins does not meet it."""
    here = np.flatnonzero(begin < INF)
    begin, end, size = begin[here], end[here], size[here]
    if not len(here):
        return 0.0
    by, by_end = np.argsort(begin, kind="stable"), np.argsort(end, kind="stable")
    gone = np.concatenate(([0.0], np.cumsum(size[by_end])))
    live = np.cumsum(size[by]) - gone[np.searchsorted(end[by_end], begin[by], "right")]
    return max(0.0, float(live.max()))
