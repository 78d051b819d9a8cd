"""What the host allows a process: its cores, its descriptors and sockets."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from eventq import Queue
from eventq.host import surroundings

# As /proc/self/cgroup has them: on a host, in a container, and before version 2.
V2, V2_ROOT = "0::/kube/pod/box\n", "0::/\n"
V1 = "5:memory:/docker/1\n4:cpu,cpuacct:/docker/1\n1:name=systemd:/docker/1\n0::/\n"


@pytest.mark.parametrize(
    "groups, files, cores",
    [
        (V2, {}, 64),
        (V2, {"kube/pod/box/cpu.max": "150000 100000"}, 2),
        (V2, {"kube/pod/box/cpu.max": "max 100000", "kube/cpu.max": "300000 100000"}, 3),
        (V2, {"kube/pod/box/cpu.max": "50000 100000", "kube/cpu.max": "300000 100000"}, 1),
        (V2_ROOT, {"cpu.max": "400000 50000"}, 8),
        (V2_ROOT, {"cpu.max": "9900000 100000"}, 64),
        (V2_ROOT, {"cpu.max": "rubbish"}, 64),
        (V2_ROOT, {"cpu.max": ""}, 64),
        (V1, {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, 64),
        (V1, {"cpu/cpu.cfs_quota_us": "250000", "cpu/cpu.cfs_period_us": "100000"}, 3),
        (
            V1,
            {
                "cpu/docker/1/cpu.cfs_quota_us": "10000",
                "cpu/docker/1/cpu.cfs_period_us": "100000",
            },
            1,
        ),
        ("", {"cpu.max": "100000 100000"}, 64),
    ],
)
def test_a_quota_of_any_group_above_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, groups: str, files: dict[str, str], cores: int
) -> None:
    """The smallest quota on the way to the root binds, and a part of a core is one."""
    monkeypatch.setattr(surroundings, "CGROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(surroundings, "CGROUP_ROOT", tmp_path / "fs")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)))
    (tmp_path / "cgroup").write_text(groups)
    for name, text in files.items():
        (tmp_path / "fs" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "fs" / name).write_text(text + "\n")

    assert surroundings.usable_cores() == cores


def test_workers_are_as_many_as_the_cores_that_may_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process bound to one core of many has one worker, whatever the host has."""
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {63})

    with Queue("memory://") as queue:
        assert queue.workers == 1


FULL = """
import errno, logging, os, resource, sys, threading
import eventq

def work(ctx, task):
    pass

def release(record):
    # Whatever the run says: it has begun, and waits for the log.
    while taken:
        os.close(taken.pop())
    return True

queue = eventq.Queue(sys.argv[1], workers=1)
queue.run(work, until="idle")  # Modules are files as well.
queue.new_many([{}] * 3)
other = eventq.Queue(sys.argv[1], workers=1)  # It has nothing open to write with.
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
taken = []
try:
    while True:
        taken.append(os.dup(0))
except OSError as error:
    assert error.errno == errno.EMFILE
print(next(queue.events(follow=True)).kind, bool(taken))
logging.getLogger("eventq.runner").addFilter(release)
print(other.run(work, until="idle").completed, bool(taken))
"""


def test_a_process_without_descriptors_waits_for_some(tmp_path: Path) -> None:
    """`run` and a follower bear it that no file and no socket can be opened for a while."""
    done = subprocess.run(
        [sys.executable, "-c", FULL, f"sqlite:///{tmp_path}/q.db"],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.stdout == "created True\n3 False\n", done.stderr
