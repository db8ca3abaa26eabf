"""PoCL's threads: each on a processor of its own, unless somebody wants otherwise."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from hetero_opencl import workers
from hetero_opencl.device import find, pocl_version
from launching import ABSENT

LINUX = pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="only Linux tells where a thread may run")
ALL = range(os.cpu_count() or 0)
CODE = """
import json, os, sys
if sys.argv[1:]: os.sched_setaffinity(0, {int(sys.argv[1])})
from hetero_opencl.device import find
find()
print(json.dumps([sorted(os.sched_getaffinity(int(task))) for task in os.listdir("/proc/self/task")]))
"""


def where_threads_run(*args: str, **env: str) -> list[list[int]]:
    """Of a process that has looked for devices: the processors that each of its threads may use."""
    free = {k: v for k, v in os.environ.items() if k not in (workers.PINNED, workers.OURS)}
    made = subprocess.run(
        [sys.executable, "-c", CODE, *args], env=free | env, capture_output=True, text=True, check=True
    )
    return json.loads(made.stdout)


@LINUX
@pytest.mark.skipif(bool(ABSENT), reason=ABSENT)
@pytest.mark.skipif(len(ALL) < 2, reason="one processor")
def test_each_thread_has_a_processor() -> None:
    if set(ALL) != os.sched_getaffinity(0) or not any(map(pocl_version, find())):
        pytest.skip("no PoCL that may use all processors")
    found = where_threads_run()
    assert [k for k in ALL if [k] not in found] == []
    assert list(ALL) in found  # the process itself
    assert all([k] not in where_threads_run(POCL_AFFINITY="0") for k in ALL)


@LINUX
@pytest.mark.skipif(bool(ABSENT), reason=ABSENT)
def test_a_process_stays_where_it_was_put() -> None:
    """Though the one that started it has all processors, and its variables."""
    last = max(os.sched_getaffinity(0))
    for inherited in ({}, {workers.PINNED: "1", workers.OURS: "1"}):
        assert all(allowed == [last] for allowed in where_threads_run(str(last), **inherited))


@LINUX
def test_who_wants_otherwise_is_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    def pinned(allowed: set[int], **env: str) -> str | None:
        for name in (workers.PINNED, workers.OURS, *workers.FEWER):
            monkeypatch.setenv(name, "")  # so that it is put back
            monkeypatch.delenv(name)
        for name, value in env.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: allowed)
        workers.pin()
        return os.environ.get(workers.PINNED)

    assert pinned(set(ALL)) == "1"
    assert pinned(set(ALL) - {0}) is None
    assert pinned({*ALL, len(ALL)}) is None
    assert pinned(set(ALL), POCL_AFFINITY="0") == "0"
    assert [pinned(set(ALL), **{name: "1"}) for name in workers.FEWER] == [None] * len(workers.FEWER)
