"""The cache on disk: whole entries or none, damage, full and closed folders, several processes, a limit."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import hetero as ht
from hetero import cache, config
from hetero.cache import Cache
from hetero.errors import ConfigError
from hetero.files import write_whole


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HETERO_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


def files(folder: Path) -> list[Path]:
    return sorted(e.path for e in cache.entries(folder))


def test_what_was_put_is_there_for_another_process_and_is_counted() -> None:
    ht.reset_stats()
    first = Cache("kind")
    assert first.get("a", "b") is None
    first.put(b"\0data", "a", "b")
    assert Cache("kind").get("a", "b") == b"\0data"
    assert Cache("kind").get("ab") is None, "keys are parts, not their text put together"
    assert Cache("other").get("a", "b") is None
    assert ht.stats().events == {"kind cache hit": 1, "kind cache miss": 2, "other cache miss": 1}


@pytest.mark.parametrize("damage", [lambda d: b"", lambda d: d[:20], lambda d: d[:-1], lambda d: d + b"x",
                                    lambda d: b"hetero-cache-0\n" + d[15:], lambda d: d[:-1] + b"\xff"])  # fmt: skip
def test_a_damaged_entry_is_a_miss_and_goes(folder: Path, damage: object) -> None:
    """Cut, grown, changed, or written by another version."""
    Cache("kind").put(b"data", "k")
    (path,) = files(folder)
    path.write_bytes(damage(path.read_bytes()))  # pyright: ignore[reportCallIssue]
    found = Cache("kind")
    assert found.get("k") is None
    assert (found.faults, files(folder)) == (1, [])
    found.put(b"data", "k")
    assert found.get("k") == b"data"


def test_a_folder_that_cannot_be_written_is_said_once_and_does_not_matter(folder: Path) -> None:
    folder.parent.mkdir(exist_ok=True)
    folder.write_text("a file stands where the folder should be")
    kept = Cache("kind")
    with pytest.warns(RuntimeWarning, match="nothing is kept in .*HETERO_CACHE_DIR"):
        kept.put(b"data", "k")
    kept.put(b"data", "l")  # a second warning would be an error here
    assert kept.get("k") is None


def test_a_full_disk_leaves_nothing_half_written(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int, mode: str) -> object:
        os.close(handle)
        raise OSError(28, "No space left on device")

    kept = Cache("kind")
    kept.put(b"old", "k")
    monkeypatch.setattr(os, "fdopen", full)
    with pytest.warns(RuntimeWarning, match="No space left"):
        kept.put(b"new", "k")
    monkeypatch.undo()
    assert [p.read_bytes()[-3:] for p in files(folder)] == [b"old"]


WRITER = """
import sys
from hetero.cache import Cache
kept, number = Cache("kind"), sys.argv[1]
for k in range(200):
    kept.put((number * 1000).encode(), str(k % 5))
    data = kept.get(str(k % 5))
    assert data is None or len(set(data)) == 1 and len(data) == 1000, data
assert kept.faults == 0
"""


def test_processes_write_the_same_entries_at_once(folder: Path) -> None:
    running = [subprocess.Popen([sys.executable, "-c", WRITER, str(k)]) for k in range(3)]
    assert [p.wait() for p in running] == [0, 0, 0]
    assert len(files(folder)) == 5


def test_a_process_that_is_killed_while_it_writes_leaves_no_entry(folder: Path) -> None:
    code = """
import os
from hetero.cache import Cache
os.replace = lambda *a: os._exit(9)
Cache("kind").put(b"data", "k")
"""
    assert subprocess.run([sys.executable, "-c", code]).returncode == 9
    assert Cache("kind").get("k") is None
    Cache("kind").put(b"data", "k")
    assert Cache("kind").get("k") == b"data"


def test_what_was_used_longest_ago_goes_first(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HETERO_CACHE_LIMIT", "10K")
    for k in range(9):
        Cache("kind").put(bytes(1000), str(k))
        path = max(files(folder), key=lambda p: p.stat().st_mtime_ns)
        os.utime(path, (1e9 + k, 1e9 + k))
    assert Cache("kind").get("0") is not None  # used now, and so not the oldest any more
    Cache("other").put(bytes(2000), "k")  # one limit for the whole folder
    assert sum(e.nbytes for e in cache.entries(folder)) <= 10 << 10
    assert Cache("kind").get("0") is not None
    assert Cache("kind").get("1") is None
    assert Cache("other").get("k") is not None


@pytest.mark.parametrize(("text", "limit"), [("", 1 << 30), ("12", 12), ("64k", 1 << 16), (" 5M", 5 << 20)])
def test_the_limit_is_read(monkeypatch: pytest.MonkeyPatch, text: str, limit: int) -> None:
    monkeypatch.setenv("HETERO_CACHE_LIMIT", text)
    assert config.cache_limit() == limit


@pytest.mark.parametrize("text", ["-1", "G", "1.5G", "lots"])
def test_a_limit_that_means_nothing_is_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("HETERO_CACHE_LIMIT", text)
    with pytest.raises(ConfigError, match="HETERO_CACHE_LIMIT is"):
        config.cache_limit()


def test_a_file_is_written_whole_or_stays_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    write_whole(path, "äöü")
    assert path.read_text("utf-8") == "äöü"

    def killed(*paths: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        write_whole(path, b"new")
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
    assert path.read_text("utf-8") == "äöü"
