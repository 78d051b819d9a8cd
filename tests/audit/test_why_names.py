"""Why a task of a name or a lane waits: who handles it, who is full, and whom it is ranked with."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from eventq.audit import Why, story, why
from eventq.core.command import NEW, Draft
from eventq.core.events import Cancelled, Created, Expired, Failed, Leased, Released, Retried
from eventq.core.members import SILENT_US
from eventq.core.projection import Projection
from eventq.core.queue_events import Joined, Left
from eventq.core.values import NODE, ErrorInfo, Policy
from eventq.eventlog import EventLog
from eventq.replay.points import Point
from eventq.replay.query import unhandled
from tests.driver import append_texts, memory_log, record

PLAIN = Policy("linear", 10_000_000)
AT = 1_700_000_000_000_000
OCR = Created(PLAIN, name="docs.ocr", lane="heavy")
JOINED = Joined("anna", 30, 2, "1", names=("docs.*",))
LAPSE = ErrorInfo("LeaseLapsed", "node anna stopped renewing")


def told(*commits: list[Draft], step_us: int = 1_000_000) -> EventLog:
    """A log of these commits, a second apart."""
    log = memory_log()
    projection = Projection("default")
    for place, drafts in enumerate(commits):
        record(log, projection, drafts, now=AT + place * step_us)
    return log


def ask(log: EventLog, key: str = "1", *, later_us: int = 0) -> Why:
    """The answer at the end."""
    head = log.head()
    return why(log, key, Point(head.seq, head.at + later_us))


@pytest.mark.parametrize(
    "said, verdict, handled_by",
    [
        ([], "no running node handles docs.ocr", []),
        ([JOINED], "nothing blocks it: it is next; no lease has been granted", ["anna"]),
        ([JOINED, Left("anna")], "no running node handles docs.ocr", []),
        ([replace(JOINED, names=("mail",))], "no running node handles docs.ocr", []),
        (
            [replace(JOINED, lanes={"default": 1})],
            "no running node handles docs.ocr in lane heavy",
            [],
        ),
        (
            [replace(JOINED, lanes={"heavy": 0})],
            "all slots for lane heavy are taken on anna",
            ["anna"],
        ),
    ],
    ids=str,
)
def test_a_name_waits_for_a_node_that_handles_it(
    said: list[Joined | Left], verdict: str, handled_by: list[str]
) -> None:
    """The nodes that have joined are asked for its name, its lane, and a slot there."""
    log = told([(NEW, OCR)], [(NODE, body) for body in said])

    answer = ask(log)

    assert answer.verdict.startswith(verdict)
    assert answer.handled_by == handled_by
    words = "docs.ocr is handled by anna"
    assert (words in answer.notes) == bool(handled_by)


def test_a_node_that_is_silent_handles_nothing() -> None:
    """It has not joined for five minutes, and holds no lease that would show that it lives."""
    log = told([(NEW, OCR)], [(NODE, JOINED)])

    assert ask(log, later_us=SILENT_US).handled_by == ["anna"]
    assert ask(log, later_us=SILENT_US + 1).verdict == "no running node handles docs.ocr"

    held = told([(NEW, OCR), (NEW, OCR)], [(NODE, JOINED), (2, Leased(1, "anna", 30))])
    assert ask(held, later_us=SILENT_US + 1).handled_by == ["anna"]


def test_all_slots_of_its_lane_are_taken() -> None:
    """The node says how many it has, its leases how many are taken."""
    joined = replace(JOINED, lanes={"heavy": 1, "default": 2})
    log = told([(NEW, OCR), (NEW, OCR)], [(NODE, joined), (1, Leased(1, "anna", 30))])

    assert ask(log, "2").verdict == "all slots for lane heavy are taken on anna"


def test_a_task_is_looked_for_in_the_lane_that_it_has_come_to() -> None:
    """By which nodes, behind what; and who has moved it is told as long as it is there."""
    joined = replace(JOINED, lanes={"heavy": 1})
    tasks: list[Draft] = [(NEW, replace(OCR, lane=None)), (NEW, replace(OCR, priority=3))]
    log = told(tasks, [(NODE, joined)])
    before = ask(log)
    append_texts(log, [1], '{"kind":"updated","lane":"heavy","by":"eve"}')
    after = ask(log)
    append_texts(log, [1], '{"kind":"leased","attempt":1,"worker":"anna","ttl_us":30}')
    leased = ask(log)

    moved = "it is in lane heavy by updated at 4: lane default to heavy by eve"
    assert before.verdict == "no running node handles docs.ocr in lane default"
    assert (after.verdict, after.handled_by) == ("1 task is ahead: 1 by higher priority", ["anna"])
    assert moved in after.notes
    assert moved in leased.notes
    assert moved not in before.notes
    assert leased.grant is not None
    assert not leased.grant.in_order


def test_only_what_the_same_nodes_run_is_ahead() -> None:
    """A task of another name is no rival, nor is one in a lane that is full."""
    other = Created(PLAIN, name="mail", priority=9)
    log = told([(NEW, OCR), (NEW, other), (NEW, replace(OCR, priority=3))], [(NODE, JOINED)])

    assert ask(log).verdict == "1 task is ahead: 1 by higher priority"
    assert ask(log, "3").verdict.startswith("nothing blocks it")


def test_a_lease_is_in_order_among_what_its_node_runs() -> None:
    """Neither other names nor full lanes were passed over."""
    joined = replace(JOINED, names=("*",), lanes={"heavy": 1, "default": 2})
    high, low = replace(OCR, priority=9), Created(PLAIN)
    tasks: list[Draft] = [(NEW, high), (NEW, high), (NEW, low)]
    tasks.append((NEW, Created(PLAIN, lane="mail", priority=9)))
    log = told(tasks, [(NODE, joined), (1, Leased(1, "anna", 30)), (3, Leased(1, "anna", 30))])

    grant = ask(log, "3").grant

    assert grant is not None
    assert grant.in_order
    assert grant.rank.behind_count == 0


def test_an_unknown_task_is_left_to_a_newer_eventq() -> None:
    """The event is named, and its end where it has one."""
    log = told([(NEW, OCR)])
    append_texts(log, [1], '{"kind":"frozen"}')
    open_answer = ask(log)
    append_texts(log, [1], '{"kind":"cancelled"}')

    words = "event 2 about it is of the unknown kind frozen, written by a newer eventq"
    assert open_answer.verdict == ask(log).verdict == words
    assert len(open_answer.notes) == 1
    assert ask(log).notes[0] == (
        "it is cancelled, by cancelled at 3: "
        "after event 2, of which only a newer eventq knows what it did"
    )


def test_what_nobody_handles_is_counted_by_name() -> None:
    """Ready tasks, whatever their lanes; those without a name are anybody's."""
    log = memory_log()
    projection = Projection("default")
    tasks: list[Draft] = [(NEW, OCR), (NEW, replace(OCR, lane=None)), (NEW, Created(PLAIN))]
    tasks += [(NEW, Created(PLAIN, name="mail", needs=("telepathy",)))]
    tasks += [(NEW, Created(PLAIN, name="late", scheduled_at=AT + 9))]
    record(log, projection, tasks, now=AT)
    assert unhandled(projection, now=AT) == {"docs.ocr": 2, "mail": 1}

    joined = replace(JOINED, names=("docs.*", "mail"), lanes={"default": 2})
    record(log, projection, [(NODE, joined)], now=AT + 1)

    assert unhandled(projection, now=AT + 1) == {"docs.ocr": 1}
    assert unhandled(projection, now=AT + 9) == {"docs.ocr": 1, "late": 1}


