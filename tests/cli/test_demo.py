"""The demo: on a small tree with odd names, again, interrupted, killed, and on a terminal."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import pytest

from eventq import Queue, Task
from eventq.cli.demo.files import DemoFile, choose_broken, unquoted
from eventq.core.events import Completed, Failed
from tests.cli.harness import (
    FORBIDDEN,
    Cli,
    ended,
    environment,
    finished,
    on_terminal,
    started,
    until,
)

# Names that have broken programs before; macOS does not allow the last.
NAMES = [
    b"plain.txt",
    b"123",
    b"-dash",
    b"with space",
    b"quote'\"$x`",
    b"new\nline",
    b"esc\x1b]0;owned\x07",
    "bidi\u202egnp.txt".encode(),
    "grün".encode(),
    b"[bold]:smile:",
    b"sha256:abc",
    b"compress:123",
    b"100%25",
    b"n" * 250,
    *([] if sys.platform == "darwin" else [b"latin-\xe9"]),
]
FAILED_ATTEMPTS = 6


def make_tree(folder: Path) -> Path:
    """A tree with odd names, an empty and a larger file, and what is no regular file."""
    root = folder / "tree"
    deep = root / ("d" * 200) / ("e" * 200)
    deep.mkdir(parents=True)
    for number, name in enumerate(NAMES):
        with open(os.path.join(os.fsencode(root), name), "wb") as file:  # noqa: PTH118, PTH123
            file.write(b"%d " % number * 100)
    (deep / "deep.txt").write_bytes(b"deep" * 5_000)
    (root / "empty").touch()
    (root / "large.bin").write_bytes(os.urandom(1_500_000))
    (root / "link").symlink_to(root / "plain.txt")
    (root / "nowhere").symlink_to(root / "nothing")
    (root / "loop").symlink_to(root)
    os.mkfifo(root / "pipe")
    return root


FILE_COUNT = len(NAMES) + 3
# All are hashed, and compressed but for the one that never succeeds.
TASK_COUNT = 2 * FILE_COUNT - 1


def make_plain_tree(folder: Path, count: int) -> Path:
    """Equal small files."""
    root = folder / "tree"
    root.mkdir()
    for number in range(count):
        (root / f"file-{number:02}.txt").write_text(f"{number}" * 100)
    return root


def tasks(folder: Path) -> dict[str, Task]:
    """All tasks of the demo in a folder, by key."""
    with Queue(f"sqlite:///{folder}/eventq-demo.db", namespace="demo", create=False) as queue:
        states = ["scheduled", "ready", "leased", "completed", "expired", "cancelled"]
        return {task.key: task for task in queue.tasks(state=states)}


def completed_count(folder: Path) -> int:
    """How many tasks are completed by now; 0 before there is a database."""
    if not (folder / "eventq-demo.db").exists():
        return 0
    with Queue(f"sqlite:///{folder}/eventq-demo.db", namespace="demo", create=False) as queue:
        return queue.stats().completed


def summary(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """The summary of a demo that was asked for JSON."""
    assert done.returncode == 0, done.stderr
    form: dict[str, Any] = json.loads(done.stdout)
    return form


@pytest.fixture(scope="module")
def done_demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A folder in which the demo has run to its end, and what it printed into a pipe."""
    folder = tmp_path_factory.mktemp("demo")
    make_tree(folder)
    done = finished("demo", "tree", "--seed", "3", "--fail-share", "0.3", folder=folder)
    assert (done.returncode, done.stderr) == (0, "")
    return folder, done.stdout


def test_all_files_are_done_but_one(done_demo: tuple[Path, str]) -> None:
    """Odd names, links, pipes and empty files included; the one expires after its retries."""
    folder, _ = done_demo
    found = tasks(folder)
    broken = [task for task in found.values() if task.tags.get("broken")]

    assert len(found) == TASK_COUNT
    assert [task.state for task in broken] == ["expired"]
    assert broken[0].attempt == FAILED_ATTEMPTS
    assert sum(task.state == "completed" for task in found.values()) == TASK_COUNT - 1


def test_results_are_true(done_demo: tuple[Path, str]) -> None:
    """Digest, size and compressed size are those of the file's bytes."""
    folder, _ = done_demo
    results: dict[str | None, int] = {"hash": 0, "compress": 0}
    for task in tasks(folder).values():
        if task.state == "expired":
            continue
        content = (folder / "tree" / unquoted(task.tags["path"])).read_bytes()
        packed = len(zlib.compress(content, 6))
        ratio = round(packed / len(content), 4) if content else None
        true = {
            "hash": hashlib.sha256(content).hexdigest(),
            "compress": {"bytes": len(content), "compressed": packed, "ratio": ratio},
        }

        assert task.result == true[str(task.name)]
        results[task.name] += 1
    assert results == {"hash": FILE_COUNT - 1, "compress": FILE_COUNT - 1}


