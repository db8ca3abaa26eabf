"""A small model on disk, and the command line as a person calls it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

import hetero as ht

Call = Callable[..., Result]


def network(x: ht.Tensor) -> dict[str, ht.Tensor]:
    w = ht.asarray(np.linspace(-1, 1, 12, dtype="float32").reshape(3, 4))
    return {"score/0": ht.tanh(x @ w), "score:0": ht.sum(x, axis=-1)}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "net.hetero"
    ht.trace(network, ht.spec(("batch", 3))).save(str(path))
    return path


@pytest.fixture
def call() -> Call:
    """Runs `hetero ...` in this process; a HeteroError becomes exit code 2, as in `main`."""
    from hetero.cli.app import app

    def run(*args: object) -> Result:
        result = CliRunner().invoke(app, [str(a) for a in args])
        if isinstance(result.exception, ht.HeteroError):
            result.exit_code = 2
        return result

    return run
