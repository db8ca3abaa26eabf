"""Where a calibration is kept: the profile, and the copy between host and device as a link."""

from __future__ import annotations

from pathlib import Path

from hetero.calibration.run import Calibration
from hetero.profile.store import user_dir
from hetero.profile.write import write


def save(calibration: Calibration, path: Path | None = None) -> Path:
    """Write the profile, by default where `hetero.profile.load` finds it by name; gives the file."""
    target = path or user_dir() / f"{calibration.profile.name}.toml"
    write(calibration.profile, target)
    return target
