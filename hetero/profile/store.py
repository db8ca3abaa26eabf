"""Where profiles, links and topologies are found: an explicit path, the user's own folder, then those we ship."""

from __future__ import annotations

import difflib
import os
from importlib import resources
from pathlib import Path

from hetero.errors import ProfileError
from hetero.profile.profile import Profile
from hetero.profile.read import read


def user_dir(what: str = "profiles") -> Path:
    """Where `hetero calibrate` writes: HETERO_PROFILE_DIR (for profiles), else a folder in the cache folder."""
    from hetero import config

    told = os.environ.get("HETERO_PROFILE_DIR", "").strip() if what == "profiles" else ""
    return Path(told) if told else config.cache_dir() / what


def shipped_dir(what: str = "profiles") -> Path:
    return Path(str(resources.files("hetero.profile"))) / "data" / what


def names(what: str = "profiles") -> list[str]:
    """The names that `find` knows, sorted."""
    found: set[str] = set()
    for folder in (user_dir(what), shipped_dir(what)):
        try:
            found |= {f.stem for f in folder.iterdir() if f.suffix == ".toml"}
        except OSError:
            continue  # the user has no such folder
    return sorted(found)


def find(name_or_path: str | Path, what: str = "profiles") -> Path:
    """The file of that name or path."""
    text = str(name_or_path)
    if isinstance(name_or_path, Path) or text.endswith(".toml") or "/" in text or os.sep in text:
        return Path(name_or_path)
    for folder in (user_dir(what), shipped_dir(what)):
        path = folder / f"{text}.toml"
        if path.is_file():
            return path
    near = difflib.get_close_matches(text, names(what), 3)
    singular = {"profiles": "profile", "links": "link", "topologies": "topology"}[what]
    raise ProfileError(
        f"no {singular} is called {text[:80]!r}",
        hint=f"{' or '.join(near)}" if near else f"one of {', '.join(names(what))}, or the path of a .toml file",
    )


def profiles() -> list[str]:
    """The names that `load` takes: shipped profiles, and those that were calibrated on this machine."""
    return names("profiles")


def load(name_or_path: str | Path) -> Profile:
    """The profile of that name, or in that file. A calibrated one hides a shipped one of the same name."""
    return read(find(name_or_path))
