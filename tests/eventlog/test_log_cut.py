"""What every log must keep about its beginning: starting, keeping rows, cutting."""

from __future__ import annotations

import pytest

from eventq.errors import (
    LogArchivedError,
    LogConflictError,
    LogCorruptError,
    LogForeignError,
)
from eventq.eventlog import EventLog, Head, Kept
from eventq.eventlog.mongo import log as mongo
from eventq.eventlog.mongo import retention as mongo_cut
from eventq.eventlog.mongo.log import MongoLog
from eventq.eventlog.sqlite import retention as sqlite_cut
from tests.driver import append_texts
from tests.eventlog.commits import EMPTY, Opener, append, by_place, commit_after, head_after

pytestmark = pytest.mark.usefixtures("_working")


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small steps, and nothing waits for the last minutes to settle."""
    monkeypatch.setattr(sqlite_cut, "CUT_EVENTS", 2)
    monkeypatch.setattr(mongo_cut, "CUT_COMMITS", 1)
    # The commits of these tests are of long ago.
    monkeypatch.setattr(mongo_cut, "SETTLED_S", 0.0)
    monkeypatch.setattr(mongo, "TRUSTED_S", 0.0)


def test_a_log_starts_before_its_first_event(log: EventLog) -> None:
    """As long as nothing was cut."""
    append(log, 3)

    assert log.start() == EMPTY
    assert log.find_kept([1, 2]) == {}


@pytest.mark.parametrize("left", [0, 1, 3])
def test_a_cut_leaves_the_end(log: EventLog, open_another: Opener, left: int) -> None:
    """Whole commits, their seals and positions; every log on it sees the same."""
    commits = [append(log, count) for count in (1, 2, 3, 1, 2)]
    until = head_after(commits[-1 - left])
    log.cut(until)

    for each in (log, open_another()):
        assert each.start() == until
        assert each.head() == head_after(commits[-1])
        assert each.read(after=until.seq) == commits[len(commits) - left :]
        assert each.history(1) == []
        assert each.namespaces() == ["default"]
        with pytest.raises(LogArchivedError) as caught:
            each.read(after=until.seq - 1)
        assert (caught.value.position, caught.value.start) == (until.seq, until.seq)


def test_appending_goes_on_behind_a_cut(log: EventLog) -> None:
    """At the next position, with the next seal, also when nothing is left."""
    last = append(log, 5)
    log.cut(head_after(last))
    commit = append(log, 2)

    assert commit.prev == last.seal
    assert log.read(after=5) == [commit]
    assert log.read(after=6) == [commit]
    assert log.read(after=7) == []


def test_cuts_are_repeated_and_go_on(log: EventLog) -> None:
    """The same cut again, or one before it, changes nothing."""
    first, second = append(log, 2), append(log, 2)
    log.cut(head_after(first))
    log.cut(head_after(first))
    log.cut(EMPTY)
    assert log.start() == head_after(first)
    log.cut(head_after(second))

    assert log.start() == head_after(second)


def test_a_cut_elsewhere_is_refused(log: EventLog) -> None:
    """Not at the end of a commit, not of this log, not beyond its end."""
    commit = append(log, 3)
    append(log)
    wrong = [Head(2, commit.at, commit.seal), Head(3, commit.at, bytes(32)), Head(9, 9, bytes(32))]

    for until in wrong:
        with pytest.raises(LogForeignError):
            log.cut(until)
    assert log.start() == EMPTY


def test_rows_are_kept_and_replaced(log: EventLog, open_another: Opener) -> None:
    """By task; keys are found as long as the log is there, and stay taken."""
    commits = [append(log, 1, keys={f"key-{n}": 0}) for n in range(3)]
    log.keep([Kept(n, 1, f"key-{n - 1}", f"state {n}") for n in (1, 2, 3)])
    log.keep([Kept(2, 3, "key-1", "état ✓")])
    log.cut(head_after(commits[-1]))

    for each in (log, open_another()):
        assert each.find_kept([2, 1, 7]) == {
            1: Kept(1, 1, "key-0", "state 1"),
            2: Kept(2, 3, "key-1", "état ✓"),
        }
        assert each.find_keys(["key-0", "key-2", "other"]) == {"key-0": 1, "key-2": 3}


def test_rows_without_a_key_hold_for_one_start(log: EventLog) -> None:
    """A later cut forgets what was not kept anew for it."""
    commits = [append(log) for _ in range(3)]
    log.keep([Kept(1, 1, None, "old"), Kept(2, 3, None, "new"), Kept(3, 1, "key", "old too")])
    log.cut(head_after(commits[-1]))

    assert set(log.find_kept([1, 2, 3])) == {2, 3}


def test_what_is_kept_never_goes_back(log: EventLog) -> None:
    """Who archives less at the same time, into another folder, takes nothing back."""
    commits = [append(log) for _ in range(4)]
    log.keep([Kept(1, 3, "a", "new"), Kept(2, 3, None, "new")])
    log.keep([Kept(1, 2, "a", "old"), Kept(2, 2, None, "old")])

    assert [row.state for row in log.find_kept([1, 2]).values()] == ["new", "new"]

    log.cut(head_after(commits[2]))
    log.keep([Kept(1, 2, "a", "old"), Kept(3, 2, None, "final since")])

    assert log.find_kept([1, 2, 3]) == {1: Kept(1, 3, "a", "new"), 2: Kept(2, 3, None, "new")}


def test_a_start_never_goes_back(log: EventLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where another cut comes between the check of one and its writing."""
    commits = [append(log) for _ in range(3)]
    if isinstance(log, MongoLog):
        check = log.retention.check_end

        def check_late(until: Head) -> None:
            check(until)
            monkeypatch.undo()
            monkeypatch.setattr(mongo_cut, "SETTLED_S", 0.0)
            log.cut(head_after(commits[1]))

        monkeypatch.setattr(log.retention, "check_end", check_late)
    log.cut(head_after(commits[0]))
    log.cut(head_after(commits[1]))

    assert log.start() == head_after(commits[1])
    assert log.read(after=2) == [commits[2]]


