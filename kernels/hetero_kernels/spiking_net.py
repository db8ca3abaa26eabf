"""A spiking network as its kernels are written from: plain data."""

from __future__ import annotations

from dataclasses import dataclass

from hetero_kernels.region import Region


@dataclass(frozen=True, slots=True)
class Read:
    """A value that a stage reads: of this step, or of `late` steps before; `each`: of other steps for each element."""

    value: int
    late: int
    each: bool = False


@dataclass(frozen=True, slots=True)
class Synapses:
    """All weights from one value to a stage. `weight` is how they are stored.

    dense: (sources, targets). sparse: the targets and weights of each source in each slice, between two `rows`. With
    delays of up to `depth` steps, a target's number counts on by batch * size for each step; what one step brings is
    shifted right by `shift` before it is added to what is on its way.
    """

    source: Read
    sources: int  # elements of the source
    weight: str
    index: str = ""  # how sparse targets are stored; "": dense
    depth: int = 0
    shift: int = 0


@dataclass(frozen=True, slots=True)
class Stage:
    """`region` takes the sums of the synapses, then `direct` values, then states, then parameters; it gives the
    stage's output, then the states anew. `shown` lists (result of the region, y of the loop), `lines` (synapses, y):
    all that is on its way by them, or for -1 the stage's own last `depth` outputs."""

    size: int
    synapses: tuple[Synapses, ...]
    direct: tuple[Read, ...]
    states: int
    region: Region
    shown: tuple[tuple[int, int], ...]
    depth: int = 1
    lines: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Net:
    """`inputs` are sizes of one step of a sample. `number` is how values are stored: f32, f64 or i32."""

    inputs: tuple[int, ...]
    stages: tuple[Stage, ...]
    number: str
    ys: int


def first_state(stage: Stage) -> int:
    return len(stage.synapses) + len(stage.direct)


def first_parameter(stage: Stage) -> int:
    return first_state(stage) + stage.states
