"""Whole networks, predicted as the sum of their groups and measured: what no case of a calibration was taken from."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path

from hetero.calibration.measure import Bench, Effort, Progress
from hetero.calibration.run import Error, error
from hetero.errors import ModelError
from hetero.graph.ir import Graph
from hetero.profile.profile import Profile
from hetero.profile.quantity import Interval
from hetero.scheduler.cost import estimate, work_of
from hetero.select import device_of
from hetero.spi import Device

EFFORT = Effort(rounds=3, budget_s=0.3, least=2, most=20)


@dataclass(frozen=True, slots=True)
class Network:
    """One network: what the profile says that it takes, and what it took."""

    name: str
    predicted: Interval
    seconds: float

    @property
    def off(self) -> float:
        """Relative, above zero where the prediction is too slow."""
        return self.predicted.mid / self.seconds - 1


def judge_networks(
    profile: Profile,
    device: str | Device | None = None,
    networks: Sequence[tuple[str, Graph]] | None = None,
    progress: Progress | None = None,
) -> tuple[tuple[Network, ...], Error]:
    """Every network of `networks` (default: those installed here), and the error over all."""
    bench = Bench(device_of(device))
    chosen = list(installed()) if networks is None else list(networks)
    if not chosen:
        raise ModelError("no network to judge by is installed", hint="pip install 'hetero[demo]'")
    timed = bench.measure([g for _, g in chosen], EFFORT, progress)
    made = tuple(Network(name, predicted(t.graph, profile), t.best) for (name, _), t in zip(chosen, timed, strict=True))
    return made, error("networks", [n.off for n in made])


def judge_apart(
    profile: Profile, device: Device, names: Collection[str] | None = None
) -> tuple[tuple[Network, ...], Error]:
    """`judge_networks` on what is installed (or `names` of it), in a process of its own, as a person would run it.

    One that has just timed a thousand cases has gigabytes of memory in pieces: networks take a third longer there.
    """
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_judge_named, profile, device.name, names).result()


def _judge_named(profile: Profile, device: str, names: Collection[str] | None) -> tuple[tuple[Network, ...], Error]:
    return judge_networks(profile, device, list(installed(names)))


def predicted(graph: Graph, profile: Profile) -> Interval:
    """The sum over the nodes of a graph as it runs, lowered and fused."""
    total = Interval(0.0, 0.0, 0.0)
    for node in graph.nodes:
        total = total + estimate(work_of(graph, node), profile).seconds
    return total


def installed(names: Collection[str] | None = None) -> Iterator[tuple[str, Graph]]:
    """The nine light networks that the package onnx brings, and magika's, or `names` of them; batch 1."""
    from hetero.convert.onnx_in import from_onnx  # late: it needs the extra `onnx`

    for path in _paths():
        name = path.stem.removeprefix("light_") if path.stem != "model" else "magika"
        if names is not None and name not in names:
            continue
        graph = from_onnx(path)
        yield name, graph.specialize(dict.fromkeys(graph.symbols, 1)) if graph.symbols else graph


def _paths() -> Iterator[Path]:
    places = (("onnx", "backend/test/data/light/*.onnx"), ("magika", "models/standard_v3_3/model.onnx"))
    for package, pattern in places:
        spec = find_spec(package)
        if spec is not None and spec.origin is not None:
            yield from sorted(Path(spec.origin).parent.glob(pattern))


__all__ = ["Network", "installed", "judge_apart", "judge_networks", "predicted"]
