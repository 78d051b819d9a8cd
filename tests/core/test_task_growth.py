"""A task that an event of a newer eventq is about: left alone, and its end is believed."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from eventq.core.commits import AnyBody, Unknown
from eventq.core.events import Leased
from eventq.core.moves import change, fold_history
from eventq.core.task import (
    FINAL,
    Ending,
    Rarity,
    TaskState,
)
from tests.core.test_task import BODIES, RECORDED, task_in


@pytest.mark.parametrize("state", sorted(set(RECORDED) - FINAL - {TaskState.UNKNOWN}))
def test_a_newer_kind_makes_an_open_task_unknown(state: TaskState) -> None:
    """Nobody here knows where it stands, so nobody holds it; the event is named."""
    task = task_in(state)

    changed = change(task, 9, 70, Unknown("muted", "{}"))

    assert changed == replace(
        task,
        recorded_state=TaskState.UNKNOWN,
        fence=0,
        worker=None,
        rarity=Rarity(newer=(9, "muted")),
    )
    assert changed.newer == (9, "muted")
    assert change(changed, 10, 71, Unknown("frozen", "{}")) is changed


@pytest.mark.parametrize("state", sorted(FINAL))
def test_a_newer_kind_leaves_an_end_that_is_known(state: TaskState) -> None:
    """The task has ended as was said, and that it is touched is kept."""
    changed = change(task_in(state), 9, 70, Unknown("praised", "{}"))

    assert changed == replace(task_in(state), rarity=Rarity(newer=(9, "praised")))


@pytest.mark.parametrize("kind", BODIES)
def test_an_unknown_task_is_left_by_its_end_alone(kind: str) -> None:
    """What else follows tells nothing about where it stands, and is no damage."""
    task = task_in(TaskState.UNKNOWN)

    changed = change(task, 9, 70, BODIES[kind])

    if kind in FINAL:
        assert changed.recorded_state == kind
        assert changed.ending is not None
        assert changed.ending.at_us == 70
        assert changed.newer == (8, "muted")
    else:
        assert changed is task


@pytest.mark.parametrize("kind", BODIES)
def test_what_follows_an_end_that_is_touched_is_not_guessed(kind: str) -> None:
    """A newer eventq may have brought it back: only another end is believed."""
    ended = task_in(TaskState.EXPIRED, ending=Ending(60, reason="fatal"))
    touched = change(ended, 8, 65, Unknown("revived", "{}"))

    changed = change(touched, 9, 70, BODIES[kind])

    assert changed.recorded_state == (kind if kind in FINAL else "unknown")
    assert changed.newer == (8, "revived")


def test_a_task_that_only_a_newer_eventq_knows_is_none() -> None:
    """It was made by an event of an unknown kind, and is no damage."""
    history: list[tuple[int, int, AnyBody | Unknown]] = [
        (1, 10, Unknown("imported", "{}")),
        (2, 11, Leased(1, "n", 1)),
    ]

    assert fold_history("ns", history) is None
