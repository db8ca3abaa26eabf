"""From a Profile to TOML that `read` gives back equal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path

from hetero.errors import ProfileError
from hetero.files import write_whole
from hetero.profile.fields import EFFICIENCY, EXTRA, MAIN, SPIKING
from hetero.profile.profile import Profile
from hetero.profile.quantity import Quantity
from hetero.profile.read import read_text


def write(profile: Profile, path: Path | str) -> None:
    """Write the profile to a file, whole or not at all. A profile that could not be read back is refused."""
    text = to_text(profile)
    if read_text(text, str(path)) != profile:
        raise ProfileError(f"profile {profile.name} does not survive writing: its units are not the base units")
    target = Path(path)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        write_whole(target, text)
    except OSError as e:
        raise ProfileError(f"cannot write profile {target}: {e.strerror or e}") from e


def to_text(profile: Profile) -> str:
    """The profile as TOML, values in base units."""
    return "\n".join(_lines(profile)) + "\n"


def _lines(p: Profile) -> Iterator[str]:
    for key in ("name", "title", "kind"):
        yield f"{key} = {_text(getattr(p, key))}"
    yield f"year = {p.year}"
    yield f"dtypes = {_list(p.dtypes)}"
    if p.remarks:
        yield f"remarks = {_text(p.remarks)}"
    yield from _unknown(p)
    yield from _pairs(p, [*MAIN, *EXTRA])
    yield from ("", "[ops]", f"run = {_text('all') if p.support.run is None else _list(p.support.run)}")
    if p.support.refuse:
        yield f"refuse = {_list(p.support.refuse)}"
    for key in ("peak_op_per_s", "joule_per_op", "limits"):
        table: Mapping[str, Quantity] = getattr(p, key)
        if table or key == "peak_op_per_s":
            yield from ("", f"[{key}]", *(f"{name} = {_quantity(q)}" for name, q in table.items()))
    if p.spiking is not None:
        yield from ("", "[spiking]", *_pairs(p.spiking, list(SPIKING)))
    for row in p.efficiency:
        yield from ("", "[[efficiency]]", f"op_class = {_text(row.op_class)}", f"dtype = {_text(row.dtype)}")
        if row.size is not None:
            yield f"size = [{row.size[0]}, {row.size[1]}]"
        yield from _pairs(row, list(EFFICIENCY))
    yield from ("", "[sources]")
    for key, source in p.sources.items():
        url = f", url = {_text(source.url)}" if source.url else ""
        yield f"{_text(key)} = {{ title = {_text(source.title)}{url} }}"


def _unknown(p: Profile) -> Iterator[str]:
    missing = [key for key in MAIN if getattr(p, key) is None]
    if missing:
        yield f"unknown = {_list(missing)}"


def _pairs(holder: object, keys: list[str]) -> Iterator[str]:
    for key in keys:
        q: Quantity | None = getattr(holder, key)
        if q is not None:
            yield f"{key} = {_quantity(q)}"


def _quantity(q: Quantity) -> str:
    parts: list[str] = []
    for f in fields(q):
        value: str | float = getattr(q, f.name)
        if isinstance(value, str):
            text = _text(value) if value else ""
        else:
            text = str(int(value)) if f.name == "year" else repr(float(value))  # a NumPy scalar writes itself otherwise
        if text:
            parts.append(f"{f.name} = {text}")
    return "{ " + ", ".join(parts) + " }"


def _list(texts: list[str] | tuple[str, ...]) -> str:
    return "[" + ", ".join(_text(t) for t in texts) + "]"


_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}


def _text(text: str) -> str:
    """A TOML basic string."""
    return '"' + "".join(_ESCAPES.get(c) or (c if " " <= c != "\x7f" else f"\\u{ord(c):04x}") for c in text) + '"'
