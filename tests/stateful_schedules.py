"""What happens to schedules in the stateful test: each thing, by the model and by the code."""

from __future__ import annotations

from hypothesis import strategies as st
from msgspec.structs import replace

from eventq.core.command import Draft
from eventq.core.projection import Projection
from eventq.core.queue_events import Planned, Unplanned
from eventq.core.scheduling import EditSchedule, MakeByHand, PlanSchedules, TickSchedules
from eventq.core.timing import DueRules, Overlap, Timing
from eventq.core.values import Call
from eventq.schedules.plans import tick_of
from tests import deciding as decide
from tests.naive import DUE_POLICY
from tests.naive_schedules import EVERY, NaiveSchedules, Story

Thing = tuple[str, str, Overlap]
# What is about no open task.
NODE_KINDS = {"revived", "renewed", "refused", "joined", "left", "followed", "unfollowed"}
NODE_KINDS |= {"planned", "unplanned", "ticked", "limited", "shared", "paused", "resumed"}
NODE_KINDS |= {"bulk", "bulk_ended"}
# Which schedule, what happens to it, and how its code has overlaps.
schedule_things: st.SearchStrategy[Thing] = st.tuples(
    st.sampled_from(["dawn", "dusk"]),
    st.sampled_from(["plan", "tick", "tick", "tick", "trigger", "pause", "resume", "drop"]),
    st.sampled_from(["skip", "allow", "cancel"]),
)


def played(
    ours: Projection, model: NaiveSchedules, thing: Thing, now: int
) -> tuple[Story, list[Draft]]:
    """The story that the model tells, and what was decided."""
    name, what, overlap = thing
    nothing, known = decide.NOTHING, ours.schedules.get(name)
    if what == "plan":
        rules = DueRules(overlap=overlap)
        call = Call(DUE_POLICY)
        wanted = Planned(name, Timing(every_us=EVERY), call, rules, next_at=now + EVERY)
        drafts = PlanSchedules((wanted,), (0,)).decide(ours, nothing, now).events
        return model.plan(name, overlap, now), drafts
    if what == "tick":
        ticks = [tick_of(known, now)] if known and (known.ticks_at or now + 1) <= now else []
        drafts = TickSchedules(tuple(ticks)).decide(ours, nothing, now).events
        return model.tick(name, now), drafts
    if known is None:
        return [], []
    if what == "trigger":
        drafts = MakeByHand(name, None).decide(ours, nothing, now).events
        return model.trigger(name, now), drafts
    if what == "drop":
        edit = EditSchedule(name, known.seq, (Unplanned(name),))
        return model.drop(name), edit.decide(ours, nothing, now).events
    paused = what == "pause"
    body = replace(known.planned, paused=paused, next_at=known.next_at)
    late = EditSchedule(name, known.seq - 1, (body,))
    assert late.decide(ours, nothing, now).events == []
    drafts = EditSchedule(name, known.seq, (body,)).decide(ours, nothing, now).events
    return model.pause(name, paused=paused), drafts
