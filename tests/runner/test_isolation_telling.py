"""What isolated attempts tell, keep and make: as in any other attempt."""

from __future__ import annotations

from eventq import Queue
from eventq.core.events import Completed, Noted
from tests.checker import check_log
from tests.runner import isolated
from tests.support import final


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
