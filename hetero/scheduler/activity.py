"""How much the spiking networks of a plan spike: as a person says, a run measured, or the cost model assumes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hetero.profile.quantity import interval
from hetero.scheduler.cost_default import Activity
from hetero.scheduler.cost_work import Work
from hetero.scheduler.request import Request, Resolver

EVERY = "*"  # a hint for all spiking networks


def hints(activity: float | Mapping[str, float] | None) -> dict[str, float]:
    """A number is for every spiking network."""
    if activity is None:
        return {}
    return dict(activity) if isinstance(activity, Mapping) else {EVERY: float(activity)}


def activities(resolver: Resolver, request: Request, works: Sequence[Work | None]) -> dict[int, Activity]:
    """Task -> the activity of its network, where it is known; what is wrong goes to the resolver's problems."""
    spiking = {i for i, work in enumerate(works) if work is not None and work.spiking}
    found: dict[int, Activity] = {}
    for name, share in request.activity.items():
        if not 0 <= share <= 1:
            resolver.problems.append(f"activity of {name!r} is {share}: it is a share of the neurons, 0 to 1")
        named = set(resolver.tasks("activity", name))
        if name != EVERY and named and not named & spiking:
            resolver.problems.append(f"activity: {name!r} is no spiking network")
        found |= dict.fromkeys(named & spiking, Activity(interval(share), "given"))
    for name, share in request.measured.items():
        found |= dict.fromkeys(set(resolver.tasks("activity", name)) & spiking, Activity(interval(share), "measured"))
    return found
