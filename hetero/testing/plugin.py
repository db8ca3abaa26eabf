"""The pytest plugin: `--hetero-backend=NAME` and the fixture `device`, which is each backend's first device in turn.

A backend named in HETERO_REQUIRE (default: numpy) that has no device is a failure; any other is skipped, with its
reason.
"""

from __future__ import annotations

import os

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--hetero-backend",
        action="append",
        default=[],
        metavar="NAME",
        help="run hetero's conformance suite on this backend or device (may stand more than once; default: all)",
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "device" not in metafunc.fixturenames:
        return
    from hetero.registry import available  # late: a pytest run that has nothing to do with hetero never imports it

    asked = _asked(metafunc.config)
    metafunc.parametrize("device", asked or available(), indirect=True, scope="session")


def _asked(config: pytest.Config) -> list[str]:
    return list(config.getoption("--hetero-backend") or [])


def required() -> list[str]:
    """Backends that must be here."""
    return [name.strip() for name in os.environ.get("HETERO_REQUIRE", "numpy").split(",") if name.strip()]


@pytest.fixture(scope="session")
def device(request: pytest.FixtureRequest) -> object:
    """A `hetero.spi.Device`."""
    from hetero import registry
    from hetero.errors import BackendError

    name = str(request.param)
    try:
        return registry.find(name)
    except BackendError as e:
        if name in required() or name in _asked(request.config):
            raise
        pytest.skip(str(e))
