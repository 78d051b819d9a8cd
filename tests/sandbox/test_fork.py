"""A fork: the past up to a point, byte-true, that can be worked on; the source stays as it was."""

from __future__ import annotations

from contextlib import closing
from itertools import product
from pathlib import Path

import pytest

from eventq import ArgumentError, Cancel, LogCorruptError, LogForeignError, Queue
from eventq.eventlog import EventLog, open_log
from eventq.replay.points import Point, find_end, is_point
from eventq.sandbox import ForkReport, fork
from eventq.snapshot import projection_at
from tests.archive.conftest import opened
from tests.archive.copying.conftest import new
from tests.archive.copying.logs import KINDS, NewUrl, fill, path_of
from tests.archive.logs import Opener
from tests.eventlog.commits import append_each, everything
from tests.sandbox.trying import new_memory_url, read_only
from tests.support import ManualClock

__all__ = ["new", "opened"]


def ends_of(log: EventLog) -> list[int]:
    """Where the log's commits end."""
    return [commit.last for commit in everything(log)]


@pytest.mark.parametrize("source, target", list(product(KINDS, KINDS)))
def test_a_fork_is_the_past(new: NewUrl, opened: Opener, source: str, target: str) -> None:
    """The same commits up to the point, on every kind of log, and the same projection."""
    before, after = opened(new(source)), opened(new(target))
    fill(before.url)
    ends = ends_of(before)
    half = ends[len(ends) // 2]
    whole = everything(before)

    report = fork(before, Point(half, 0), after)

    commits = [commit for commit in whole if commit.last <= half]
    assert everything(after) == commits
    assert report == ForkReport(half, half, commits[-1].at, commits[-1].seal.hex())
    assert projection_at(after, Point(half, 0)).tasks == projection_at(before, Point(half, 0)).tasks
    assert everything(before) == whole


def test_a_point_inside_a_commit_takes_those_before() -> None:
    """Commits are all or none, and the report says what was asked and what was taken."""
    source = open_log(new_memory_url())
    append_each(source, [2, 3, 1])

    taken = []
    for seq in range(2, 7):
        target = open_log(new_memory_url())
        report = fork(source, Point(seq, 0), target)
        taken.append((report.asked, report.seq, target.head().seq))

    assert taken == [(2, 2, 2), (3, 2, 2), (4, 2, 2), (5, 5, 5), (6, 6, 6)]
    assert [find_end(source, Point(seq, 0)).seq for seq in range(7)] == [0, 0, 2, 2, 2, 5, 6]


def test_a_fix_is_tried_on_a_fork() -> None:
    """What failed in the source completes in the fork, and what ran then lapses and runs again."""
    clock = ManualClock()

    def fails(_ctx: object, _task: object) -> None:
        raise Cancel("broken")

    with Queue(new_memory_url(), clock=clock) as queue:
        queue.new(key="task")
        queue.run(fails, until="idle")
        log = read_only(queue.url)
    [leased] = [e.seq for e in log.history(1) if '"leased"' in e.body]
    clock.advance(3600)
    url = new_memory_url()

    fork(log, Point(leased, 0), open_log(url))
    with Queue(url, clock=clock) as queue:
        queue.run(lambda _ctx, _task: "fixed", until="idle")
        kinds = [event.kind for event in queue.history("task")]
        task = queue.get("task")

    assert kinds == ["created", "leased", "failed", "retried", "leased", "completed"]
    assert task is not None
    assert task.result == "fixed"
    assert [commit.last for commit in everything(log)][-1] == log.head().seq


def test_progress_is_told() -> None:
    """The position reached, and the last one of the fork, not of the source."""
    source = open_log(new_memory_url())
    append_each(source, [1, 2, 3])
    told: list[tuple[int, int]] = []

    fork(source, Point(3, 0), open_log(new_memory_url()), progress=lambda *at: told.append(at))

    assert told == [(1, 3), (3, 3)]


@pytest.mark.parametrize("namespace", ["default", "other"])
def test_a_target_that_holds_anything_is_refused(tmp_path: Path, namespace: str) -> None:
    """Also when it is a beginning of the source, and when it is in another namespace."""
    source = open_log(new_memory_url())
    append_each(source, [1, 2])
    url = f"sqlite:///{tmp_path}/target.db"
    with Queue(url, namespace=namespace) as queue:
        queue.new()
    with closing(open_log(url)) as target:
        before = everything(target)

        with pytest.raises(LogForeignError, match=f"here is: {namespace}"):
            fork(source, Point(1, 0), target)
        assert everything(target) == before


def test_a_log_is_not_forked_onto_itself() -> None:
    """By the same handle or another one."""
    source = open_log(new_memory_url())
    append_each(source, [1, 2])
    before = everything(source)

    for target in (source, open_log(source.url)):
        with pytest.raises(LogForeignError, match="begins a new log"):
            fork(source, Point(3, 0), target)
    assert everything(source) == before


def test_a_fork_keeps_its_namespace() -> None:
    """The seals cover the name, so another one is refused."""
    source = open_log(new_memory_url())
    append_each(source, [1])

    with pytest.raises(LogForeignError, match="namespace"):
        fork(source, Point(1, 0), open_log(new_memory_url(), namespace="other"))


@pytest.mark.parametrize("seq", [0, 1])
def test_a_fork_of_nothing_is_refused(seq: int) -> None:
    """Before the first commit has ended there is no past."""
    source = open_log(new_memory_url())
    append_each(source, [2])
    target = open_log(new_memory_url())

    with pytest.raises(ArgumentError, match="at least one commit"):
        fork(source, Point(seq, 0), target)
    assert target.namespaces() == []


def test_a_damaged_source_is_told(tmp_path: Path) -> None:
    """By position; what lies behind the point is not looked at."""
    url = f"file:///{tmp_path}/log.jsonl"
    with closing(open_log(url)) as log:
        append_each(log, [1, 1, 1])
    path = path_of(url)
    lines = path.read_text().splitlines(keepends=True)
    lines[-1] = lines[-1].replace('\\"n\\":0', '\\"n\\":9')
    path.write_text("".join(lines))

    with closing(open_log(url, create=False)) as source:
        with pytest.raises(LogCorruptError, match="position 3"):
            fork(source, Point(3, 0), open_log(new_memory_url()))
        assert fork(source, Point(2, 0), open_log(new_memory_url())).seq == 2


@pytest.mark.parametrize(
    "text, expected",
    [
        ("12", True),
        ("-12", True),
        ("end", True),
        ("-2h30m", True),
        ("2026-11-23T12:00:00Z", True),
        ("2026-11-23", True),
        ("host/db", False),
        ("yesterday", True),
        ("12:30", True),
        ("tomorrow", False),
        ("", False),
        ("-", False),
        ("12x", False),
    ],
)
def test_what_looks_like_a_point(text: str, expected: object) -> None:
    """By its form alone; an ambiguous instant has one, and is told when it is looked for."""
    assert is_point(text) is expected
