"""Copying a log from every kind to every kind: byte-true, resumed, and from a source in use."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from itertools import pairwise, product
from typing import Any

import pytest

from eventq import Queue
from eventq.archive.copy import CopyReport, copy_log
from eventq.errors import LogForeignError
from eventq.eventlog import EventLog, open_log
from eventq.replay.fold import replay
from tests.archive.copying.logs import KINDS, NewUrl, fill, path_of
from tests.archive.logs import Opener
from tests.eventlog.commits import append, append_each, everything


class Stopped(Exception):  # noqa: N818 - nothing is wrong
    """Breaks a copy off where a test wants it."""


def report_of(log: EventLog, *, resumed_at: int = 0) -> CopyReport:
    """What a copy of the whole log must report."""
    head = log.head()
    return CopyReport(resumed_at, head.seq - resumed_at, head.seq, head.seal.hex())


def stop_after(commits: int) -> Callable[[int, int], None]:
    """A progress call that breaks the copy off after so many commits."""
    calls: list[int] = []

    def progress(done: int, _: int) -> None:
        calls.append(done)
        if len(calls) == commits:
            raise Stopped

    return progress


# -- byte-true -----------------------------------------------------------------------------------


@pytest.mark.parametrize("source, target", list(product(KINDS, KINDS)))
def test_copy_is_byte_true(new: NewUrl, opened: Opener, source: str, target: str) -> None:
    """Ids, positions, instants, seals, tasks, keys, bodies and what they fold to are the same."""
    before, after = opened(new(source)), opened(new(target))
    fill(before.url)

    report = copy_log(before, after)

    commits = everything(before)
    assert everything(after) == commits
    assert [list(commit.keys) for commit in everything(after)] == [list(c.keys) for c in commits]
    assert report == report_of(before) == report_of(after)
    assert replay(after).counts == replay(before).counts
    assert after.find_keys(["$where", "schlüssel:1"]) == before.find_keys(["$where", "schlüssel:1"])
    assert after.history(3) == before.history(3) != []


@pytest.mark.parametrize("target", ["sqlite", "mongo"])
def test_copy_is_a_queue(new: NewUrl, opened: Opener, target: str) -> None:
    """Work goes on at the target as it would have at the source."""
    before, url = opened(new("memory")), new(target)
    fill(before.url)
    copy_log(before, opened(url))

    with Queue(url, max_retries=0, workers=1) as queue:
        task = queue.new({"n": 98}, key="schlüssel:1")
        queue.retry("$where")
        report = queue.run(lambda _context, _task: None, until="idle")

    assert task.number == 13
    assert report.completed >= 1
    assert everything(opened(url))[: len(everything(before))] == everything(before)


def test_copy_through_all_kinds_and_back(new: NewUrl, opened: Opener) -> None:
    """After SQLite, MongoDB, a file and memory the log is what it was."""
    logs = [opened(new(kind)) for kind in ["sqlite", "mongo", "file", "memory", "sqlite"]]
    fill(logs[0].url)

    for before, after in pairwise(logs):
        copy_log(before, after)

    assert everything(logs[-1]) == everything(logs[0])


def test_two_files_of_one_log_are_equal(new: NewUrl, opened: Opener) -> None:
    """A file's bytes depend on the log alone, not on the way it came there."""
    before, urls = opened(new("sqlite")), [new("file"), new("file")]
    fill(before.url)

    copy_log(before, opened(urls[0]))
    copy_log(opened(new_copy(before, new, opened)), opened(urls[1]))

    first, second = (path_of(url).read_bytes() for url in urls)
    assert first == second


def new_copy(before: EventLog, new: NewUrl, opened: Opener) -> str:
    """The URL of a copy in MongoDB."""
    url = new("mongo")
    copy_log(before, opened(url))
    return url


