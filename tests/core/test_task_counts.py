"""What a task counts of its attempts: lapses in a row, and snoozes."""

from __future__ import annotations

from msgspec.structs import replace

from eventq.core.commits import AnyBody, Unknown
from eventq.core.events import Expired, Failed, Leased, Released, Retried
from eventq.core.moves import fold_history
from tests.core.test_task import CREATED, ERROR, LAPSE, REOPENING


def test_lapses_are_counted_in_a_row_and_snoozes_in_all() -> None:
    """Any other outcome begins the row anew; a reopened task keeps its snoozes alone."""
    history: list[tuple[int, int, AnyBody | Unknown]] = [CREATED]

    def counted(*ends: AnyBody) -> tuple[int, int]:
        for end in ends:
            history.append((len(history) + 1, 20, end))
        task = fold_history("ns", history)
        assert task is not None
        return task.lapses, task.snoozes

    assert counted(Leased(1, "n", 1), Failed(2, LAPSE), Retried(20)) == (1, 0)
    assert counted(Leased(2, "n", 1), Failed(5, LAPSE), Retried(20)) == (2, 0)
    assert counted(Leased(3, "n", 1), Released(8, "busy", 30)) == (0, 1)
    assert counted(Leased(3, "n", 1), Failed(10, LAPSE), Retried(30)) == (1, 1)
    assert counted(Leased(4, "n", 1), Failed(13, ERROR), Retried(30)) == (0, 1)
    assert counted(Leased(5, "n", 1), Failed(16, LAPSE), Expired("max_lapses")) == (1, 1)
    reopening = replace(REOPENING, was="expired", snoozes=1)
    assert counted(Retried(20, reopening)) == (0, 1)
