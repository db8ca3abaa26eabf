"""Devices, links and topologies as data: every value with its unit, source, year, status and uncertainty."""

from hetero.profile.link import Link, links, load_link
from hetero.profile.profile import Efficiency, Profile, Source, Spiking, Support
from hetero.profile.quantity import Interval, Quantity, given, interval
from hetero.profile.read import read, read_text
from hetero.profile.read_topology import read_topology_text, topologies
from hetero.profile.store import load, profiles, user_dir
from hetero.profile.topology import Node, Topology, TopologyLink
from hetero.profile.write import to_text, write

__all__ = [
    "Efficiency",
    "Interval",
    "Link",
    "Node",
    "Profile",
    "Quantity",
    "Source",
    "Spiking",
    "Support",
    "Topology",
    "TopologyLink",
    "given",
    "interval",
    "links",
    "load",
    "load_link",
    "profiles",
    "read",
    "read_text",
    "read_topology_text",
    "to_text",
    "topologies",
    "user_dir",
    "write",
]
