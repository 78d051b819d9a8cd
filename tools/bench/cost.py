"""What a lone ``new()`` asks of the system: its calls, by strace, and its frames in the WAL."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import apsw

from eventq import Queue
from tools.bench.bench import Bench, Skipped
from tools.bench.report import Figure, Floor
from tools.bench.work import three_tags

# Calls before the ones that count: statements are prepared, files are opened.
WARM_UP = 20
FRAME_HEADER_BYTES = 24
# Where a line of strace's table has the number of calls; at its end stands the name.
_CALLS_FIELD = 3


def frames(bench: Bench) -> Iterator[Figure]:
    """Pages that each ``new()`` adds to the WAL, by the file's growth.

    A reader stays at the log's beginning, so that no checkpoint has the WAL begin anew.
    """
    path, count = bench.path(), bench.pick(1_000, 100)
    wal = Path(f"{path}-wal")
    with Queue(f"sqlite:///{path}") as queue, closing(apsw.Connection(str(path))) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM sqlite_schema").fetchall()
        page_bytes = reader.pragma("page_size")
        assert isinstance(page_bytes, int), "a page's size is a number"
        create(queue, WARM_UP)
        before_bytes = wal.stat().st_size
        create(queue, count)
        grown_bytes = wal.stat().st_size - before_bytes
    mean = grown_bytes / (page_bytes + FRAME_HEADER_BYTES) / count
    yield Figure("lone new(), WAL frames", mean, "frames", Floor(1.8, at_most=True))


def system_calls(bench: Bench) -> Iterator[Figure]:
    """System calls of all threads, checkpoints included: a child's with them less one's without."""
    if shutil.which("strace") is None:
        raise Skipped("system calls need strace, which is not installed")
    count = bench.pick(1_000, 100)
    without, with_them = _traced(bench, 0), _traced(bench, count)
    for name in ("total", "fdatasync", "pwrite64", "fcntl"):
        mean = (with_them[name] - without[name]) / count
        if name == "total":
            yield Figure("lone new(), system calls", mean, "calls", Floor(13, at_most=True))
        else:
            yield Figure(f"lone new(), {name}", mean, "calls")


def create(queue: Queue, count: int) -> None:
    """One ``new()`` after another."""
    tags = three_tags(1)
    for _ in range(count):
        queue.new(tags)


def _traced(bench: Bench, count: int) -> dict[str, int]:
    """How often a child that calls ``new()`` so often makes each system call."""
    table = bench.directory / "strace.txt"
    child = [sys.executable, "-m", "tools.bench.cost", bench.url(), str(count)]
    command = ["strace", "-c", "-f", "-o", str(table), *child]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if "ptrace" in done.stderr and done.returncode:
        raise Skipped(f"strace may not trace here: {done.stderr.strip().splitlines()[-1]}")
    if done.returncode:
        raise RuntimeError(done.stderr)
    lines = [line.split() for line in table.read_text(encoding="ascii").splitlines()]
    # All but the header and the rules.
    numbered = [fields for fields in lines if fields and fields[0].replace(".", "").isdigit()]
    return {fields[-1]: int(fields[_CALLS_FIELD]) for fields in numbered}


def _child(url: str, count: str) -> None:
    with Queue(url) as queue:
        create(queue, WARM_UP + int(count))


if __name__ == "__main__":
    _child(*sys.argv[1:])