def test_many_rows_are_kept(log: EventLog) -> None:
    """More than one statement holds."""
    append(log)
    rows = [Kept(n, 1, None if n % 2 else f"k{n}", "x" * 50) for n in range(1, 2_500)]
    log.keep(rows)

    assert log.find_kept([row.task for row in rows]) == {row.task: row for row in rows}


def test_namespaces_are_cut_by_themselves(open_another: Opener) -> None:
    """What is cut from one is not missing in another."""
    one, other = open_another(), open_another("other")
    kept = append(other, 3)
    one.cut(head_after(append(one, 3)))

    assert other.start().seq == 0
    assert other.read(after=0) == [kept]


def test_a_kept_key_is_refused_where_one_writer_appends(
    log: EventLog,
    one_writer: bool,  # noqa: FBT001 - a fixture
) -> None:
    """Where appends can look, a key that was archived is still taken."""
    last = append(log, 1, keys={"a": 0})
    log.keep([Kept(1, 1, "a", "state")])
    log.cut(head_after(last))
    if not one_writer:
        pytest.skip("found by `find_keys`, at the same position")

    with pytest.raises(LogConflictError):
        log.append(commit_after(log.head(), keys={"a": 0}))


def test_a_log_that_lost_its_beginning_is_damaged(
    log: EventLog, request: pytest.FixtureRequest, log_name: str
) -> None:
    """Only a cut may take it; anything else that does is told as damage."""
    if log_name != "sqlite":
        pytest.skip("by hand, in SQLite")
    import apsw  # noqa: PLC0415

    append(log, 2)
    append(log, 2)
    with apsw.Connection(str(request.getfixturevalue("path"))) as connection:
        connection.execute("DROP TRIGGER events_no_delete")
        connection.execute(by_place("DELETE FROM events WHERE seq < 3"))

    for after in (0, 2):
        with pytest.raises(LogCorruptError):
            log.read(after=after)


def test_the_guards_are_back_after_a_cut(
    log: EventLog, request: pytest.FixtureRequest, log_name: str
) -> None:
    """In SQLite nobody deletes events by hand, before a cut or after it."""
    if log_name != "sqlite":
        pytest.skip("of SQLite")
    import apsw  # noqa: PLC0415

    log.cut(head_after(append(log, 2)))
    append(log, 2)
    with (
        apsw.Connection(str(request.getfixturevalue("path"))) as connection,
        pytest.raises(apsw.ConstraintError, match="append-only"),
    ):
        connection.execute("DELETE FROM events")

    assert len(log.read(after=2)) == 1


def test_what_was_cut_is_caused_no_more(log: EventLog) -> None:
    """The index of causes tells what the log still holds."""
    first = append_texts(log, [11], '{"kind":"cancelled","cause":7}')
    append_texts(log, [12], '{"kind":"cancelled","cause":7}')

    log.cut(Head(first.last, first.at, first.seal))

    assert log.caused_by([7]) == {7: [12]}
