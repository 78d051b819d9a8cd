"""Changes to many tasks and undos that say something else than their events do are found."""

from __future__ import annotations

import uuid
from collections.abc import Callable

import pytest

from eventq import Queue
from eventq.core.seal import seal_commit
from eventq.eventlog import EventLog, open_log
from eventq.verify.verifier import verify
from tests.checker import check_log
from tests.driver import append_texts
from tests.tools.histories import raw_commits
from tools.history.checker import Checker


def story() -> EventLog:
    """Two tasks are cancelled at once, and that is taken back."""
    with Queue(f"memory://{uuid.uuid4().hex}") as queue:
        queue.new_many([{"n": 1}, {"n": 2}, {"n": 3}], priority=1)
        done = queue.select(number=[1, 2]).cancel().apply(reason="why")
        queue.undo(done.id).apply()
        return told_again(queue.log, lambda _seq, text: text)


def told_again(log: EventLog, change: Callable[[int, str], str]) -> EventLog:
    """The same log with other bodies, well sealed."""
    copy = open_log(f"memory://{uuid.uuid4().hex}")
    prev = log.start().seal
    for commit in log.read(after=0):
        bodies = [change(seq, text) for seq, text in enumerate(commit.bodies, commit.first)]
        again = seal_commit(
            commit_id=commit.id,
            first=commit.first,
            at=commit.at,
            prev=prev,
            tasks=commit.tasks,
            keys=commit.keys,
            bodies=bodies,
        )
        copy.append(again)
        prev = again.seal
    return copy


def test_what_may_be_skipped_moves_no_task_on() -> None:
    """An event of a newer eventq that says so is no last event, for nobody."""
    with Queue(f"memory://{uuid.uuid4().hex}") as queue:
        queue.new_many([{"n": 1}, {"n": 2}])
        append_texts(queue.log, [1], '{"kind":"seen","skip":true}')
        done = queue.select(number=[1, 2]).cancel().apply()
        append_texts(queue.log, [2], '{"kind":"seen","skip":true}')
        undone = queue.undo(done.id).apply()

        assert (done.changed, undone.changed) == (2, 2)
        check_log(queue.log)


@pytest.mark.parametrize(
    "old, new",
    [
        ('"changed":2', '"changed":1'),
        ('"count":2', '"count":3'),
        ('"digest":"', '"digest":"00'),
        ('"action":"cancel"', '"action":"retry"'),
        ('"bulk":4', '"bulk":3'),
        ('"undoes":5', '"undoes":1'),
        ('"scheduled_at":', '"scheduled_at":1'),
    ],
)
def test_what_does_not_fit_is_found(old: str, new: str) -> None:
    """By the verifier and by the checker that shares nothing with it."""
    log = story()
    other = told_again(log, lambda seq, text: text.replace(old, new) if seq > 3 else text)
    checker = Checker(log.namespace)
    for commit in raw_commits(other):
        checker.add(commit)

    assert verify(log).findings == ()
    assert {"bulk", "undo"} & {finding.rule for finding in verify(other).findings}
    assert any(finding.invariant == 20 for finding in checker.finish())


@pytest.mark.parametrize(
    "seq, old, new",
    [
        (2, ',"secret":["t"]', ""),
        (2, '"secret":["t"]', '"secret":["t","n"]'),
        (3, '"priority":', '"secret":["t"],"priority":'),
        (5, ',"secret":["t"]', ""),
    ],
)
def test_what_a_task_calls_secret_stays_so(seq: int, old: str, new: str) -> None:
    """An edit, or what brings the task back, that says otherwise is found by both."""
    with Queue(f"memory://{uuid.uuid4().hex}") as queue:
        queue.new({"t": "x", "n": 1}, key="one", secret=["t"])
        queue.update("one", tags={"t": "y", "n": 2})
        queue.update("one", priority=3)
        queue.cancel("one")
        queue.retry("one")
        queue.undo(2).apply()
        log = told_again(queue.log, lambda _seq, text: text)
    other = told_again(log, lambda at, text: text.replace(old, new) if at == seq else text)
    checker = Checker(log.namespace)
    for commit in raw_commits(other):
        checker.add(commit)

    check_log(log)
    found = verify(other, limit=9).findings
    assert [(each.seq, each.rule) for each in found][:1] == [(seq, "secret" if seq < 5 else "move")]
    assert any(finding.invariant == 4 and finding.seq == seq for finding in checker.finish())
