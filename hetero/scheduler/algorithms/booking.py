"""The same tasks in the same order, with transfers booked at other moments: a link then takes them in another order."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from hetero.scheduler.algorithms.lists import Assigned
from hetero.scheduler.flat import Flat
from hetero.scheduler.taskgraph import Floats, Ints


def booked(flat: Flat, device: Ints, task_s: Floats, tensor: Ints, to: Ints, send_s: Floats) -> Assigned:
    """An order with sends in it: tasks by `task_s`, which keeps precedence, sends by `send_s` after their producer."""
    send_s = np.maximum(send_s, task_s[flat.producer[tensor]])
    number = np.concatenate([np.arange(flat.n), flat.n + tensor * flat.count + to])
    when = np.concatenate([task_s, send_s])
    level = np.concatenate([2 * flat.level, 2 * flat.level[flat.producer[tensor]] + 1])
    return Assigned(device, number[np.lexsort((number, level, when))])


def pushed(flat: Flat, made: Assigned, start_s: Floats, finish_s: Floats) -> Iterator[tuple[str, Assigned]]:
    """Variants of a schedule: each tensor is sent once it is made, to all at once, or when its producer starts."""
    place = np.unique(flat.reader_places(made.device)) if len(flat.consumer) else np.zeros(0, np.int64)
    tensor, to = place // flat.count, place % flat.count
    away = made.device[flat.producer[tensor]] != to
    tensor, to = tensor[away], to[away]
    if not len(tensor):
        return
    producer = flat.producer[tensor]
    for name, moment in (("sent when made", finish_s[producer]), ("sent by turns", start_s[producer])):
        yield name, booked(flat, made.device, start_s, tensor, to, moment)
