"""What a profile may say: its fields with their units, and the names it may use. Tables, read by the reader."""

from __future__ import annotations

from dataclasses import dataclass

KINDS = ("gpu", "cpu", "npu", "tpu", "soc", "mcu", "neuromorphic", "wafer", "system", "sensor")

# The dtypes of hetero, and number formats of hardware that hetero has no dtype for.
DTYPES = (
    "bool", "int2", "int4", "int8", "int16", "int32", "int64", "uint2", "uint4", "uint8", "uint16", "uint32", "uint64",
    "float16", "bfloat16", "float32", "float64", "complex64", "complex128", "float4_e2m1fn", "float8_e4m3fn",
    "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz", "float8_e8m0fnu",
)  # fmt: skip
FORMATS = ("tfloat32", "cfloat8", "cfloat16", "float6")


@dataclass(frozen=True, slots=True)
class Field:
    """A field that holds one quantity: its base unit, and whether nothing is a lie (a bandwidth of zero)."""

    unit: str
    positive: bool = False
    power: bool = False  # must say its scope


# One of these is either given or named in `unknown`, the list of what nobody published.
MAIN = {
    "memory_byte": Field("B", positive=True),
    "memory_byte_per_s": Field("B/s", positive=True),
    "launch_s": Field("s"),
    "static_w": Field("W", power=True),
    "active_w": Field("W", positive=True, power=True),
}
EXTRA = {"joule_per_byte": Field("J/B"), "convert_byte_per_s": Field("B/s", positive=True)}
PEAK = Field("op/s", positive=True)
JOULE_PER_OP = Field("J/op")
EFFICIENCY = {"compute": Field("1", positive=True), "memory": Field("1", positive=True), "launch_s": Field("s")}
SPIKING = {
    "joule_per_synaptic_event": Field("J"),
    "joule_per_neuron_update": Field("J"),
    "joule_per_idle_update": Field("J"),
    "joule_per_spike": Field("J"),
    "joule_per_hop": Field("J"),
    "second_per_synaptic_event": Field("s"),
    "second_per_neuron_update": Field("s"),
    "synaptic_event_per_s": Field("op/s", positive=True),
    "step_s": Field("s", positive=True),
    "max_neurons": Field("1", positive=True),
    "max_synapses": Field("1", positive=True),
}

# Hard limits: what a network must fit. Numbers without a unit count things.
LIMITS = {
    "sram_byte": Field("B", positive=True),  # on-chip memory that models must fit, or that weights are cached in
    "flash_byte": Field("B", positive=True),
    "local_byte": Field("B", positive=True),  # per core
    "synapse_byte_per_core": Field("B", positive=True),
    "chips": Field("1", positive=True),
    "cores": Field("1", positive=True),
    "batch": Field("1", positive=True),
    "neurons_per_core": Field("1", positive=True),
    "axons_per_core": Field("1", positive=True),  # input axons
    "output_axons_per_core": Field("1", positive=True),
    "synapses_per_core": Field("1", positive=True),
    "fan_in": Field("1", positive=True),  # inputs of one neuron
    "fan_out": Field("1", positive=True),  # axons that one neuron drives
    "axon_types": Field("1", positive=True),
    "weight_bits": Field("1", positive=True),
    "state_bits": Field("1", positive=True),
    "spike_bits": Field("1", positive=True),  # 1: binary spikes
    "max_delay_steps": Field("1"),
    "kernel_size": Field("1", positive=True),
    "stride": Field("1", positive=True),
    "filters": Field("1", positive=True),
    "input_width": Field("1", positive=True),
    "input_channels": Field("1", positive=True),
    "dense_inputs": Field("1", positive=True),
    "nodes": Field("1", positive=True),
}

LINK = {
    "byte_per_s": Field("B/s", positive=True),
    "latency_s": Field("s"),  # one way
    "joule_per_byte": Field("J/B"),  # both ends together
}
DUPLEX = ("full", "half", "simplex")
TIERS = ("central", "edge")
STATIC = ("always", "busy")
