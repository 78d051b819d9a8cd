"""Changes to many tasks in the way of others: of archives, of each other, of a log that is shut."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from eventq import LogArchivedError, Queue
from eventq.archive import archive_events, delete_archived, find_end
from eventq.catalog.catalog import Catalog
from eventq.catalog.plan import Applied, Plan
from eventq.core.bulk import BeginBulk, ChangePortion
from eventq.eventlog import open_log
from eventq.replay.points import Point
from tests.catalog.many import FAILED, filled
from tests.checker import check_log
from tests.support import ManualClock, node_of

ROOT = Path(__file__).parent.parent.parent
TASKS = 200
# Without the rights of root: what can be looked for in a log that may only be read, and changed.
UNPRIVILEGED = """
import os, sys
from eventq import EventqError, Queue
from eventq.catalog import catalog, checksums
checksums.is_checked()
if os.geteuid() == 0:
    os.setgroups([]), os.setgid(65534), os.setuid(65534)
with Queue(sys.argv[1], create=False) as queue:
    plan = queue.select(state="expired").retry()
    print(plan.count, plan.source, queue.find(state="expired").source, flush=True)
    for change in (plan.apply, queue.undo(int(sys.argv[2])).apply):
        try:
            change()
        except EventqError as error:
            print(type(error).__name__)
"""


@pytest.fixture
def stored(tmp_path: Path, clock: ManualClock) -> Iterator[Queue]:
    """The tasks of `many.filled` in a file."""
    with Queue(f"sqlite:///{tmp_path}/a.db", clock=clock) as queue:
        filled(queue)
        yield queue


def cut(queue: Queue, folder: Path) -> None:
    """Archives all that the log holds, and deletes it there."""
    with closing(open_log(queue.url)) as log:
        head = log.head()
        until = find_end(log, Point(head.seq, head.at))
        archive_events(log, folder, until=until)
        delete_archived(log, folder, until=until, now=head.at)


def begin(queue: Queue, plan: Plan) -> int:
    """Makes the first task of a change, and breaks off; returns its number."""
    node, wanted = node_of(queue), plan._wanted
    number = node.execute(BeginBulk(wanted)).first
    node.execute(ChangePortion(number, wanted, tuple(plan._found.pairs[:1])))
    return number


def test_a_plan_that_is_older_than_the_archive_s_cut_changes_nothing(
    stored: Queue, tmp_path: Path
) -> None:
    """What its tasks are is not in the log any more; with the archive's folder it is."""
    plan = stored.select(**FAILED).retry()
    cut(stored, tmp_path / "old")
    done = plan.apply()
    with Queue(stored.url, archive=tmp_path / "old") as whole:
        again = whole.select(**FAILED).retry().apply()

    assert (done.changed, [each.number for each in done.moved_on]) == (0, [1, 3, 5])
    assert {each.why for each in done.moved_on} == {
        "its events are archived: name the archive's folder"
    }
    assert again.changed == 3


def test_a_change_that_was_archived_is_finished_with_the_archive(
    stored: Queue, tmp_path: Path
) -> None:
    """Without its folder the error names it; what was changed before is not changed again."""
    number = begin(stored, stored.select(**FAILED).retry())
    cut(stored, tmp_path / "old")
    for refused in (stored.finish_bulk, stored.undo):
        with pytest.raises(LogArchivedError, match="name the archive's folder"):
            refused(number)
    with Queue(stored.url, archive=tmp_path / "old") as whole:
        done = whole.finish_bulk(number)

        assert (done.changed, done.moved_on) == (3, [])
        assert [e.kind for e in whole.history("1")].count("retried") == 1
        check_log(whole.log)


def test_a_change_whose_tasks_were_archived_is_finished_with_the_archive(
    stored: Queue, tmp_path: Path
) -> None:
    """Also where the log still holds the change itself: it is not damaged."""
    plan = stored.select(**FAILED).retry()
    cut(stored, tmp_path / "old")
    number = begin(stored, plan)
    with pytest.raises(LogArchivedError, match="name the archive's folder"):
        stored.finish_bulk(number)
    with Queue(stored.url, archive=tmp_path / "old") as whole:
        assert whole.finish_bulk(number).changed == 3
        check_log(whole.log)


def test_a_preview_by_the_catalog_waits_for_no_fold(
    stored: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A log of millions of events takes its time to be folded; the catalog has done so."""
    with closing(Catalog.open(stored.log)) as catalog:
        catalog.catch_up()

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("folded")

    with Queue(stored.url) as queue, monkeypatch.context() as patch:
        patch.setattr("eventq.replay.fold.catch_up", refuse)
        patch.setattr("eventq.node.folded_log.FoldedLog.catch_up", refuse)
        plan = queue.select(**FAILED).retry()

    assert (plan.count, plan.source) == (3, "catalog")


def test_of_two_plans_about_the_same_tasks_each_is_changed_by_one(queue: Queue) -> None:
    """At once, each by a thread; what the other has changed has moved on."""
    plans = [queue.select(**FAILED).retry() for _ in range(4)]
    done: list[Applied] = []
    threads = [threading.Thread(target=lambda p=plan: done.append(p.apply())) for plan in plans]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sum(each.changed for each in done) == 3
    assert sum(len(each.moved_on) for each in done) == 9
    assert [[e.kind for e in queue.history(k)].count("retried") for k in "135"] == [1, 1, 1]


def test_two_processes_that_finish_one_change_make_it_once(tmp_path: Path) -> None:
    """At once, in small commits; each task is changed by one of them."""
    url = f"sqlite:///{tmp_path}/queue.db"
    with Queue(url) as queue:
        queue.new_many([{"n": n} for n in range(TASKS)])
        queue.select(state="ready").cancel().apply()
        number = begin(queue, queue.select(state="cancelled").retry())
        words = [sys.executable, "-m", "tests.catalog.killed", url, str(number)]
        processes = [subprocess.Popen(words, cwd=ROOT) for _ in range(2)]

        assert [process.wait() for process in processes] == [0, 0]
        retried = Counter(e.task for e in queue.events(after=number) if e.kind == "retried")
        assert (len(retried), set(retried.values())) == (TASKS, {1})
        check_log(queue.log)


def test_a_log_that_may_only_be_read_is_not_changed(clock: ManualClock) -> None:
    """Plans are made, by the log where the catalog is for its owner; a typed error ends it."""
    with tempfile.TemporaryDirectory() as name:
        folder, path = Path(name), Path(name) / "a.db"
        folder.chmod(0o777)
        with Queue(f"sqlite:///{path}", clock=clock) as queue:
            filled(queue)
            number = queue.select(name="now").cancel().apply().id
            head = queue.log.head()
            with closing(Catalog.open(queue.log)) as catalog:
                catalog.catch_up()
        path.chmod(0o444)
        words = [sys.executable, "-c", UNPRIVILEGED, f"sqlite:///{path}", str(number)]
        found = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
        folder.chmod(0o700)

        assert found.stdout.split() == ["3", "log", "log", *["LogUnavailableError"] * 2]
        assert "a catalog cannot be used" in found.stderr
        with closing(open_log(f"sqlite:///{path}")) as log:
            assert log.head() == head
