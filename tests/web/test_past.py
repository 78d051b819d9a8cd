"""The past: folded once at a time, for as long as somebody waits; its snapshots are a cache."""

from __future__ import annotations

import threading
from concurrent.futures import wait
from pathlib import Path

import pytest

import eventq
from eventq.audit import state_at
from eventq.audit.state import take_state
from eventq.eventlog.contract import SnapshotEntry
from eventq.replay.points import Point, find_point
from eventq.web import past as past_module
from eventq.web.cache import CachedSnapshots, cache_folder
from eventq.web.past import AbandonedError, BusyError, PastFolds
from eventq.web.sight import Sight
from tests.web.desk import Desk, fill

PATIENT_S = 60.0


@pytest.fixture
def snapshots(queue: eventq.Queue, tmp_path: Path) -> CachedSnapshots:
    """A cache beside a log with a past."""
    fill(queue)
    return CachedSnapshots(queue.log.snapshots, tmp_path / "cache", most_bytes=2**20)


def folds_of(queue: eventq.Queue, snapshots: CachedSnapshots) -> PastFolds:
    """The past of a queue."""
    return PastFolds(queue.log, snapshots, now=lambda: queue.log.head().at)


def counts_of(sight: Sight) -> dict[str, int]:
    """How many tasks were in each state."""
    with sight.seen() as projection:
        return take_state(projection, sight.at).counts