@pytest.mark.parametrize("target", KINDS)
def test_empty_log_and_copy_of_all_of_it(new: NewUrl, opened: Opener, target: str) -> None:
    """A copy of nothing, and a copy of what is there already, append nothing."""
    before, after = opened(new("memory")), opened(new(target))
    nothing = copy_log(before, after)
    append_each(before, [1, 1_000, 3])

    copy_log(before, after)
    again = copy_log(before, after)

    assert nothing == CopyReport(0, 0, 0, after.read(after=0)[0].prev.hex())
    assert again == report_of(before, resumed_at=1_004)
    assert everything(after) == everything(before)


# -- in pieces -----------------------------------------------------------------------------------


@pytest.mark.parametrize("source, target", [*product(["memory"], KINDS), ("mongo", "sqlite")])
def test_copy_that_broke_off_goes_on(new: NewUrl, opened: Opener, source: str, target: str) -> None:
    """What was copied before the break stays, and the next copy says where it went on."""
    before, url = opened(new(source)), new(target)
    commits = append_each(before, [2, 40, 1, 7, 3])
    with closing(open_log(url)) as after, pytest.raises(Stopped):
        copy_log(before, after, progress=stop_after(3))

    report = copy_log(before, opened(url))

    assert report == report_of(before, resumed_at=43)
    assert everything(opened(url)) == commits


def test_torn_last_line_is_copied_again(new: NewUrl, opened: Opener) -> None:
    """Wherever a crash tears the last line of a file off, the next copy makes it whole."""
    before, url = opened(new("memory")), new("file")
    append_each(before, [1, 3, 2])
    copy_log(before, opened(url))
    whole = path_of(url).read_bytes()
    lines = whole.splitlines(keepends=True)
    ends = [len(lines[0]) + len(lines[1]), len(whole) - len(lines[-1])]

    for cut in [1, len(lines[0]) - 1, len(lines[0]), ends[0] + 1, ends[1] + 1, len(whole) - 1]:
        path_of(url).write_bytes(whole[:cut])
        copied = sum(cut >= sum(map(len, lines[: n + 1])) for n in (1, 2, 3))

        with closing(open_log(url)) as after:
            report = copy_log(before, after)

        assert report == report_of(before, resumed_at=[0, 1, 4, 6][copied])
        assert path_of(url).read_bytes() == whole


@pytest.mark.parametrize("source, target", [("sqlite", "file"), ("mongo", "sqlite")])
def test_source_that_grows(new: NewUrl, opened: Opener, source: str, target: str) -> None:
    """A copy ends where its source ended when it began; the next one takes the rest."""
    before, after = opened(new(source)), opened(new(target))
    append_each(before, [1, 2, 3])
    calls: list[tuple[int, int]] = []

    def progress(done: int, end: int) -> None:
        calls.append((done, end))
        append(before, 5)

    first = copy_log(before, after, progress=progress)
    second = copy_log(before, after)

    assert calls == [(1, 6), (3, 6), (6, 6)]
    assert (first.resumed_at, first.copied, first.seq) == (0, 6, 6)
    assert second == report_of(before, resumed_at=6)
    assert everything(after) == everything(before)


def test_source_in_use(new: NewUrl, opened: Opener) -> None:
    """Copies of a queue at work are beginnings of its log, and the last one is all of it."""
    url = new("sqlite")
    before, after = opened(url), opened(new("mongo"))
    with Queue(url, workers=2) as queue:
        queue.new_many([{"n": n} for n in range(50)])

        def work(_: object, task: Any) -> None:  # noqa: ANN401 - a Task
            if task.tags["n"] % 10 == 0:
                copy_log(before, after)

        queue.run(work, until="idle")
    copy_log(before, after)

    assert everything(after) == everything(before)


def test_somebody_else_appends_to_the_target(new: NewUrl, opened: Opener) -> None:
    """A target that is in use is refused, and keeps what it has."""
    before, url = opened(new("memory")), new("sqlite")
    append_each(before, [1, 1, 1])

    def progress(done: int, _: int) -> None:
        if done == 1:
            append(opened(url))

    with pytest.raises(LogForeignError, match="somebody else"):
        copy_log(before, opened(url), progress=progress)

    assert everything(opened(url))[0] == everything(before)[0]
    assert len(everything(opened(url))) == 2