def test_hashing_makes_the_task_of_compressing(done_demo: tuple[Path, str]) -> None:
    """In the commit of its completion, for another lane, with its own priority."""
    folder, _ = done_demo
    found = tasks(folder)
    with Queue(f"sqlite:///{folder}/eventq-demo.db", namespace="demo", create=False) as queue:
        end, made = queue.history("hash:plain.txt")[-1], queue.history("compress:plain.txt")[0]
    first, second = found["hash:plain.txt"], found["compress:plain.txt"]

    assert (first.lane, second.lane) == ("disk", "cpu")
    assert (first.priority, second.priority) == (30, 30)
    assert isinstance(end.body, Completed)
    assert (end.body.made, end.at) == (1, made.at)


def test_failures_are_retried_with_backoff(done_demo: tuple[Path, str]) -> None:
    """The seeded share of each handler fails as a disk does, by its rule, and then succeeds."""
    folder, printed = done_demo
    retried = [t for t in tasks(folder).values() if t.state == "completed" and t.attempt > 1]

    assert retried
    assert {t.name for t in retried} == {"hash", "compress"}
    assert all("Input/output error" in t.last_error.message for t in retried if t.last_error)
    with Queue(f"sqlite:///{folder}/eventq-demo.db", namespace="demo", create=False) as queue:
        rules = {event.body.rule for event in queue.events() if isinstance(event.body, Failed)}
    assert rules == {"OSError: exponential 100ms, cap 2s"}
    assert "The history of one that was retried: " in printed


def test_the_printed_lines_tell_the_story(done_demo: tuple[Path, str]) -> None:
    """Plain lines with progress, counts, the slowest, the expired one, and the log verified."""
    _, printed = done_demo

    assert f"demo: {FILE_COUNT} tasks created, 0 were there already\n" in printed
    assert f"{TASK_COUNT} of {TASK_COUNT} done, 0 ready, 0 leased, 0 scheduled" in printed
    assert f"  {TASK_COUNT} tasks: {TASK_COUNT - 1} completed, 1 expired\n" in printed
    assert "(the one chosen never to succeed)\n" in printed
    assert "log verified: " in printed
    assert printed.replace("\n", "").isprintable()


def test_the_commands_to_try_next_work(done_demo: tuple[Path, str]) -> None:
    """Three commands, and each works as it is printed."""
    folder, printed = done_demo
    lines = printed.partition("Try next:\n")[2].splitlines()

    assert len(lines) == 3
    for line in lines:
        done = subprocess.run(
            ["sh", "-c", line], cwd=folder, env=environment(), capture_output=True, check=False
        )
        assert (done.returncode, done.stderr) == (0, b""), line
        assert len(done.stdout.splitlines()) > 1


def test_a_second_run_creates_nothing(done_demo: tuple[Path, str]) -> None:
    """No task; even with another seed the one that never succeeds stays."""
    folder, _ = done_demo
    before = tasks(folder)
    form = summary(finished("demo", "tree", "--seed", "9", "--json", folder=folder))

    assert tasks(folder).keys() == before.keys()
    assert (form["tasks"], form["expired"], form["done_now"]) == (TASK_COUNT, 1, 0)
    assert form["log_verified"] is True
    assert form["expired_keys"] == [key for key, task in before.items() if task.state == "expired"]


def test_a_new_file_is_all_that_a_second_run_adds(tmp_path: Path) -> None:
    """What was there stays done, and no second file is chosen to fail, not even by the seed."""
    root = make_plain_tree(tmp_path, 3)
    finished("demo", "tree", "--fail-share", "0", folder=tmp_path)
    files = [DemoFile(path.name, 1) for path in root.iterdir()]
    new = next(
        file
        for file in (DemoFile(f"new-{number}.txt", 1) for number in range(1_000))
        if choose_broken(1, [*files, file]) is file
    )
    (root / new.path).write_text("new")
    form = summary(finished("demo", "tree", "--fail-share", "0", "--json", folder=tmp_path))

    assert (form["tasks"], form["expired"], form["done_now"]) == (7, 1, 2)


def test_chance_alone_never_expires_a_file(tmp_path: Path) -> None:
    """Even when every attempt is unlucky, a task's file is read after three."""
    make_plain_tree(tmp_path, 3)
    form = summary(finished("demo", "tree", "--fail-share", "1", "--json", folder=tmp_path))

    assert (form["completed"], form["expired"]) == (4, 1)
    assert form["failures"] == FAILED_ATTEMPTS + 4 * 3


def test_another_tree_or_queue_is_refused(done_demo: tuple[Path, str], cli: Cli) -> None:
    """The demo runs no task that is not its own."""
    folder, _ = done_demo
    error = cli.one_error("demo", str(cli.folder), "--url", f"sqlite:///{folder}/x.db", code=1)
    assert "there are no regular files under" in error
    (cli.folder / "a.txt").touch()
    url = f"sqlite:///{folder}/eventq-demo.db"
    error = cli.one_error("demo", str(cli.folder), "--url", url, code=1)
    assert f"holds the demo of {folder}/tree; choose another" in error
    cli.ok("new", "path=a.txt")
    mine = ["--url", cli.url, "--namespace", "default"]
    error = cli.one_error("demo", str(cli.folder), *mine, code=1)

    assert "holds tasks that are not the demo's" in error
    assert cli.row("stats")["seq"] == 1


