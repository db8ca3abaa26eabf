"""The pytest plugin: `--hetero-backend=NAME` and the fixture `device`, which is each backend's first device in turn.

A backend named in HETERO_REQUIRE (default: numpy) that has no device is a failure; any other is left out, and the end
of the run says so, with the reason: once, and not for each of thousands of cases.
"""

from __future__ import annotations

import os
from functools import cache
from typing import Any

import pytest

USED = "hetero_device"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--hetero-backend",
        action="append",
        default=[],
        metavar="NAME",
        help="run hetero's conformance suite on this backend or device (may stand more than once; default: all)",
    )
    parser.addoption("--hetero-full", action="store_true", help="every dtype, rather than one of each kind")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "hetero_full: a case of hetero's suite that only --hetero-full runs")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--hetero-full"):
        return
    wide = [item for item in items if item.get_closest_marker("hetero_full")]
    if wide:
        config.hook.pytest_deselected(items=wide)
        items[:] = [item for item in items if not item.get_closest_marker("hetero_full")]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "device" not in metafunc.fixturenames:
        return
    names = _asked(metafunc.config) or [n for n, reason in _backends().items() if not reason or n in required()]
    metafunc.parametrize("device", names, indirect=True, scope="session")


def pytest_runtest_setup(item: pytest.Item) -> None:
    if "device" in getattr(item, "fixturenames", ()):
        item.user_properties.append((USED, True))  # goes with the report, from whatever process it comes


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    reports = (r for some in terminalreporter.stats.values() for r in some)
    if _asked(config) or not any((USED, True) in map(tuple, getattr(r, "user_properties", ())) for r in reports):
        return
    for name, reason in _backends().items():
        if reason and name not in required():
            terminalreporter.write_line(f"hetero: {name} was not tested: {reason}")


@cache
def _backends() -> dict[str, str]:
    """Installed backends, with why they have no device here."""
    from hetero import registry  # late: a pytest run that has nothing to do with hetero never imports it

    found = {name: registry.probe(name) for name in registry.available()}
    return {name: "" if probe.devices else probe.reason for name, probe in found.items()}


def _asked(config: pytest.Config) -> list[str]:
    return list(config.getoption("--hetero-backend") or [])


def required() -> list[str]:
    """Backends that must be here."""
    return [name.strip() for name in os.environ.get("HETERO_REQUIRE", "numpy").split(",") if name.strip()]


@pytest.fixture(scope="session")
def device(request: pytest.FixtureRequest) -> object:
    """A `hetero.spi.Device`; one that is wanted and not there is an error."""
    from hetero import registry

    return registry.find(str(request.param))


@pytest.fixture
def tensor_device(device: Any) -> object:
    """A `hetero.spi.Device` that runs graphs of any kind; simulators of chips take whole spiking networks only."""
    if device.simulated:
        pytest.skip(f"{device} takes spiking networks only")
    return device
