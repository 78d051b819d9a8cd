"""The log as a timeline: which events are shown, in what order, and from where to where."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest

from eventq import ArgumentError, Queue, Task, TaskNotFoundError
from eventq.audit.timeline import Moment, Sought, begin_before, timeline
from eventq.core.commits import KINDS
from eventq.core.task import instant
from eventq.eventlog import EventLog, open_log
from eventq.replay.points import PointLike
from eventq.replay.query import read_events
from tests.support import ManualClock, Spawned

URL = "memory://timeline"


@pytest.fixture(scope="module")
def clock() -> ManualClock:
    """The clock of the log, 10 s behind its last event."""
    return ManualClock()


@pytest.fixture(scope="module")
def log(clock: ManualClock) -> Iterator[EventLog]:
    """Pictures and films that are made, edited, cancelled, reopened and worked off by two nodes."""
    with Queue(URL, clock=clock, workers=1, max_retries=1, backoff=0) as queue:
        queue.new({"kind": "picture"}, key="a")
        clock.advance(10)
        queue.new({"kind": "film", "size": 3})
        queue.new({"kind": "picture"})
        clock.advance(10)
        queue.update("3", tags={"kind": "film"})
        queue.cancel("2")
        queue.retry("2")
        queue.run(worker, until="idle")
        clock.advance(10)
    with Queue(URL, clock=clock, workers=1) as other:
        other.new({"kind": "sound"})
        other.run(worker, until="idle")
        clock.advance(10)
        yield other.log


def worker(_: object, task: Task) -> None:
    """The film in the middle fails at first."""
    if task.number == 2 and task.attempt == 1:
        raise ValueError("broken")


def seqs(log: EventLog, **arguments: Any) -> list[int]:  # noqa: ANN401 - those of `timeline`
    """The positions that a timeline shows."""
    return [moment.event.seq for moment in timeline(log, **arguments)]


def of(log: EventLog, *numbers: int) -> list[int]:
    """The positions of some tasks' events."""
    return [event.seq for event in read_events(log, 0) if event.task in numbers]


def test_everything_is_shown_in_order(log: EventLog) -> None:
    """Without a wish each event comes once, with its task's key and the gap before it."""
    moments = list(timeline(log))

    assert [moment.event for moment in moments] == list(read_events(log, 0))
    assert [moment.gap_us for moment in moments] == [
        None,
        *(after.event.at - before.event.at for before, after in pairwise(moments)),
    ]
    for moment in moments:
        number = moment.event.task
        assert moment.key == {0: None, 1: "a"}.get(number, str(number))


@pytest.mark.parametrize("after", range(0, 20, 3))
def test_it_begins_and_ends_anywhere(log: EventLog, after: int) -> None:
    """Tasks that began before are known by their histories, so each part is a part of the whole."""
    whole = {moment.event.seq: moment.key for moment in timeline(log)}

    part = list(timeline(log, after=after, until=after + 5))

    wanted = {seq: key for seq, key in whole.items() if after < seq <= after + 5}
    assert {moment.event.seq: moment.key for moment in part} == wanted


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_by_kind(log: EventLog, kind: str) -> None:
    """Only events of the kind; two kinds add up."""
    wanted = [event.seq for event in read_events(log, 0) if event.kind == kind]
    created = [event.seq for event in read_events(log, 0) if event.kind == "created"]

    assert seqs(log, wanted=Sought(kinds=frozenset({kind}))) == wanted
    both = Sought(kinds=frozenset({kind, "created"}))
    assert seqs(log, wanted=both) == sorted({*wanted, *created})


def test_by_task(log: EventLog) -> None:
    """By key, number, or several, from anywhere."""
    assert seqs(log, wanted=Sought(keys=frozenset({"a"}))) == of(log, 1)
    both = Sought(keys=frozenset({"2", "a"}))
    assert seqs(log, wanted=both) == of(log, 1, 2)
    for after in of(log, 1, 2):
        wanted = [seq for seq in of(log, 1, 2) if after < seq <= after + 5]
        assert seqs(log, wanted=both, after=after, until=after + 5) == wanted


