"""What isolated attempts tell, keep and make: as in any other attempt."""

from __future__ import annotations

from eventq import Queue
from eventq.core.events import Completed, Noted
from tests.checker import check_log
from tests.runner import isolated
from tests.support import final, running, wait_until


def test_an_isolated_attempt_tells_saves_and_makes_tasks() -> None:
    """Over its pipe: the value reaches the next attempt, the child comes with the completion."""
    with Queue("memory://", workers=1, backoff=0, handlers=[isolated.handlers]) as queue:
        queue.new(isolated.tells)
        queue.run(until="idle", names=["tells"])
        check_log(queue.log)
        history = queue.history("1")
        lines = [line.text for e in history if isinstance(e.body, Noted) for line in e.body.lines]
        child = final(queue, "child")

        assert final(queue, "1").result == {"attempt": 1}
        assert lines == ["attempt 1", "attempt 2"]
        assert isinstance(history[-1].body, Completed)
        assert (history[-1].body.made, child.number) == (1, history[-1].seq + 1)
        assert child.tags == {"from": "a process"}


def test_the_last_word_is_told_while_the_attempt_goes_on() -> None:
    """Also one that comes right behind another, with no word behind it for long."""
    with Queue("memory://", workers=1, handlers=[isolated.handlers]) as queue:
        task = isolated.tells_in_a_row.new()
        with running(queue, None):
            wait_until(lambda: getattr(final(queue, task.key).progress, "done", None) == 2)

        assert [e.kind for e in queue.history(task.key)][-1] == "released"