def test_every_position_is_what_a_fold_gives(
    queue: eventq.Queue, snapshots: CachedSnapshots
) -> None:
    """Forwards, backwards and far, by one cursor."""
    folds, log = folds_of(queue, snapshots), queue.log
    last = log.head().seq
    way = [last, last - 1, 5, 6, 7, 6, 0, last // 2, last // 2 - 1, last]
    found = []
    for place, seq in enumerate(way):
        point = find_point(log, seq, now=log.head().at)
        job = folds.ask((place, seq), point, counts_of, keeps=True)
        found.append((job.future.result(PATIENT_S), state_at(log, point).counts))
    folds.close()

    assert all(page == state for page, state in found)


def test_one_fold_at_a_time(queue: eventq.Queue, snapshots: CachedSnapshots) -> None:
    """The second waits, and says so."""
    folds = folds_of(queue, snapshots)
    begun, goes_on = threading.Event(), threading.Event()

    def slow(sight: Sight) -> int:
        begun.set()
        goes_on.wait(PATIENT_S)
        return sight.seq

    first = folds.ask("first", Point(3, 0), slow, keeps=True)
    begun.wait(PATIENT_S)
    second = folds.ask("second", Point(4, 0), lambda sight: sight.seq, keeps=True)
    waits = second.progress.waits, first.progress.waits
    goes_on.set()
    answers = first.future.result(PATIENT_S), second.future.result(PATIENT_S)
    folds.close()

    assert waits == (True, False)
    assert answers == (3, 4)


def test_who_asks_again_gets_the_same_page(queue: eventq.Queue, snapshots: CachedSnapshots) -> None:
    """A page of the past never changes; one of the present is said once to who has waited."""
    folds = folds_of(queue, snapshots)
    said = iter(range(10))

    def ask(key: str, *, keeps: bool) -> int:
        job = folds.ask(key, Point(3, 0), lambda _sight: next(said), keeps=keeps)
        found: int = job.future.result(PATIENT_S)
        wait([job.future], PATIENT_S)
        return found

    kept = [ask("past", keeps=True) for _ in range(3)]
    live = [ask("live", keeps=False) for _ in range(3)]
    folds.close()

    assert kept == [0, 0, 0]
    assert live == [1, 1, 2]


def test_a_fold_that_nobody_waits_for_is_given_up(
    queue: eventq.Queue, snapshots: CachedSnapshots
) -> None:
    """Who leaves, leaves no work behind; the cursor is of use to the next one."""
    folds = folds_of(queue, snapshots)
    begun, goes_on = threading.Event(), threading.Event()

    def slow(sight: Sight) -> int:
        begun.set()
        goes_on.wait(PATIENT_S)
        return len(counts_of(sight))

    job = folds.ask("gone", Point(9, 0), slow, keeps=True)
    begun.wait(PATIENT_S)
    folds.leave("gone")
    goes_on.set()
    with pytest.raises(AbandonedError):
        job.future.result(PATIENT_S)
    seq = queue.log.head().seq
    after = folds.ask("next", Point(seq, queue.log.head().at), counts_of, keeps=True)

    assert sum(after.future.result(PATIENT_S).values()) > 0
    folds.close()


def test_who_leaves_the_line_is_not_served(queue: eventq.Queue, snapshots: CachedSnapshots) -> None:
    """What waits for its turn is not begun for nobody."""
    folds = folds_of(queue, snapshots)
    goes_on, served = threading.Event(), threading.Event()
    folds.ask("one", Point(3, 0), lambda _sight: goes_on.wait(PATIENT_S), keeps=True)
    job = folds.ask("two", Point(4, 0), lambda _sight: served.set(), keeps=True)
    folds.leave("two")
    goes_on.set()
    with pytest.raises(AbandonedError):
        job.future.result(PATIENT_S)
    folds.close()

    assert not served.is_set()


def test_a_moment_may_be_later_than_its_last_event(
    queue: eventq.Queue, snapshots: CachedSnapshots
) -> None:
    """What is due by then is ready, also right after a look at an earlier instant."""
    folds, head = folds_of(queue, snapshots), queue.log.head()
    later = Point(head.seq, head.at + 3 * 3600 * 1_000_000)
    points = (Point(head.seq, head.at), later)
    first, second = (
        folds.ask(point.at, point, counts_of, keeps=True).future.result(PATIENT_S)
        for point in points
    )
    folds.close()

    assert first["scheduled"] == 1
    assert second["scheduled"] == 0
    assert second["ready"] == first["ready"] + 1


def test_too_many_are_refused(
    queue: eventq.Queue, snapshots: CachedSnapshots, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who would wait too long is told at once."""
    monkeypatch.setattr(past_module, "MOST_WAITING", 1)
    folds = folds_of(queue, snapshots)
    goes_on = threading.Event()
    folds.ask("one", Point(3, 0), lambda _sight: goes_on.wait(PATIENT_S), keeps=True)
    with pytest.raises(BusyError):
        folds.ask("two", Point(3, 0), counts_of, keeps=True)
    goes_on.set()

    folds.close()


def test_snapshots_are_laid_on_the_way(
    queue: eventq.Queue, snapshots: CachedSnapshots, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Far from any, a fold leaves some, outside of the log's database; the next begins there."""
    monkeypatch.setattr(past_module, "STRETCH_EVENTS", 5)
    folds, log = folds_of(queue, snapshots), queue.log
    monkeypatch.setattr("eventq.audit.stepper.cursor.STEPWISE_EVENTS", 1)
    point = find_point(log, log.head().seq, now=log.head().at)
    found = folds.ask("far", point, counts_of, keeps=True).future.result(PATIENT_S)
    folds.close()

    assert found == state_at(log, point).counts
    assert len(snapshots.entries()) > 1
    assert log.snapshots.entries() == []


def test_the_cache_keeps_to_its_size(queue: eventq.Queue, tmp_path: Path) -> None:
    """What was not used for the longest goes; what is too large is not kept at all."""
    cache = CachedSnapshots(queue.log.snapshots, tmp_path / "small", most_bytes=100)
    for seq in range(1, 6):
        cache.put(SnapshotEntry(seq, seq, b"\x01", 0, 40), b"x" * 40)
    cache.put(SnapshotEntry(9, 9, b"\x01", 0, 101), b"x" * 101)
    kept = [entry.seq for entry in cache.entries()]

    assert len(kept) == 2
    assert kept[-1] == 5
    assert cache.get(5) == b"x" * 40
    assert cache.get(9) is None
    assert cache.delete(5)
    assert not cache.delete(5)


def test_a_cache_that_cannot_be_written_costs_nothing(queue: eventq.Queue, tmp_path: Path) -> None:
    """A file where its folder is to be: nothing is kept, and nothing fails."""
    (tmp_path / "taken").write_text("", encoding="utf-8")
    cache = CachedSnapshots(queue.log.snapshots, tmp_path / "taken" / "x", most_bytes=100)
    cache.put(SnapshotEntry(1, 1, b"\x01", 0, 1), b"x")

    assert cache.entries() == []


def test_each_log_has_a_folder_of_its_own(queue: eventq.Queue, tmp_path: Path) -> None:
    """In the user's cache folder, unless another one is named."""
    assert cache_folder(queue.log, tmp_path).parent == tmp_path / "eventq" / "console"
    assert "eventq" in cache_folder(queue.log).parts


def test_a_page_that_takes_long_says_how_far_it_is(
    full: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The browser asks again by itself, and so may a program."""
    monkeypatch.setattr("eventq.web.looking.PATIENT_S", 0.0)
    goes_on = threading.Event()
    console = full.app.state.console
    console.past.ask("first", Point(3, 0), lambda _s: goes_on.wait(PATIENT_S), keeps=True)
    answer = full.client.get("/?at=4")
    as_json = full.client.get("/api/now?at=4")
    goes_on.set()

    assert answer.status_code == 202
    assert answer.headers["refresh"] == "1"
    assert "next in line" in answer.text
    assert as_json.status_code == 202
    assert as_json.json()["waits"] is True
