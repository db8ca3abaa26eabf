"""Measuring the machine at hand: a profile of each of its devices, and how far that profile's predictions are off.

Not called `hetero.calibrate`: that is the function.
"""

from hetero.calibration.networks import Network, judge_apart, judge_networks
from hetero.calibration.run import Calibration, Error, calibrate, measure_device, profile_name
from hetero.calibration.save import save

__all__ = [
    "Calibration",
    "Error",
    "Network",
    "calibrate",
    "judge_apart",
    "judge_networks",
    "measure_device",
    "profile_name",
    "save",
]
