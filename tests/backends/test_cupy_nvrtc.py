"""Every kernel that the backend `cupy` asks for compiles with NVRTC, which needs no GPU and no driver.

The texts are those of the lowering itself (pretend_cuda/collect.py): hand-written kernels in every build-time form, and
fused ones over all ops of the templates. `nox -s nvrtc` compiles a sample of them for each architecture;
HETERO_NVRTC=one all for one, HETERO_NVRTC=full all for all.
"""

from __future__ import annotations

import os
import re
from concurrent.futures import ThreadPoolExecutor

import pytest

import hetero_kernels as hk
from hetero import registry
from hetero_cupy import CupyBackend
from hetero_kernels.templates import TEMPLATES
from hetero_kernels.text import ROUNDED
from pretend_cuda import nvrtc, pretended
from pretend_cuda.collect import collect, with_large_grids

ASKED = os.environ.get("HETERO_NVRTC", "")
ONE = "90"  # the architecture for which all are compiled, if one is asked for
SAMPLE = 25  # else one text of so many

if nvrtc.library() is None and os.environ.get("HETERO_REQUIRE_NVRTC", "") != "1":
    pytest.skip("no NVRTC (pip install nvidia-cuda-nvrtc-cu12)", allow_module_level=True)


@pytest.fixture(scope="module")
def texts() -> list[str]:
    """All of them, from a machine that builds and runs nothing."""
    with pretended() as machine:
        machine.only_texts = True
        registry._added["cupy"] = backend = CupyBackend()
        registry.probe.cache_clear()
        try:
            collect(backend, registry.find("cupy"))
        finally:
            registry.remove("cupy")
        return with_large_grids(list(machine.texts))


def fault(text: str, arch: str) -> str:
    """What is wrong with the text, or nothing."""
    try:
        ptx, cubin = nvrtc.compiled(text, arch)
    except nvrtc.Refused as e:
        return f"sm_{arch}: {e}"
    names = re.findall(r"^KERNEL (\w+)\(", text, re.MULTILINE)
    missing = [n for n in names if f".entry {n}(".encode() not in ptx]
    whole = names and not missing and f".target sm_{arch}".encode() in ptx and cubin.startswith(b"\x7fELF")
    return "" if whole else f"sm_{arch}: {names} gave {len(ptx)} bytes of PTX without {missing}"


def test_products_in_spiking_kernels_are_rounded_before_they_are_added() -> None:
    text = 'extern "C" __global__ void k(float *a) { a[0] = a[1] * a[2] + a[3]; }'
    rounded = f"#define {ROUNDED} 1\n{text}"
    assert [b"fma.rn.f32" in nvrtc.compiled(t, ONE)[0] for t in (text, rounded)] == [True, False]


def test_every_spiking_kernel_asks_for_that(texts: list[str]) -> None:
    spiking = [t for t in texts if "KERNEL hetero_spiking(" in t or "KERNEL hetero_stage0(" in t]
    assert spiking
    assert all(hk.is_rounded(t) for t in spiking)


def test_every_kernel_file_and_every_template_is_among_the_texts(texts: list[str]) -> None:
    found = set(re.findall(r"^KERNEL hetero_(\w+)\(", "\n".join(texts), re.MULTILINE))
    # made of whole vectors: have no form for accelerators
    processors = {"arg_rows", "conv_panels", "matmul_panels", "matmul_rows"}
    assert set(hk.names()) - processors <= found
    large = [t for t in texts if t.startswith("#define LARGE_GRID")]
    assert found == set(re.findall(r"^KERNEL hetero_(\w+)\(", "\n".join(large), re.MULTILINE))
    assert len(texts) > 10 * len(TEMPLATES)
    assert sum("#define INDEX i64" in t for t in texts) >= 15


@pytest.mark.parametrize("arch", nvrtc.ARCHS)
def test_every_kernel_compiles(texts: list[str], arch: str) -> None:
    """All faults at once, each once."""
    some = texts if ASKED == "full" or (ASKED == "one" and arch == ONE) else texts[nvrtc.ARCHS.index(arch) :: SAMPLE]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        faults = [f for f in pool.map(lambda t: fault(t, arch), some) if f]
    assert not faults, f"{len(faults)} of {len(some)}: " + "\n".join(dict.fromkeys(faults))[:4000]


def test_a_text_that_is_no_cuda_is_refused() -> None:
    text = hk.source("fill", {"T": "u32"})
    assert not fault(text, ONE)
    assert "error" in fault(text.replace("KERNEL hetero_fill(", "KERNEL hetero_fill(nonsense x, "), ONE)