def test_ctrl_c_then_again_goes_on(tmp_path: Path) -> None:
    """The first Ctrl-C ends it in order and says how to go on; the next run does the rest."""
    make_plain_tree(tmp_path, 30)
    words = ["demo", "tree", "--workers", "1", "--fail-share", "0"]
    with started(*words, "--pace", "200ms", folder=tmp_path) as process:
        until(lambda: completed_count(tmp_path) > 0, "some task is done")
        process.send_signal(signal.SIGINT)
        code, output, errors = ended(process)
    before = completed_count(tmp_path)
    form = summary(finished(*words, "--json", folder=tmp_path))

    assert code == 128 + signal.SIGINT
    assert "to go on, run it again" in errors
    assert "demo tree --workers 1" in errors
    assert "Summary" not in output
    assert 0 < before < 58
    assert (form["completed"], form["expired"], form["done_now"]) == (58, 1, 59 - before)
    # Stopping in order burns no attempt: only the one that never succeeds has failed.
    assert form["failures"] == FAILED_ATTEMPTS


def test_kill_9_then_again_goes_on(tmp_path: Path) -> None:
    """What the killed process held is done once its leases have lapsed, which is said."""
    make_plain_tree(tmp_path, 20)
    words = ["demo", "tree", "--workers", "2", "--fail-share", "0"]
    with started(*words, "--pace", "1s", folder=tmp_path) as process:
        until(lambda: completed_count(tmp_path) > 0, "some task is done")
        process.kill()
        process.wait()
    done = finished(*words, "--json", folder=tmp_path)
    form = summary(done)

    assert "another process holds leases" in done.stderr
    assert (form["completed"], form["expired"], form["tasks"]) == (38, 1, 39)
    # At least one attempt was cut off, and counts as failed.
    assert form["failures"] > FAILED_ATTEMPTS


def test_a_file_that_vanishes_does_not_stop_the_demo(tmp_path: Path) -> None:
    """It fails for real, for good by its rule, and is told of at the end."""
    root = make_plain_tree(tmp_path, 3)
    # The largest comes last, so there is time to take it away.
    (root / "gone").write_bytes(b"x" * 2_000_000)
    words = ["demo", "tree", "--workers", "1", "--fail-share", "0", "--json", "--pace", "1s"]
    with started(*words, folder=tmp_path) as process:
        until(lambda: completed_count(tmp_path) > 0, "some task is done")
        (root / "gone").unlink()
        code, output, _ = ended(process)
    form = json.loads(output)

    assert code == 0
    assert (form["completed"], form["expired"]) == (4, 2)
    assert "hash:gone" in form["expired_keys"]
    assert form["failures"] == FAILED_ATTEMPTS + 1


def test_the_display_is_live_and_safe(tmp_path: Path) -> None:
    """A terminal sees totals, what runs, failures; odd names are escaped, the cursor comes back."""
    (tmp_path / "tree").mkdir()
    for number in range(8):
        (tmp_path / "tree" / f"{number}\x1b]0;owned\x07\u202e[bold]:smile:").touch()
    words = ["demo", "tree", "--fail-share", "0.5", "--pace", "100ms", "--workers", "2"]
    code, received = on_terminal(*words, folder=tmp_path)

    assert code == 0
    assert [bad for bad in FORBIDDEN if bad in received] == []
    assert "\\x1b]0;owned\\x07" in received
    assert "[bold]:smile:" in received
    for said in ("running now", "to be retried", "completed ", "log verified", "Try next:"):
        assert said in received
    assert received.rfind("\x1b[?25h") > received.rfind("\x1b[?25l")


def test_the_database_under_the_tree_is_no_part_of_it(tmp_path: Path) -> None:
    """`eventq demo .` does not read its own database, or what stands beside it."""
    for number in range(3):
        (tmp_path / f"{number}.txt").touch()
    finished("demo", ".", "--fail-share", "0", folder=tmp_path)
    form = summary(finished("demo", ".", "--fail-share", "0", "--json", folder=tmp_path))

    assert form["tasks"] == 5


def test_limit_files_takes_the_first(tmp_path: Path) -> None:
    """By path, as bytes; the environment's URL is left alone."""
    make_plain_tree(tmp_path, 5)
    form = summary(
        finished(
            "demo",
            "tree",
            "--limit-files",
            "2",
            "--json",
            folder=tmp_path,
            EVENTQ_URL="sqlite:///q",
        )
    )

    assert form["tasks"] == 3
    assert form["url"] == "sqlite:///eventq-demo.db"
    assert not (tmp_path / "q").exists()
    assert {task.tags["path"] for task in tasks(tmp_path).values()} == {
        "file-00.txt",
        "file-01.txt",
    }
