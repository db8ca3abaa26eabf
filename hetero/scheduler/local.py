"""Plans over the devices of this machine."""

from __future__ import annotations

from collections.abc import Sequence

from hetero import registry
from hetero.compile import Program, Segment
from hetero.graph.ir import Graph
from hetero.profile.profile import Profile
from hetero.profile.quantity import Quantity, given
from hetero.profile.store import load, profiles
from hetero.profile.topology import Node, Topology, TopologyLink
from hetero.scheduler.parts import model_of, prepare
from hetero.scheduler.plan import Plan
from hetero.scheduler.planning import plan
from hetero.spi import Device

BUDGET_S = 0.1
COPY_LATENCY_S = 2e-5
FALLBACK_PROFILE = "server-cpu"  # for a device that was not calibrated


def local_topology(devices: Sequence[Device]) -> Topology:
    """A node for each device, named as it is, each linked to the host by a copy."""
    host = next(d for d in devices if d.host)
    nodes = tuple(Node(d.name, profile_of(d), "edge", device=d.name) for d in devices)
    links = tuple(
        TopologyLink(f"{host.name}-{d.name}", (host.name, d.name), *copy_cost(nodes[k].profile), shared=False)
        for k, d in enumerate(devices)
        if d != host
    )
    return Topology("local", nodes, links, title="the devices of this machine")


def profile_of(device: Device) -> Profile:
    """As `hetero calibrate` measured it here; else a server processor's, whose values are estimates."""
    name = f"{device.backend}-{device.index}"
    return load(name if name in profiles() else FALLBACK_PROFILE)


def copy_cost(profile: Profile) -> tuple[Quantity, Quantity]:
    """Bytes a second and latency of a copy between the host and a device: an estimate from its memory bandwidth."""
    rate = profile.memory_byte_per_s
    return given((rate.value if rate is not None else 1e10) / 2, "B/s", 0.5), given(COPY_LATENCY_S, "s", 0.5)


def local_plan(graph: Graph, devices: Sequence[Device]) -> Plan:
    """The least latency over the devices here, from the host and back to it."""
    host = next(d.name for d in devices if d.host)
    ports = {p.name: host for p in graph.inputs}, {p.name: host for p in graph.outputs}
    return plan(graph, local_topology(devices), inputs=ports[0], outputs=ports[1], budget_s=BUDGET_S)


def program_of(made: Plan) -> Program:
    """A plan whose nodes are all bound, as one program: its parts in order, with copies where they are needed."""
    model = model_of(made)
    segments = tuple(
        Segment(part.device, s.executable, part.takes, part.gives, s.ops)
        for part in prepare(made)
        for s in part.program.segments
    )
    return Program(model.lowered.graph, registry.find("numpy"), segments)