@pytest.mark.parametrize("key", ["b", "1", "0", "99", "٣", "x" * 255])
def test_an_unknown_task_is_told(log: EventLog, key: str) -> None:
    """Rather than an empty timeline; a task with a key of its own has no other."""
    with pytest.raises(TaskNotFoundError):
        seqs(log, wanted=Sought(keys=frozenset({"a", key})))


def test_by_tag(log: EventLog) -> None:
    """All events of the tasks that have the tag then, also right before it is taken away."""
    edited = next(event.seq for event in read_events(log, 0) if event.kind == "updated")
    pictures = [seq for seq in of(log, 1, 3) if seq in of(log, 1) or seq <= edited]
    films = [seq for seq in of(log, 2, 3) if seq in of(log, 2) or seq >= edited]

    assert seqs(log, wanted=Sought(tags={"kind": "picture"})) == pictures
    assert seqs(log, wanted=Sought(tags={"kind": "film"})) == films
    assert seqs(log, wanted=Sought(tags={"kind": "film"}), after=edited) == [
        seq for seq in films if seq > edited
    ]
    assert seqs(log, wanted=Sought(tags={"size": 3, "kind": "film"})) == of(log, 2)
    assert seqs(log, wanted=Sought(tags={"size": "3"})) == []


def test_by_node(log: EventLog) -> None:
    """What it leased, and how those leases ended, but nothing of another node."""
    events = list(read_events(log, 0))
    leases = {event.seq: event.body.worker for event in events if event.kind == "leased"}  # type: ignore[union-attr]
    first, second = leases[min(leases)], leases[max(leases)]
    wanted = [
        event.seq
        for event in events
        if leases.get(event.seq) == first or leases.get(getattr(event.body, "fence", 0)) == first
    ]

    assert first != second
    shown = seqs(log, wanted=Sought(worker=first))
    assert [seq for seq in shown if events[seq - 1].kind != "renewed"] == wanted
    assert seqs(log, wanted=Sought(worker="nobody")) == []


def test_all_wishes_are_met_together(log: EventLog) -> None:
    """Kind, task and tag narrow each other; the gap is to the one shown before."""
    wanted = Sought(
        kinds=frozenset({"created", "leased"}), keys=frozenset({"a", "2"}), tags={"kind": "film"}
    )
    shown = list(timeline(log, wanted=wanted))

    assert [moment.event.kind for moment in shown] == ["created", "leased", "leased"]
    assert {moment.event.task for moment in shown} == {2}
    assert shown[1].gap_us == 10_000_000


def test_where_a_timeline_begins(log: EventLog, clock: ManualClock) -> None:
    """A position and an instant are shown themselves; a count is how many are shown."""
    now, last = clock.now_us(), log.head().seq
    edited = next(event for event in read_events(log, 0) if event.kind == "updated")
    same_instant = min(event.seq for event in read_events(log, 0) if event.at == edited.at)
    ago_s = (now - edited.at) // 1_000_000
    begins: dict[PointLike, int] = {
        0: 1,
        "1": 1,
        7: 7,
        "7": 7,
        "-2": last - 1,
        -2: last - 1,
        "end": last + 1,
        instant(edited.at): same_instant,
        instant(edited.at).isoformat(): same_instant,
        f"-{ago_s}s": same_instant,
        timedelta(seconds=ago_s): same_instant,
    }

    for value, begin in begins.items():
        assert begin_before(log, value, now=now) == begin - 1, value
    with pytest.raises(ArgumentError, match="--from: expected a position like"):
        begin_before(log, "soon", now=now, argument="--from")


@pytest.mark.parametrize("keys", [frozenset[str](), frozenset({"late"})])
def test_following_shows_what_is_appended(keys: frozenset[str], clock: ManualClock) -> None:
    """After all that was there comes what happens, until nobody asks any more."""
    url = f"memory://followed-{len(keys)}"
    with Queue(url, clock=clock) as queue:
        queue.new(key="late")
        followed = timeline(open_log(url), wanted=Sought(keys=keys), follow=True)
        assert next(followed).event.seq == 1
        coming = Spawned[Moment](next, followed)
        queue.update("late", priority=2)

        assert coming.result().event.seq == 2
        followed.close()  # type: ignore[attr-defined]