def test_a_history_tells_lapses_snoozes_rules_and_ends_for_good() -> None:
    """Each in words, with the numbers that the log has."""
    policy = Policy("linear", 10_000_000, max_lapses=2)
    second = 1_000_000
    error = ErrorInfo("ValueError", "odd")
    log = told(
        [(NEW, Created(policy, name="docs.ocr"))],
        [(1, Leased(1, "anna", 30)), (1, Failed(2, LAPSE)), (1, Retried(AT + second))],
        [(1, Leased(2, "anna", 30)), (1, Failed(5, LAPSE)), (1, Retried(AT + 12 * second))],
        [(1, Leased(3, "anna", 30)), (1, Released(8, "busy", AT + 63 * second))],
        [(1, Leased(3, "anna", 30)), (1, Failed(10, error, "OSError"))],
    )
    projection = Projection("default")
    for commit in log.read(after=0):
        projection.apply(commit)
    record(log, projection, [(1, Retried(AT + 9 * second))], now=AT + 4 * second)
    ends: list[list[Draft]] = [
        [(1, Leased(4, "anna", 30)), (1, Failed(13, error, "ValueError")), (1, Expired("fatal"))],
    ]
    for drafts in ends:
        record(log, projection, drafts, now=AT + 9 * second)

    told_by = {step.event.seq: step.reason for step in story(log, "1")}

    assert told_by[1] == "ready at once, for nodes that handle docs.ocr, retried without limit"
    assert told_by[4].endswith("at once, since the lease had lapsed: its ttl was the wait")
    assert told_by[7] == "2nd retry: 1 x 10s after the 2nd lapse in a row"
    assert told_by[9] == (
        "put off for 1m by the worker on anna, after no time: busy; the attempt does not count"
    )
    assert told_by[12] == "3rd retry: 5s after the failure, by the rule for OSError"
    assert told_by[15] == "failed for good: by the rule for ValueError"


def test_a_history_tells_that_lapses_were_used_up() -> None:
    """How many there were, and how many were allowed."""
    policy = Policy("linear", 10, max_lapses=0)
    log = told(
        [(NEW, Created(policy))],
        [(1, Leased(1, "anna", 30)), (1, Failed(2, LAPSE)), (1, Expired("max_lapses"))],
    )

    assert list(story(log, "1"))[-1].reason == "1 lapse in a row, 0 allowed"


def test_a_snooze_is_why_a_task_is_scheduled() -> None:
    """The last event that chose the instant."""
    log = told(
        [(NEW, Created(PLAIN))],
        [(1, Leased(1, "anna", 30)), (1, Released(2, "busy", AT + 61_000_000))],
        [(NEW, Created(PLAIN)), (4, Cancelled())],
    )

    [cause] = ask(log).notes

    assert cause.startswith("because of released at 3: put off for 1m by the worker on anna")


def test_all_that_ranks_higher_is_ahead_where_no_node_has_come_yet() -> None:
    """Whoever comes may take all of it."""
    mail = Created(PLAIN, name="mail", priority=-1)
    ocr = Created(PLAIN, name="docs.ocr")
    answer = ask(told([(NEW, ocr)], [(NEW, mail)]), "2")

    assert any("1 task was ahead: 1 by higher priority" in note for note in answer.notes)


def test_who_was_ahead_is_told_of_a_node_that_joined_later() -> None:
    """By what the node that took the task chooses among, though it came when all were ready."""
    mail = Created(PLAIN, name="mail", priority=-1)
    ocr = Created(PLAIN, name="docs.ocr")
    joined = Joined("bob", 30, 2, "1", names=("*",))
    leases = [(1, Leased(1, "bob", 30)), (2, Leased(1, "bob", 30))]
    log = told([(NEW, ocr)], [(NEW, mail)], [(NODE, joined), *leases])

    answer = ask(log, "2")

    assert any("1 task was ahead: 1 by higher priority" in note for note in answer.notes)
