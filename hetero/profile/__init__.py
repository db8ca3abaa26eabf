"""Devices, links and topologies as data: every value with its unit, source, year, status and uncertainty."""

from hetero.profile.profile import Efficiency, Profile, Source, Spiking, Support
from hetero.profile.quantity import Interval, Quantity, interval
from hetero.profile.read import read, read_text
from hetero.profile.store import load, profiles, user_dir
from hetero.profile.write import to_text, write

__all__ = [
    "Efficiency",
    "Interval",
    "Profile",
    "Quantity",
    "Source",
    "Spiking",
    "Support",
    "interval",
    "load",
    "profiles",
    "read",
    "read_text",
    "to_text",
    "user_dir",
    "write",
]
