"""Invariant 17: each due of a schedule is ticked once, at its instant or later, none left out."""

from __future__ import annotations

from dataclasses import dataclass, field

from tools.history.dues import next_due
from tools.history.facts import Body
from tools.history.world import OPEN, BrokenError, World

# Of more dues at once it is only said that there are so many.
COUNTED = 10_000
# Where none is caught up, one that came so long ago is still in time.
IN_TIME_US = 60 * 1_000_000
# What is said of dues that have come is in the log this soon.
LATE_US = 5 * 1_000_000
# What eventq says where the next due has the task of the one before cancelled.
NEXT_DUE = "the next due of schedule "


@dataclass
class Schedule:
    """How a schedule stands."""

    planned: Body
    next_at: int | None
    ticked: set[int] = field(default_factory=set)
    tasks: list[int] = field(default_factory=list)
    """Those that the next due may overlap with."""


class Schedules:
    """The schedules by name."""

    def __init__(self, world: World) -> None:
        self.by_name: dict[str, Schedule] = {}
        self._world = world
        self._owed: Body | None = None
        """The tick whose task has to come next."""

    def plan(self, body: Body) -> None:
        """A schedule is to go on as this says."""
        name, next_at = body["schedule"], body.get("next_at")
        timing, rules = body["timing"], body["rules"]
        if ("cron" in timing) == ("every_us" in timing) or timing.get("every_us", 1) < 1:
            raise BrokenError(17, f"schedule {name} has no timing, or two")
        if not 0 <= body.get("shift_us", 0) <= timing.get("jitter_us", 0):
            raise BrokenError(17, f"schedule {name} is put off by more than its jitter")
        if rules.get("catch_up", 1) < 0 or rules.get("within_us", 1) < 1:
            raise BrokenError(17, f"schedule {name} has impossible rules")
        known = self.by_name.get(name)
        if known is not None and known.planned["timing"] == timing:
            if next_at != known.next_at:
                raise BrokenError(17, f"schedule {name} keeps its timing, and not its next due")
        elif known is not None and self._has_come(known) and next_at != known.next_at:
            raise BrokenError(17, f"schedule {name} drops {known.next_at}, which has come")
        elif next_at is not None and not self._is_kept(known, timing, next_at):
            self._judge_first(name, timing, next_at)
        if known is None:
            self.by_name[name] = Schedule(body, next_at)
            return
        if next_at is not None and known.ticked and next_at <= max(known.ticked):
            raise BrokenError(17, f"schedule {name} goes back behind a due that it has ticked")
        known.planned, known.next_at = body, next_at

    def forget(self, body: Body) -> None:
        """The schedule is no more."""
        if self.by_name.pop(body["schedule"], None) is None:
            raise BrokenError(17, f"there is no schedule {body['schedule']} to forget")

    def tick(self, seq: int, body: Body) -> None:
        """A due has come."""
        name, due, outcome = body["schedule"], body["due"], body["outcome"]
        known = self.by_name.get(name)
        if known is None:
            raise BrokenError(17, f"there is no schedule {name} to tick")
        count, hand = body.get("count", 1), body.get("hand")
        if count < 1 or (count > 1 and outcome not in {"missed", "paused"}):
            raise BrokenError(17, f"schedule {name} ticks for {count} dues at once")
        if outcome == "made":
            self._owed = body
        if hand is not None:
            if outcome not in {"made", "skipped"} or "next_at" in body:
                raise BrokenError(17, f"schedule {name} is moved by hand")
            if hand == "trigger" and outcome == "made":
                known.tasks.append(seq + 1)
            return
        self._judge_due(known, body, count)
        if outcome == "made":
            self._judge_overlap(seq, known)
            known.tasks = [seq + 1]
        known.ticked.add(due)
        known.next_at = body.get("next_at")

    def pass_by(self, seq: int, kind: str, body: Body) -> None:
        """Judges whether the task of a tick stands right behind it, and no other one has one."""
        # One that is taken back to its end has had it for that reason, whatever is planned by now.
        if kind == "cancelled" and "restores" not in body:
            self._judge_cancelled(seq, body.get("reason", ""))
        owed, self._owed = self._owed, None
        if owed is not None:
            wanted = owed["schedule"], owed["due"]
            if kind != "created" or (body.get("schedule"), body.get("due")) != wanted:
                self._world.report(17, seq, f"{kind} where a task of {wanted} stands")
        elif kind == "created" and body.get("schedule") is not None:
            self._world.report(17, seq, f"a task of schedule {body['schedule']}, without a tick")

    def finish(self, seq: int) -> None:
        """The commit ends here."""
        if self._owed is not None:
            self._world.report(17, seq, f"schedule {self._owed['schedule']} made no task")
            self._owed = None

    def overdue(self, at: int) -> list[str]:
        """The schedules that have not ticked what had come by an instant."""
        return [
            name
            for name, each in self.by_name.items()
            if each.next_at is not None
            and not each.planned.get("paused")
            and each.next_at + each.planned.get("shift_us", 0) <= at
        ]

    def _is_kept(self, known: Schedule | None, timing: Body, next_at: int) -> bool:
        """The due before stands, since the timing's own first one is behind what has been ticked.

        A clock that was ahead has ticked it.
        """
        if known is None or next_at != known.next_at or not known.ticked:
            return False
        first = next_due(timing, self._world.now)
        return first is not None and first <= max(known.ticked)

    def _has_come(self, known: Schedule) -> bool:
        """Whether its next due has come, and waits to be ticked."""
        return known.next_at is not None and known.next_at <= self._world.now

    def _judge_first(self, name: str, timing: Body, next_at: int) -> None:
        """A timing is new: no due lies between now and the first one that is to come."""
        if next_at <= self._world.now:
            return
        first = next_due(timing, self._world.now)
        if first is not None and (("cron" in timing and first != next_at) or next_at > first):
            raise BrokenError(17, f"schedule {name} begins with {next_at}, but {first} comes first")

    def _judge_due(self, known: Schedule, body: Body, count: int) -> None:
        name, due, next_at = body["schedule"], body["due"], body.get("next_at")
        planned = known.planned
        if bool(planned.get("paused")) != (body["outcome"] == "paused"):
            raise BrokenError(17, f"schedule {name} ticks ({body['outcome']}), paused or not")
        if due in known.ticked:
            raise BrokenError(17, f"schedule {name} ticks {due} twice")
        if due != known.next_at:
            raise BrokenError(17, f"schedule {name} ticks {due}, but {known.next_at} comes next")
        if due + planned.get("shift_us", 0) > self._world.now:
            raise BrokenError(17, f"schedule {name} ticks {due} too early")
        if count >= COUNTED:
            return
        last, expected = due, next_due(planned["timing"], due)
        for _ in range(count - 1):
            if expected is None:
                break
            last, expected = expected, next_due(planned["timing"], expected)
        if next_at != expected:
            text = (
                f"schedule {name}: behind {count} dues from {due} comes {expected}, not {next_at}"
            )
            raise BrokenError(17, text)
        if body["outcome"] != "paused":
            self._judge_choice(known, last, is_missed=body["outcome"] == "missed")

    def _judge_choice(self, known: Schedule, due: int, *, is_missed: bool) -> None:
        """Of dues that have come, the last ones are made, if they are in time; no other is."""
        planned = known.planned
        rules, name = planned["rules"], planned["schedule"]
        most = max(1, rules.get("catch_up", 1))
        within_us = rules.get("within_us")
        if within_us is None and not rules.get("catch_up", 1):
            within_us = IN_TIME_US
        # Who has chosen them may have looked a little earlier.
        now = self._world.now if is_missed else self._world.least_now - LATE_US
        now -= planned.get("shift_us", 0)
        is_old = within_us is not None and now - due > within_us
        is_passed = is_old or come_behind(planned["timing"], due, now=now, most=most) == most
        if is_passed != is_missed:
            how = "missed, though in time" if is_missed else "dealt with, though it is too late"
            raise BrokenError(17, f"due {due} of schedule {name} is {how}")

    def _judge_cancelled(self, seq: int, reason: str) -> None:
        """Only a schedule that says so cancels the task of the due before."""
        if not reason.startswith(NEXT_DUE):
            return
        known = self.by_name.get(reason.removeprefix(NEXT_DUE).split(" ")[0])
        if known is None or known.planned["rules"].get("overlap") != "cancel":
            self._world.report(17, seq, f"no schedule cancels like that: {reason}")

    def _judge_overlap(self, seq: int, known: Schedule) -> None:
        if known.planned["rules"].get("overlap", "skip") == "allow":
            return
        tasks = self._world.tasks
        open_tasks = [each for each in known.tasks if each in tasks and tasks[each].state in OPEN]
        if open_tasks:
            text = f"a due is made while tasks {open_tasks} of the one before are open"
            self._world.report(17, seq, text)


def come_behind(timing: Body, due: int, *, now: int, most: int) -> int:
    """How many dues behind another one have come by now; no more than ``most`` are counted."""
    count, following = 0, next_due(timing, due)
    while count < most and following is not None and following <= now:
        count, following = count + 1, next_due(timing, following)
    return count
