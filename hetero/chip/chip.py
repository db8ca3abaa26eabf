"""A virtual chip: cores on a mesh, their limits and neurons. Rates and energies are those of a device profile."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, Literal, cast

from hetero.errors import ProfileError
from hetero.profile.fields import LIMITS, Field
from hetero.profile.profile import Profile, Source, Spiking
from hetero.profile.quantity import Quantity
from hetero.profile.read import plain_name, read_sources
from hetero.profile.section import Report, Section, parse, parse_bytes, show_key
from hetero.profile.store import load
from hetero.spiking.layers import KINDS

# The order of the devices chip:0, chip:1, ...: a new chip goes to the end.
SHIPPED = ("loihi", "loihi2", "truenorth", "spinnaker2", "akida1", "akida2", "northpole")
NEURONS = (*(k.op for k in KINDS.values() if k.neuron), "threshold")
TERMS = ("static", "update", "spike", "hop")  # of energy, beside synaptic events
NUMBERS = ("integer", "any")
MEMORY = ("core", "outside")
SIDE = 512  # tiles of a mesh along one side, at most
MOST = 2**53  # of anything that is counted
MOST_BITS = 4096  # of anything that is counted in bits
WIDTHS = 64  # bits of a weight or an activation, at most

# What is checked of a mapping: each is given, by the chip or its profile, or named in `unknown`.
CHECKED = (
    "cores", "neurons_per_core", "axons_per_core", "output_axons_per_core", "synapses_per_core",
    "synapse_byte_per_core", "fan_in", "fan_out", "weight_bits", "max_delay_steps",
)  # fmt: skip
# Checked too where the chip has the neuron `quantized_relu`, in integers.
OF_ACTIVATIONS = ("activation_bits",)
OWN_LIMITS = LIMITS | {
    "synapse_bits": Field("1", positive=True),  # memory of one synapse, all of it
    "overhead_bits": Field("1"),  # memory of one synapse beside its weight
    "leak_bits": Field("1", positive=True),  # of a constant added in each tick, sign included
    "threshold_bits": Field("1", positive=True),
    "activation_bits": Field("1", positive=True),  # of what `quantized_relu` gives, and of inputs
    "input_bits": Field("1", positive=True),  # of inputs of a first convolution that is a layer of its own kind
    "input_weight_bits": Field("1", positive=True),  # of its weights
}
MESH = {"rows": Field("1", positive=True), "columns": Field("1", positive=True),
        "cores_per_tile": Field("1", positive=True)}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Chip:
    """One kind of chip. `own` are the limits that its profile does not state; `unknown` those nobody published.

    `splits_neurons`: the inputs of one neuron may lie on several cores. `shared_kernels`: a core keeps a convolution's
    kernel once. `scales_weights`: a power of two of a layer's weights is kept apart. `synapses_in` says whether
    synapses must fit the memory of the core, and `holds` which terms the energy of a synaptic event has in it already.
    `activation_widths` and `weight_widths` are the bits that there are; none: any up to the limit. `sums_out`: the sums
    of a last layer without neurons leave the chip.
    """

    name: str
    title: str
    profile: Profile
    neurons: tuple[str, ...]
    numbers: Literal["integer", "any"]
    scales_weights: bool
    splits_neurons: bool
    shared_kernels: bool
    synapses_in: Literal["core", "outside"]
    holds: tuple[str, ...]
    mesh: Mapping[str, Quantity] = field(hash=False)
    own: Mapping[str, Quantity] = field(hash=False)
    unknown: tuple[str, ...]
    sources: Mapping[str, Source] = field(hash=False)
    remarks: str = ""
    activation_widths: tuple[int, ...] = ()
    weight_widths: tuple[int, ...] = ()
    sums_out: bool = False

    @property
    def checked(self) -> tuple[str, ...]:
        """The limits that a network is checked against."""
        counts = self.numbers == "integer" and "quantized_relu" in self.neurons
        return (*CHECKED, *(OF_ACTIVATIONS if counts else ()))

    def quantity(self, limit: str) -> Quantity | None:
        """A limit with its source; None when nobody published it."""
        return self.own.get(limit) or self.profile.limits.get(limit)

    def limit(self, name: str) -> int | None:
        """A limit as a number of things."""
        q = self.quantity(name)
        return None if q is None else int(q.value)

    @property
    def memory_bits(self) -> int | None:
        """Bits for synapses in one core; None: not limited, or not known."""
        byte = self.quantity("synapse_byte_per_core") or self.quantity("local_byte")
        return None if byte is None or self.synapses_in == "outside" else int(byte.value * 8)

    @property
    def spiking(self) -> Spiking:
        return self.profile.spiking or Spiking()

    @property
    def shape(self) -> tuple[int, int, int]:
        """Rows and columns of tiles, and cores of a tile."""
        return int(self.mesh["rows"].value), int(self.mesh["columns"].value), int(self.mesh["cores_per_tile"].value)


def chips() -> list[str]:
    """The names that `load_chip` takes, in the order of the devices."""
    return list(SHIPPED)


def load_chip(name_or_path: str | Path) -> Chip:
    """The chip of that name, or in that file."""
    text = str(name_or_path)
    if isinstance(name_or_path, Path) or text.endswith(".toml") or "/" in text:
        return from_table(parse(Path(name_or_path), "chip"), text, Path(name_or_path).parent)
    if text not in SHIPPED:
        near = difflib.get_close_matches(text, SHIPPED, 3)
        raise ProfileError(
            f"no chip is called {text[:80]!r}",
            hint=" or ".join(near) if near else f"one of {', '.join(SHIPPED)}, or the path of a .toml file",
        )
    return from_table(parse(chip_dir() / f"{text}.toml", "chip"), text)


def chip_dir() -> Path:
    return Path(str(resources.files("hetero.chip"))) / "chips"


def read_chip_text(text: str, file: str = "text") -> Chip:
    """The chip in a TOML text."""
    return from_table(parse_bytes(text.encode("utf-8", "replace"), file, "chip"), file)


def from_table(table: dict[str, Any], file: str, folder: Path | None = None) -> Chip:
    """The chip that a parsed file describes, or a ProfileError with all that is wrong with it."""
    report = Report(file)
    top = Section(report, table)
    sources = read_sources(top)
    mesh = _quantities(top.section("mesh"), MESH, required=True)
    made = Chip(
        name=plain_name(top),
        title=top.take("title", str),
        profile=_profile(top, folder),
        neurons=top.names("neurons", NEURONS),
        numbers=cast("Any", top.name("numbers", NUMBERS)),
        scales_weights=top.take("scales_weights", bool),
        splits_neurons=top.take("splits_neurons", bool),
        shared_kernels=top.take("shared_kernels", bool),
        synapses_in=cast("Any", top.name("synapses_in", MEMORY)),
        holds=top.names("holds", TERMS),
        mesh=mesh,
        own=_quantities(top.section("limits", required=False), OWN_LIMITS),
        unknown=top.names("unknown", (*CHECKED, *OF_ACTIVATIONS), required=False),
        sources=sources,
        remarks=top.take("remarks", str, ""),
        activation_widths=_widths(top, "activation_widths"),
        weight_widths=_widths(top, "weight_widths"),
        sums_out=top.take("sums_out", bool, False),
    )
    _check_limits(top, made)
    _check_widths(top, made)
    _check_mesh(top, made)
    top.close()
    report.finish("chip", "docs/chips.md")
    return made


_NO_PROFILE = Profile("none", "", "system", 2000, (), {}, {})


def _profile(top: Section, folder: Path | None) -> Profile:
    """The profile that the chip names; one in a file lies beside the chip's."""
    name = top.take("profile", str)
    if not name:
        return _NO_PROFILE
    try:
        return load(folder / name if folder is not None and name.endswith(".toml") else name)
    except ProfileError as e:
        top.complain("profile", e.problem)
        return _NO_PROFILE


