"""Every kernel under Oclgrind: no access outside of what it may touch, no race, in both styles; faults are found.

`nox -s oclgrind`, which CI runs, asks for it; elsewhere it runs where Oclgrind is installed and HETERO_OCLGRIND=1.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import hetero_kernels as hk
from oclgrind.broken import KERNELS
from oclgrind.graphs import GROUPS
from oclgrind.watch import Watched, findings, installed, watch

REQUIRED = os.environ.get("HETERO_REQUIRE_OCLGRIND") == "1"
JOBS = [(g, s) for g in GROUPS for s in ("processor", "accelerator")] + [
    (g, "library") for g in ("windows", "products")
]
FORMS = {"flat", "together", "broadcast", "rows", "spiking"}  # of generated kernels
FAULTS = {
    "past-the-end": "Invalid write of size 4",
    "race": "data race at local memory",
    "unwritten": "depends on uninitialized value",
}
if not REQUIRED and not (installed() and os.environ.get("HETERO_OCLGRIND") == "1"):
    pytest.skip("runs in `nox -s oclgrind` (apt-get install oclgrind)", allow_module_level=True)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[tuple[str, str], Watched | BaseException]]:
    """Each group in each style, a process each, as many at once as there are processors."""
    assert installed(), "oclgrind is not here: apt-get install oclgrind"
    folder = tmp_path_factory.mktemp("oclgrind")

    def run(job: tuple[str, str]) -> Watched | BaseException:
        try:
            return watch(*job, folder)
        except (AssertionError, OSError) as e:
            return e

    every = [*JOBS, *((k, "accelerator") for k in KERNELS)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        yield dict(zip(every, pool.map(run, every), strict=True))


def ended(found: Watched | BaseException) -> Watched:
    if isinstance(found, BaseException):
        raise found
    return found


@pytest.mark.parametrize("job", JOBS, ids="-".join)
def test_nothing_is_found(runs: dict[tuple[str, str], Watched | BaseException], job: tuple[str, str]) -> None:
    found = ended(runs[job])
    assert found.launches > 0
    assert found.findings == {}


def test_every_kernel_and_every_form_was_launched(runs: dict[tuple[str, str], Watched | BaseException]) -> None:
    launched = [ended(runs[job]) for job in JOBS]
    assert {f"hetero_{n}" for n in hk.names()} - _parts() <= set().union(*(w.kernels for w in launched))
    assert set().union(*(w.forms for w in launched)) >= FORMS


def _parts() -> set[str]:
    """Files of kernels that are no kernels but functions of the generated ones."""
    return {
        f"hetero_{n}" for n in hk.names() if "KERNEL hetero_" not in (Path(hk.__file__).parent / f"{n}.ker").read_text()
    }


@pytest.mark.parametrize("kind", sorted(FAULTS))
def test_a_fault_is_found(runs: dict[tuple[str, str], Watched | BaseException], kind: str) -> None:
    """Otherwise the silence above would mean nothing."""
    assert any(FAULTS[kind] in text for text in ended(runs[kind, "accelerator"]).findings)


def test_whatever_the_log_holds_counts() -> None:
    assert findings("\n\n") == {}
    assert findings("Invalid read at 0x12\n\nInvalid read at 0x345\n\nsomething new\n") == {
        "Invalid read at 0x": 2,
        "something new": 1,
    }
