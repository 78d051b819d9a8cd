"""A second witness of a record: the system calls that strace has seen the same process make.

``python -m tools.powercut.witness FOLDER LEVEL FILE`` is that process: it records a run in an empty
folder, and writes what it has recorded into the file.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path

from tools.folders import own_folder
from tools.powercut.record import Recorder
from tools.powercut.steps import (
    FolderSynced,
    Made,
    Record,
    Renamed,
    Synced,
    Truncated,
    Unlinked,
    Wrote,
)
from tools.powercut.workload import run

CALLS = "pwrite64,ftruncate,fsync,fdatasync,rename,unlink"
# No write is longer: SQLite writes pages.
LONGEST_BYTES = 70_000
SEED = 1
# pid, call, its arguments, what it returned
CALL = re.compile(r"^(\d+) +(\w+)\((.*)\) += (-?\d+)", re.DOTALL)
UNFINISHED = re.compile(r"^(\d+) +(.*) <unfinished \.\.\.>$", re.DOTALL)
RESUMED = re.compile(r"^(\d+) +<\.\.\. \w+ resumed>(.*)$", re.DOTALL)
FILE = re.compile(r"^\d+<(.*?)>(?:, (.*))?$", re.DOTALL)
QUOTED = re.compile(r'"([^"]*)"')
UNSEEN = ("-shm", "-lock", "-bell")

# One step in words that both witnesses can say.
Said = tuple[str | int, ...]


def can_trace() -> bool:
    """Whether strace is here, and may look at processes."""
    strace = shutil.which("strace")
    if strace is None:
        return False
    done = subprocess.run([strace, "-o", "/dev/null", "true"], capture_output=True, check=False)
    return done.returncode == 0


def compare(level: str) -> str:
    """Records a run under strace; returns how much both have seen.

    Raises AssertionError where one has seen something else. Needs `can_trace`.
    """
    with own_folder("eventq-witness") as temporary:
        folder = temporary.resolve()
        (folder / "run").mkdir()
        program = [sys.executable, "-m", "tools.powercut.witness", str(folder / "run"), level]
        tracing = ["strace", "-f", "-y", "-xx", "-s", str(LONGEST_BYTES), "-e", f"trace={CALLS}"]
        command = [*tracing, "-o", str(folder / "trace"), *program, str(folder / "record")]
        subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
        recorded = [tuple(said) for said in json.loads((folder / "record").read_text())]
        traced = list(traced_in(folder / "trace", folder / "run"))
    for number, (ours, theirs) in enumerate(zip_longest(recorded, traced)):
        assert ours == theirs, f"step {number}: recorded {_short(ours)}, traced {_short(theirs)}"
    syncs = sum(said[0] == "sync" for said in recorded)
    return (
        f"{len(recorded):,} steps, of which {syncs:,} syncs: the trace has the same in this order"
    )


def recorded_in(record: Record) -> Iterator[Said]:
    """What a record says, but for who was told, and when a file was made."""
    names: dict[int, str] = {}
    for step in record:
        match step:
            case Made(name, file):
                names[file] = name
            case Wrote(file, offset, data):
                yield "write", names[file], offset, data.hex()
            case Truncated(file, size):
                yield "truncate", names[file], size
            case Synced(file):
                yield "sync", names[file]
            case Renamed(name, to):
                file = next(file for file, known in names.items() if known == name)
                names[file] = to
                yield "rename", name, to
            case Unlinked(name):
                yield "unlink", name
            case FolderSynced():
                yield "sync", ""


def traced_in(trace: Path, folder: Path) -> Iterator[Said]:
    """What a trace says of the files in the folder."""
    begun: dict[str, str] = {}
    for line in trace.read_text(encoding="utf-8").splitlines():
        text = line
        if (found := UNFINISHED.match(line)) is not None:
            begun[found[1]] = found[2]
            continue
        if (found := RESUMED.match(line)) is not None:
            text = f"{found[1]} {begun.pop(found[1])}{found[2]}"
        call = CALL.match(text)
        if call is not None and int(call[4]) >= 0:
            said = _said(call[2], call[3], folder)
            if said is not None and not str(said[1]).endswith(UNSEEN):
                yield said


def _said(call: str, arguments: str, folder: Path) -> Said | None:
    if call in {"rename", "unlink"}:
        paths = [Path(_unquoted(text).decode()) for text in QUOTED.findall(arguments)]
        if any(path.parent != folder for path in paths):
            return None
        return call, *(path.name for path in paths)
    found = FILE.match(arguments)
    path = Path(_unquoted(found[1]).decode()) if found else Path()
    if found is None or folder not in {path, path.parent}:
        return None
    name = "" if path == folder else path.name
    if call == "pwrite64":
        data, _, offset = (found[2] or "").rsplit(", ", 2)
        return "write", name, int(offset), _unquoted(data.strip('"')).hex()
    if call == "ftruncate":
        return "truncate", name, int(found[2] or 0)
    return "sync", name


def _unquoted(text: str) -> bytes:
    """The bytes that strace shows, two digits a byte or as they are."""
    return re.sub(rb"\\x(..)", lambda two: bytes.fromhex(two[1].decode()), text.encode())


def _short(said: Said | None) -> str:
    return "nothing" if said is None else str(said)[:120]


def main() -> None:
    """Records a run, for whoever traces this process."""
    folder, level, file = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
    with Recorder(folder, level=level) as recorder:
        run(folder, folder.with_name("archive"), SEED)
    file.write_text(json.dumps(list(recorded_in(recorder.steps))), encoding="utf-8")


if __name__ == "__main__":
    main()