def _quantities(table: Section, fields: dict[str, Field], *, required: bool = False) -> dict[str, Quantity]:
    found = {name: table.quantity(name, f, required=required) for name, f in fields.items()}
    for name in table.values.keys() - fields.keys():
        table.complain(show_key(name), f"is not one of {', '.join(fields)}")
    return {name: q for name, q in found.items() if q is not None}


def _check_limits(top: Section, chip: Chip) -> None:
    """No number stands twice, none is left out by mistake, and counts are whole."""
    for key in chip.own:
        if key in chip.profile.limits:
            top.complain(f"limits.{key}", f"stands in profile {chip.profile.name} already; say it there only")
    if chip.profile is not _NO_PROFILE:
        for key in chip.checked:
            if key in chip.unknown and chip.quantity(key):
                top.complain("unknown", f"names {key}, which is given")
            if key not in chip.unknown and not chip.quantity(key):
                top.complain(f"limits.{key}", "is missing; list it in unknown if nobody published it")
    for key, q in {**chip.own, **chip.mesh}.items():
        most = MOST_BITS if key.endswith("_bits") else MOST
        if q.unit == "1" and (q.value > most or q.value != int(q.value)):
            top.complain(key, f"wants a whole number up to {most}, got {q.value:g}")


def _widths(top: Section, key: str) -> tuple[int, ...]:
    """Numbers of bits, from few to many."""
    found = top.take(key, list, required=False)
    good = tuple(w for w in found if type(w) is int and 1 <= w <= WIDTHS)
    if len(good) < len(found) or list(good) != sorted(set(good)):
        top.complain(key, f"wants whole numbers from 1 to {WIDTHS}, each once, from few to many")
        return ()
    return good


def _check_widths(top: Section, chip: Chip) -> None:
    """The widest is what the limit says."""
    for key, widths in (("activation_bits", chip.activation_widths), ("weight_bits", chip.weight_widths)):
        if widths and chip.profile is not _NO_PROFILE and chip.limit(key) != widths[-1]:
            top.complain(key.replace("bits", "widths"), f"ends with {widths[-1]}, and {key} is {chip.limit(key)}")


def _check_mesh(top: Section, chip: Chip) -> None:
    if set(chip.mesh) != set(MESH):
        return  # told already
    if max(q.value for q in chip.mesh.values()) > SIDE:
        top.complain("mesh", f"wants at most {SIDE} of each")
        return
    rows, columns, cores = chip.shape
    wanted = chip.limit("cores")
    if wanted is not None and rows * columns * cores < wanted:
        top.complain("mesh", f"has room for {rows * columns * cores} cores, fewer than the chip's {wanted}")
