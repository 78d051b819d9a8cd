"""The task: every state against every kind, fences, and what a reader sees of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from msgspec import Raw
from msgspec.structs import replace

from eventq.core.commits import AnyBody, Unknown
from eventq.core.events import (
    Cancelled,
    Completed,
    Created,
    Expired,
    Failed,
    Leased,
    Refused,
    Released,
    Reopening,
    Retried,
    Updated,
)
from eventq.core.moves import MOVES, change, create, fold_history
from eventq.core.task import (
    FINAL,
    PLAIN_ROUTE,
    REOPENABLE,
    Ending,
    Rarity,
    Route,
    Task,
    TaskState,
)
from eventq.core.values import ErrorInfo, Policy
from eventq.errors import LogCorruptError

POLICY = Policy("linear", 10)
FENCE = 5
RECORDED = sorted(set(TaskState) - {TaskState.READY})
NEWER = Rarity(newer=(8, "muted"))
ERROR = ErrorInfo("OSError", "disk")
LAPSE = ErrorInfo("LeaseLapsed", "node n1 stopped renewing")
BODIES: dict[str, AnyBody] = {
    "leased": Leased(2, "n2", 30),
    "completed": Completed(FENCE, Raw(b'{"n":1}')),
    "failed": Failed(FENCE, ERROR),
    "released": Released(FENCE),
    "retried": Retried(90),
    "expired": Expired("max_retries"),
    "cancelled": Cancelled(reason="why"),
    "updated": Updated(7, Raw(b'{"b":"2"}'), 80),
}
# Written out by hand, so that a change of the table in the code has to be meant.
LEGAL = {
    ("waiting", "expired", "expired"),
    ("waiting", "cancelled", "cancelled"),
    ("waiting", "updated", "waiting"),
    ("scheduled", "leased", "leased"),
    ("scheduled", "expired", "expired"),
    ("scheduled", "cancelled", "cancelled"),
    ("scheduled", "updated", "scheduled"),
    ("leased", "completed", "completed"),
    ("leased", "failed", "failed"),
    ("leased", "released", "scheduled"),
    ("leased", "cancelled", "cancelled"),
    ("failed", "retried", "scheduled"),
    ("failed", "expired", "expired"),
    ("failed", "cancelled", "cancelled"),
}


def task_in(state: TaskState, **changes: object) -> Task:
    """A task in a recorded state, leased with FENCE where it is."""
    held = state is TaskState.LEASED
    task = create("default", 1, 50, Created(POLICY, "k", 3, Raw(b'{"a":"1"}'), 60, 200))
    return replace(
        task,
        recorded_state=state,
        attempt=1,
        fence=FENCE if held else 0,
        worker="n1" if held else None,
        rarity=NEWER if state is TaskState.UNKNOWN else None,
        **changes,
    )


@pytest.mark.parametrize("state", sorted(set(RECORDED) - {TaskState.UNKNOWN}))
@pytest.mark.parametrize("kind", BODIES)
def test_only_legal_moves_happen(state: TaskState, kind: str) -> None:
    """The full matrix: each move ends where it must, every other is damage."""
    moves = {(before, by): after for before, by, after in LEGAL}
    after = moves.get((str(state), kind))
    task = task_in(state)

    if after is None:
        with pytest.raises(LogCorruptError, match="position 9"):
            change(task, 9, 70, BODIES[kind])
    else:
        assert change(task, 9, 70, BODIES[kind]).recorded_state == after


def test_table_of_moves_is_the_one_written_here() -> None:
    """The table the docs draw says the same, plus what a retry by hand reopens."""
    table = {(str(state), kind) for kind, states in MOVES.items() for state in states}
    reopening = {(str(state), "retried") for state in REOPENABLE}

    assert table == {(before, kind) for before, kind, _ in LEGAL} | reopening
    assert {TaskState.COMPLETED, TaskState.EXPIRED, TaskState.CANCELLED} == FINAL


@pytest.mark.parametrize("state", RECORDED)
@pytest.mark.parametrize("body", [Refused(5, "n", "failed"), Unknown("sung", "{}", skip=True)])
def test_refused_and_skipped_change_nothing(state: TaskState, body: Refused | Unknown) -> None:
    """Evidence, and news from the future that decides nothing, leave every state as it is."""
    task = task_in(state)

    assert change(task, 9, 70, body) is task


@pytest.mark.parametrize("kind", ["completed", "failed", "released"])
@pytest.mark.parametrize("fence", [0, 4, 6])
def test_outcomes_must_carry_the_live_fence(kind: str, fence: int) -> None:
    """An outcome of another lease is damage, however near its fence is."""
    body = msgspec.structs.replace(BODIES[kind], fence=fence)

    with pytest.raises(LogCorruptError, match=f"fence {fence} of task 1 is not the live one, 5"):
        change(task_in(TaskState.LEASED), 9, 70, body)


def test_created_gives_every_field() -> None:
    """A new task holds what its event says."""
    body = Created(POLICY, "k", 3, Raw(b'{"a":"1"}'), 60, 200)

    task = create("ns", 4, 50, body)

    assert task == Task(
        number=4,
        namespace="ns",
        caller_key="k",
        priority=3,
        tags_json=b'{"a":"1"}',
        policy=POLICY,
        created_at_us=50,
        scheduled_at_us=60,
        expires_at_us=200,
        seen_at_us=50,
    )


def test_created_without_an_instant_is_ready_at_once() -> None:
    """No scheduled_at means the instant of the event itself."""
    task = create("ns", 4, 50, Created(POLICY))

    assert task.scheduled_at_us == 50
    assert task.state is TaskState.READY


@dataclass
class Effect:
    """One move, and the fields it sets; every other field must stay."""

    state: TaskState
    body: AnyBody
    sets: dict[str, object]


FREE = {"fence": 0, "worker": None}
EFFECTS = [
    Effect(
        TaskState.SCHEDULED,
        Leased(2, "n2", 30),
        {
            "recorded_state": "leased",
            "attempt": 2,
            "fence": 9,
            "worker": "n2",
            "started_at_us": 70,
        },
    ),
    Effect(
        TaskState.LEASED,
        Completed(FENCE, Raw(b"[1]"), "why"),
        {"recorded_state": "completed", "ending": Ending(70, b"[1]", "why"), **FREE},
    ),
    Effect(
        TaskState.LEASED,
        Completed(FENCE),
        {"recorded_state": "completed", "ending": Ending(70), **FREE},
    ),
    Effect(
        TaskState.LEASED,
        Failed(FENCE, ERROR),
        {"recorded_state": "failed", "last_error": ERROR, **FREE},
    ),
    Effect(
        TaskState.LEASED,
        Failed(FENCE, LAPSE),
        {"recorded_state": "failed", "last_error": LAPSE, "rarity": Rarity(lapses=1), **FREE},
    ),
    Effect(
        TaskState.FAILED,
        Retried(90),
        {"recorded_state": "scheduled", "retry_count": 1, "scheduled_at_us": 90},
    ),
    Effect(
        TaskState.FAILED,
        Expired("max_retries"),
        {"recorded_state": "expired", "ending": Ending(70, reason="max_retries")},
    ),
    Effect(
        TaskState.LEASED,
        Cancelled(reason="why"),
        {"recorded_state": "cancelled", "ending": Ending(70, reason="why"), **FREE},
    ),
    Effect(
        TaskState.LEASED, Released(FENCE), {"recorded_state": "scheduled", "attempt": 0, **FREE}
    ),
    Effect(
        TaskState.LEASED,
        Released(FENCE, "busy", 90),
        {
            "recorded_state": "scheduled",
            "attempt": 0,
            "scheduled_at_us": 90,
            "rarity": Rarity(snoozes=1),
            **FREE,
        },
    ),
    Effect(TaskState.SCHEDULED, Updated(7), {"priority": 7}),
    Effect(TaskState.SCHEDULED, Updated(0), {"priority": 0}),
    Effect(TaskState.SCHEDULED, Updated(tags=Raw(b'{"b":1}')), {"tags_json": b'{"b":1}'}),
    Effect(TaskState.SCHEDULED, Updated(scheduled_at=0), {"scheduled_at_us": 0}),
    Effect(TaskState.SCHEDULED, Updated(lane="mail"), {"route": Route(lane="mail")}),
    Effect(TaskState.SCHEDULED, Updated(lane="default"), {}),
]


@pytest.mark.parametrize(
    "effect", EFFECTS, ids=[f"{type(each.body).__name__}-{n}" for n, each in enumerate(EFFECTS)]
)
def test_a_move_sets_its_fields_and_no_other(effect: Effect) -> None:
    """What an event does is all it does, besides the instant of the view."""
    task = task_in(effect.state)

    changed = change(task, 9, 70, effect.body)

    assert changed == replace(task, seen_at_us=70, **effect.sets)


def test_a_task_never_changes() -> None:
    """Whoever holds a task may read it at leisure."""
    task = task_in(TaskState.SCHEDULED)
    before = replace(task)

    change(task, 9, 70, Leased(2, "n2", 30))

    assert task == before


@pytest.mark.parametrize(
    "seen_at, state", [(59, TaskState.SCHEDULED), (60, TaskState.READY), (61, TaskState.READY)]
)
def test_scheduled_and_ready_are_told_apart_by_time(seen_at: int, state: TaskState) -> None:
    """The instant itself is already ready."""
    assert task_in(TaskState.SCHEDULED).as_of(seen_at).state is state


def test_properties_read_as_documented() -> None:
    """Instants are aware datetimes, tags and results are decoded."""
    second = 1_000_000
    task = task_in(
        TaskState.LEASED,
        created_at_us=second,
        started_at_us=2 * second,
        seen_at_us=3 * second,
        ending=Ending(3 * second, b"[1]", "why", "gone"),
        route=Route("mail.send", "heavy", ("limits",)),
    )

    assert task.key == "k"
    assert task.state is TaskState.LEASED
    assert task.created_at == datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)
    assert task.scheduled_at == datetime(1970, 1, 1, 0, 0, 0, 60, tzinfo=UTC)
    assert task.expires_at == datetime(1970, 1, 1, 0, 0, 0, 200, tzinfo=UTC)
    assert task.age == timedelta(seconds=2)
    assert task.tags == {"a": "1"}
    assert task.started_at == datetime(1970, 1, 1, 0, 0, 2, tzinfo=UTC)
    assert task.finished_at == datetime(1970, 1, 1, 0, 0, 3, tzinfo=UTC)
    assert task.result == [1]
    assert (task.result_missing, task.final_reason) == ("why", "gone")
    assert (task.name, task.lane, task.needs) == ("mail.send", "heavy", ("limits",))
    assert repr(task) == "<Task 'k' leased priority=3>"


def test_properties_of_a_bare_task() -> None:
    """What was not given is None, and the number is the key."""
    task = create("ns", 4, 50, Created(POLICY))

    assert task.key == "4"
    assert task.expires_at is None
    assert (task.started_at, task.finished_at) == (None, None)
    assert task.result is None
    assert task.tags == {}
    assert (task.name, task.lane, task.needs) == (None, "default", ())
    assert (task.lapses, task.snoozes, task.newer) == (0, 0, None)


def test_tags_are_the_readers_own() -> None:
    """Changing the tags one got changes no task."""
    task = task_in(TaskState.SCHEDULED)

    task.tags["a"] = "2"

    assert task.tags == {"a": "1"}


class Size(msgspec.Struct):
    """What tags may be turned into."""

    width: int
    name: str = "none"


@dataclass
class DataSize:
    """The same as a dataclass."""

    width: int


@pytest.mark.parametrize("into, expected", [(Size, Size(640)), (DataSize, DataSize(640))])
def test_parse_turns_text_into_types(into: type[object], expected: object) -> None:
    """The text 640 becomes an int where the type wants one."""
    task = replace(task_in(TaskState.SCHEDULED), tags_json=b'{"width":"640"}')

    assert task.parse(into) == expected


def test_parse_names_the_tag_that_does_not_fit() -> None:
    """The error points at the tag."""
    task = replace(task_in(TaskState.SCHEDULED), tags_json=b'{"width":"wide"}')

    with pytest.raises(msgspec.ValidationError, match="width"):
        task.parse(Size)


CREATED = (1, 10, Created(POLICY, "k", 3, Raw(b'{"a":1}')))
REOPENING = Reopening("cancelled", POLICY, 10, 1, "k", 3, Raw(b'{"a":1}'), 99, ERROR)


def test_history_of_nothing_is_no_task() -> None:
    """No events, no task."""
    assert fold_history("ns", []) is None


def test_history_leads_through_a_reopening() -> None:
    """A cancelled task comes back with its content, fresh retries and its last error."""
    task = fold_history(
        "ns",
        [
            CREATED,
            (2, 11, Leased(1, "n", 30)),
            (3, 12, Failed(2, ERROR)),
            (4, 12, Cancelled(reason="why")),
            (5, 20, Retried(20, REOPENING, by="me")),
        ],
    )

    assert task == Task(
        number=1,
        namespace="ns",
        caller_key="k",
        priority=3,
        tags_json=b'{"a":1}',
        policy=POLICY,
        created_at_us=10,
        scheduled_at_us=20,
        expires_at_us=99,
        seen_at_us=20,
        attempt=1,
        last_error=ERROR,
    )


def test_tasks_of_no_name_share_one_route() -> None:
    """Most tasks carry no more than a reference."""
    plain, named = Created(POLICY), Created(POLICY, name="a", lane="b", needs=("c",))

    assert create("ns", 4, 50, plain).route is PLAIN_ROUTE
    assert create("ns", 4, 50, named).route == Route("a", "b", ("c",))


@pytest.mark.parametrize(
    "rest",
    [
        [(2, 11, Retried(20, REOPENING))],
        [(2, 11, Created(POLICY))],
        [(2, 11, Cancelled()), (3, 12, Retried(20))],
        [(2, 11, Cancelled()), (3, 12, Leased(1, "n", 1))],
        [(2, 11, Leased(1, "n", 1)), (3, 12, Retried(20, REOPENING))],
        [(2, 11, Leased(1, "n", 1)), (3, 12, Completed(2)), (4, 13, Retried(9, REOPENING))],
        [
            (2, 11, Leased(1, "n", 1)),
            (3, 12, Failed(2, ERROR)),
            (4, 12, Retried(9, REOPENING)),
        ],
    ],
)
def test_a_history_that_cannot_be_is_damage(rest: list[tuple[int, int, AnyBody]]) -> None:
    """Only what is expired or cancelled is reopened, and nothing is created twice."""
    with pytest.raises(LogCorruptError):
        fold_history("ns", [CREATED, *rest])


def test_a_history_begins_with_created() -> None:
    """A task that nobody made is damage."""
    with pytest.raises(LogCorruptError, match="begins with cancelled"):
        fold_history("ns", [(1, 1, Cancelled())])
