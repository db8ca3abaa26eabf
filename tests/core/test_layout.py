"""The folders, the wheel, the entry points and the import contracts name the same packages."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import hetero
from hetero.op import OPS

ROOT = Path(__file__).parent.parent.parent
TEXT = (ROOT / "pyproject.toml").read_text("utf-8")
FOLDERS = {
    p.parent.relative_to(ROOT).as_posix() for top in ("backends", "kernels") for p in ROOT.glob(f"{top}/*/__init__.py")
}
NAMES = {folder.split("/")[1] for folder in FOLDERS}


def listed(key: str) -> set[str]:
    """The strings of one TOML list (Python 3.10 has no TOML reader)."""
    found = re.search(rf"^{key} = \[(.*?)\]", TEXT, re.MULTILINE | re.DOTALL)
    assert found, key
    return set(re.findall(r'"([^"]+)"', found[1]))


def test_every_package_is_in_the_wheel() -> None:
    assert listed("packages") == {"hetero"} | FOLDERS


def test_every_backend_has_an_entry_point() -> None:
    section = TEXT.split('[project.entry-points."hetero.backends"]')[1].split("[")[0]
    entries = dict(re.findall(r'^(\w+) = "(\w+):\w+"', section, re.MULTILINE))
    assert set(entries.values()) == NAMES - {"hetero_kernels", "hetero_launch"}  # these two are shared by backends
    assert set(hetero.available()) >= set(entries)


def test_every_package_is_under_the_import_contracts() -> None:
    assert listed("root_packages") == {"hetero"} | NAMES


def test_no_folder_of_packages_is_a_package() -> None:
    assert not (ROOT / "backends" / "__init__.py").exists()
    assert not (ROOT / "kernels" / "__init__.py").exists()


@pytest.mark.parametrize("folder", sorted(FOLDERS | {"hetero"}))
def test_every_package_tells_that_it_is_typed(folder: str) -> None:
    assert (ROOT / folder / "py.typed").exists()


def test_public_names_are_there_once() -> None:
    """Ruff keeps them sorted."""
    assert len(set(hetero.__all__)) == len(hetero.__all__)
    missing = [name for name in hetero.__all__ if not hasattr(hetero, name)]
    assert missing == []


def test_every_op_is_tested_by_its_samples() -> None:
    """An op without samples would never meet the conformance suite; those that hold a graph have tests of their own."""
    assert {op.name for op in OPS.values() if not op.samples} == {"cond", "fused", "late", "scan"}


def test_files_have_one_subject() -> None:
    """500 lines at most, and that only for a flat table: longer is two subjects."""
    long = [
        f"{p.relative_to(ROOT)}: {n}"
        for top in ("hetero", "backends", "kernels")
        for p in (ROOT / top).rglob("*.py")
        if (n := len(p.read_text("utf-8").splitlines())) > 500
    ]
    assert long == []
