"""Faults in schedules."""

from __future__ import annotations

from tools.mutants.mutant import Mutant

DUES = (
    Mutant(
        name="ticked-twice",
        breaks="17: two nodes make the task of one due",
        file="core/scheduling.py",
        old="if known is None or known.seq != tick.seen or known.planned.paused:",
        new="if known is None or known.planned.paused:",
    ),
    Mutant(
        name="gap-missed",
        breaks="17: an instant in a skipped hour comes an hour late",
        file="schedules/cron.py",
        old="        return changes\n\n    def _change_between",
        new="        return changes + 3_600\n\n    def _change_between",
    ),
    Mutant(
        name="another-midnight",
        breaks="17: dues come by the clock of another zone",
        file="schedules/rules.py",
        old="        rule = CronRule(spec, place)\n",
        new="        rule = CronRule(spec, UTC)\n",
    ),
    Mutant(
        name="interval-from-now",
        breaks="17: an interval counts from the tick, not from its due",
        file="schedules/plans.py",
        old="dues_until(rule_of(planned.timing, first), first, until,",
        new="dues_until(rule_of(planned.timing, until), first, until,",
    ),
    Mutant(
        name="missed-not-counted",
        breaks="17: of dues that were missed, one is left out",
        file="schedules/plans.py",
        old='bodies.append(Ticked(known.name, first, "missed", after, missed))',
        new='bodies.append(Ticked(known.name, first, "missed", after, max(1, missed - 1)))',
    ),
    Mutant(
        name="overlap-ignored",
        breaks="17: a due does not mind that the task of the one before is open",
        file="core/scheduling.py",
        old="            open_tasks = [] if is_made else self._open_tasks(known)\n",
        new="            open_tasks: list[int] = []\n",
    ),
    Mutant(
        name="overlap-ends-all",
        breaks="17: a due that is to be skipped cancels the task of the one before",
        file="core/scheduling.py",
        old='if is_made or (open_tasks and overlap == "skip"):',
        new="if is_made:",
    ),
    Mutant(
        name="due-forgotten-by-plan",
        breaks="17: who plans a schedule anew drops a due that has come",
        file="core/scheduling.py",
        old="    return replace(planned, next_at=known.next_at) if has_come or"
        " goes_back else planned\n",
        new="    return planned\n",
    ),
)
