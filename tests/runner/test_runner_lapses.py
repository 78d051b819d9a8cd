"""Judging nodes by their signs of life: never before a ttl is over, nor for a failure of all."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from eventq import LogUnavailableError, Queue
from eventq.core.commits import Commit
from eventq.core.holders import Holder
from eventq.runner.lapses import LOOK_S, LapseWatch
from tests.support import (
    Gate,
    HookedLog,
    ManualClock,
    kinds,
    lease,
    look,
    queue_on,
    running,
    wait_until,
)


def refuse(_commit: Commit) -> None:
    """Appends nothing, as a full disk does."""
    raise LogUnavailableError("disk full")


class TestFairJudges:
    """Nodes that live are not judged for what they could not do, or could not be seen doing."""

    @pytest.mark.parametrize("fold_s", [0.9, 20.0])
    def test_a_sign_is_no_older_than_the_read_that_brought_it(
        self, queue: Queue, log: HookedLog, clock: ManualClock, fold_s: float
    ) -> None:
        """Also when the judge takes longer to fold the log than the whole ttl."""
        read: Callable[..., list[Commit]] = log.read

        def slow(**options: int) -> list[Commit]:
            setattr(log, "read", read)  # noqa: B010 - mypy forbids the plain form
            clock.advance(fold_s)
            other.new(key="k")
            lease(other, ttl_us=3_000_000)
            return read(**options)

        with (
            queue_on(HookedLog(log.storage), clock=ManualClock()) as other,
            running(queue, lambda _ctx, _task: None),
        ):
            look(queue)
            setattr(log, "read", slow)  # noqa: B010
            look(queue)
            for _ in range(29):
                clock.advance(0.1)
                look(queue)
            assert kinds(queue, "k") == ["created", "leased"]
            clock.advance(0.2)
            look(queue)
            assert kinds(queue, "k")[2:4] == ["failed", "retried"]

    @pytest.mark.parametrize("full_s", [2.5, 2.9, 30.0])
    def test_a_full_disk_makes_no_lease_lapse(
        self,
        queue: Queue,
        log: HookedLog,
        clock: ManualClock,
        monkeypatch: pytest.MonkeyPatch,
        full_s: float,
    ) -> None:
        """Also when the judge is the first who can append again, and noticed nothing before."""
        monkeypatch.setattr("eventq.runner.runner.UNAVAILABLE_S", 0.001)
        queue.new(key="k")
        gate, others = Gate(), HookedLog(log.storage)
        with (
            queue_on(others, clock=clock, workers=1) as judge,
            running(queue, lambda _ctx, _task: gate(), lease_ttl="3s"),
        ):
            wait_until(gate.reached.is_set)
            with running(judge, lambda _ctx, _task: "stolen", lease_ttl="3s"):
                look(judge)
                log.before_append = others.before_append = refuse
                for _ in range(round(full_s * 10)):
                    clock.advance(0.1)
                    look(judge)
                others.before_append = lambda _: None
                for _ in range(8):
                    clock.advance(0.1)
                    look(judge)
                log.before_append = lambda _: None
                look(queue)
                gate.open()
                wait_until(lambda: not queue.tasks())

        assert kinds(queue, "k") == ["created", "leased", "completed"]


class TestLapseWatch:
    """The judge, by a manual clock."""

    @staticmethod
    def holders(
        *, seen_seq: int = 5, seen_at: int = 0, ttl_us: int = 10_000_000
    ) -> dict[str, Holder]:
        """One other node, and this one."""
        return {
            "other": Holder(ttl_us, seen_seq, seen_at, {1}),
            "me": Holder(1, 1, 0, {2}),
        }

    def look(
        self, watch: LapseWatch, at_s: float, *, seq: int | None = None, **seen: int
    ) -> list[tuple[str, int]]:
        """One look at that time; the log has grown since the last, unless ``seq`` is given."""
        seq = round(at_s * 10) if seq is None else seq
        holders = self.holders(**seen)
        return watch.look(holders, me="me", seq=seq, monotonic_s=at_s, now=round(at_s * 1e6))

    def test_the_ttl_counts_from_the_moment_a_sign_was_seen(self) -> None:
        """Whatever the log's own instants say, once this process has begun to look."""
        watch = LapseWatch()
        assert watch.look({}, me="me", seq=0, monotonic_s=99, now=99_000_000) == []
        looks = [self.look(watch, at_s) for at_s in range(100, 110)]

        assert looks == [[]] * 10
        assert self.look(watch, 110) == [("other", 5)]

    def test_a_new_sign_of_life_begins_anew(self) -> None:
        """A renewal gives another ttl."""
        watch = LapseWatch()
        watch.look({}, me="me", seq=0, monotonic_s=99, now=99_000_000)
        looks = [self.look(watch, at_s, seen_seq=at_s // 5) for at_s in range(100, 140)]

        assert looks == [[]] * 40

    def test_at_the_first_look_a_sign_is_as_old_as_the_log_says(self) -> None:
        """After a restart, a node that is long dead is not granted a ttl anew."""
        assert self.look(LapseWatch(), 100, seen_at=90_000_000) == [("other", 5)]
        assert self.look(LapseWatch(), 100, seen_at=90_000_001) == []
        assert self.look(LapseWatch(), 100, seen_at=200_000_000) == []

    def test_time_in_which_nobody_could_look_is_not_held_against_others(self) -> None:
        """After a suspension of an hour the others have the rest of their ttl left."""
        watch = LapseWatch()
        watch.look({}, me="me", seq=0, monotonic_s=99, now=99_000_000)
        self.look(watch, 100)

        assert self.look(watch, 3_700) == []
        assert [self.look(watch, 3_700 + LOOK_S * turn) for turn in (1, 2, 3)] == [[]] * 3
        assert self.look(watch, 3_700 + 8) == [("other", 5)]

    @pytest.mark.parametrize("ttl_s", [1, 2, 5])
    def test_a_gap_is_never_taken_for_a_short_ttl(self, ttl_s: int) -> None:
        """When all were suspended, each has time to renew before it is judged, whatever the ttl."""
        watch = LapseWatch()
        watch.look({}, me="me", seq=0, monotonic_s=99, now=99_000_000)
        for at_s in (100, 100 + ttl_s / 3, 3_700):
            assert self.look(watch, at_s, ttl_us=ttl_s * 1_000_000) == []

        assert self.look(watch, 3_700 + ttl_s / 4, ttl_us=ttl_s * 1_000_000) == []
        assert self.look(watch, 3_700 + ttl_s / 2, ttl_us=ttl_s * 1_000_000) == [("other", 5)]

    def test_time_in_which_nobody_could_append_counts_for_nobody(self) -> None:
        """From when the log last grew before a failure until it grows again."""
        watch = LapseWatch()
        watch.look({}, me="me", seq=0, monotonic_s=99, now=99_000_000)
        self.look(watch, 100, seq=1)
        self.look(watch, 102, seq=2)
        self.look(watch, 104, seq=2)
        for at_s in range(105, 150):
            watch.fail()
            assert self.look(watch, at_s, seq=3) == []
            assert watch.unproven_seq == 3

        assert self.look(watch, 150, seq=4) == []
        assert watch.unproven_seq is None
        assert [self.look(watch, at_s) for at_s in (152, 154, 156, 157.9)] == [[]] * 4
        assert self.look(watch, 158) == [("other", 5)]

    def test_a_judge_that_began_during_a_failure_grants_a_whole_ttl(self) -> None:
        """What the log says of a sign's age includes time in which nobody could append."""
        watch = LapseWatch()
        watch.fail()

        assert self.look(watch, 100, seq=1, seen_at=0) == []
        assert [self.look(watch, at_s) for at_s in range(101, 110)] == [[]] * 9
        assert self.look(watch, 111) == [("other", 5)]

    def test_a_log_that_does_not_grow_proves_nothing(self) -> None:
        """Right before a ttl is over, somebody must have been able to append."""
        watch = LapseWatch()
        watch.look({}, me="me", seq=0, monotonic_s=99, now=99_000_000)
        for at_s in range(100, 109):
            assert self.look(watch, at_s, seq=1) == []
            assert watch.unproven_seq is None
        for at_s in range(109, 130):
            assert self.look(watch, at_s, seq=1) == []
            assert watch.unproven_seq == 1

        assert self.look(watch, 130, seq=2) == [("other", 5)]

    def test_a_node_that_let_go_is_forgotten(self) -> None:
        """It may come again with the same name and a fresh ttl."""
        watch = LapseWatch()
        self.look(watch, 100, seen_at=100_000_000)
        watch.look({}, me="me", seq=0, monotonic_s=101, now=0)

        assert [self.look(watch, at_s) for at_s in range(102, 111)] == [[]] * 9
