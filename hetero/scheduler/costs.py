"""What a schedule costs whatever its order: sums over tasks and transfers, given the device of each task."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from hetero.scheduler.flat import Flat
from hetero.scheduler.taskgraph import Floats, Ints


class Costs(NamedTuple):
    """Sums are taken in the order of devices and routes, so that the compiled twin gives the same bits."""

    load_s: Floats  # (P,) seconds of the tasks of each device
    queue_s: Floats  # (Q,) seconds for which each link queue is occupied
    serial_s: float
    period_s: float
    dynamic_j: Floats  # (P,)
    transfer_j: float
    money: float


def costs(flat: Flat, device: Ints) -> Costs:
    """The sums for one assignment."""
    every, count = np.arange(flat.n), flat.count
    load = _by(device, flat.seconds[every, device], count)
    dynamic = _by(device, flat.joules[every, device], count)
    money = _by(device, flat.money[every, device], count)
    route, size = sent(flat, device)
    size_by_route = np.bincount(route, size, minlength=len(flat.has_route))
    number = np.bincount(route, minlength=len(flat.has_route))
    used = np.flatnonzero(number)
    sums = [in_order(load), 0.0, in_order(money)]  # seconds, joules, money
    link_byte = [0.0] * len(flat.link_queue)
    for r in used.tolist():
        links = flat.route_link[flat.route_start[r] : flat.route_start[r + 1]].tolist()
        for k in links:
            link_byte[k] += float(size_by_route[r])
            sums[0] += float(number[r]) * float(flat.link_latency_s[k])
    queue = [0.0] * flat.queues
    for k, carried in enumerate(link_byte):
        seconds = carried / float(flat.link_byte_per_s[k])
        sums[0] += seconds
        sums[1] += carried * float(flat.link_joule_per_byte[k])
        sums[2] += carried * float(flat.link_money_per_byte[k])
        if flat.link_queue[k] >= 0:
            queue[int(flat.link_queue[k])] += seconds
    period = max(float(load.max()), max(queue, default=0.0))
    return Costs(load, np.array(queue), sums[0], period, dynamic, sums[1], sums[2])


def _by(place: Ints, values: Floats, count: int) -> Floats:
    """(count,) the sum of the values at each place."""
    return np.asarray(np.bincount(place, values, minlength=count), np.float64)


def sent(flat: Flat, device: Ints) -> tuple[Ints, Floats]:
    """The number of the route, and the bytes, of each tensor and device that it is sent to."""
    if not len(flat.consumer):
        return np.zeros(0, np.int64), np.zeros(0)
    read = np.zeros(len(flat.producer) * flat.count, bool)
    read[flat.reader_places(device)] = True
    place = np.flatnonzero(read)
    tensor, to = place // flat.count, place % flat.count
    home = device[flat.producer[tensor]]
    away = home != to
    tensor, to, home = tensor[away], to[away], home[away]
    return (flat.tensor_zone[tensor] * flat.count + home) * flat.count + to, flat.tensor_byte[tensor]


def in_order(values: Floats) -> float:
    """The sum from left to right: `sum` and `np.sum` round differently from one Python and NumPy to the next."""
    total = 0.0
    for value in values.tolist():
        total += value
    return total
