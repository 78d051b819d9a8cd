"""Conditions: what they say of a view, what they refuse, and that nothing can break them."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from eventq import ArgumentError, Queue, Task, TaskNotFoundError
from eventq.audit.expression import vocabulary
from eventq.audit.expression.parser import CHARACTERS, DEPTH, Expression, parse_expression
from eventq.audit.expression.view import View
from eventq.core.command import NEW, Draft
from eventq.core.events import Completed, Created, Leased, Refused
from eventq.core.projection import Projection
from eventq.core.values import Policy
from eventq.eventlog import EventLog, open_log
from eventq.replay.fold import replay, task_history
from tests.driver import memory_log, record
from tests.support import ManualClock

URL = "memory://conditions"


@pytest.fixture(scope="module")
def log() -> Iterator[EventLog]:
    """A task that fails twice and is done, one that expires, one to come, and a node's leases."""
    clock = ManualClock()
    with Queue(URL, clock=clock, workers=1, backoff=0, max_retries=1) as queue:
        tags = {"size": 3, "share": 0.5, "path": "a.png", "deep": {"list": [1, "x", True]}}
        queue.new(tags, key="one", priority=4)
        queue.new({"path": "b.png"})
        queue.run(worker, until="idle")
        queue.new(delay="1h", key="late")
        yield open_log(URL)


def worker(_: object, task: Task) -> object:
    """Fails the first attempt of all, and every attempt of the second task."""
    if task.number == 2 or task.attempt == 1:
        raise OSError("disk on fire")
    return {"bytes": 12}


@pytest.fixture(scope="module")
def end(log: EventLog) -> View:
    """The view of the log's end, with all its tasks named."""
    view = View(log, Projection(log.namespace), keys=["one", "2", "late"])
    for _ in view.steps():
        pass
    return view


TRUE = """
total == 3 and open == 1 and scheduled == 1 and ready == 0
leased == 0 and nodes == 0 and completed == 1 and expired == 1 and cancelled == 0
attempts == 4 and failures == 3 and refused == 0 and seq > 10
at > instant("2023-01-01T00:00:00Z")
at < instant("2023-11-14T22:13:20+00:00") + duration("1s")
0 < 1 < 2 <= 2 != 3 >= 3 > -1
not (0 < 1 > 2)
1 + 2 * 3 - 4 == 3 and -(2 - 5) == 3 and 2 - 3 - 4 == -5
1 == 1.0 and 0.5 < 1 and not 1 == True and not 0 == False
"a" < "b" and "a" in "cat" and "x" not in "cat" and 'it\\'s' == "it's"
2 in (1, 2) and 3 not in [1, 2] and 1 not in [] and 1 in [1,]
True and not False and None == None and None is None and 1 is not None
not None and not 0 and not "" and 1 and "text"
task("one") and task(2) and task("2")
task("one").state == "completed" and task("one").result.bytes == 12
task("one").key == "one" and task("one").number == 1 and task("one").fence == 0
task("one").priority == 4 and task("one").attempt == 2 and task("one").retry_count == 1
task("one").last_error_type == "OSError" and "fire" in task("one").last_error_message
task("one").worker == None and task("one").expires_at == None
task("one").tags.size == 3 and task("one").tags.share * 2 == 1 and "path" in task("one").tags
1 in task("one").tags.deep.list and True in task("one").tags.deep.list
task("one").tags["deep"].list == task("one").tags.deep["list"] and len(task(2).tags["path"]) == 5
  ready == 0 and\u00a0'é' != "e" and 1_0 == 10 and 1e3 == 1000 and "a" "b" == "ab"
task("one").tags.nothing.at.all == None and task("one").tags.size.deeper is None
len(task("one").tags) == 4 and len("four") == 4 and len(7) == None and len(None) == None
task(2).state in ("expired", "cancelled") and task(2).final_reason == "max_retries"
task("late").state == "scheduled" and task("late").scheduled_at - at == duration("1h")
task("late").created_at <= at and task("late").last_error_type == None
leases("nobody") == 0 and count("failed") == failures and count("leased") == attempts
not "a" < 1 and not None < 1 and not 1 > None and "a" != 1 and not True > 0
"a" + 1 == None and None * 2 is None and -"a" is None and True + 1 == None
999999999999999999 * 999999999999999999 == None
"x" not in 7 and 7 not in "x7" and 1 not in None
""".strip().splitlines()

WRONG = {
    "": "a condition such as",
    "   ": "a condition such as",
    "expird > 0": "one of scheduled, ready.* at column 1",
    "1 +": "a value at column 4",
    "1and ready": "what Python's grammar allows",
    "1 2": "what Python's grammar allows at column 3",
    "(1": "a bracket that closes this one at column 1",
    "(1, 2": "a bracket that closes this one at column 1",
    "[1 2]": "what Python's grammar allows at column 2",
    "1, 2": "brackets around a list at column 1",
    "1 in 1, 2": "brackets around a list at column 1",
    "(ready, 2) == 1": "only texts and numbers in a list at column 2",
    "x = 3": "== to compare at column 3",
    "1 = 3": "== to compare at column 3",
    "1 & 2": "and at column 3",
    "1 | 2": "or at column 3",
    "!ready": "not or != at column 1",
    "4 / 2": r"only \+ - \* at column 3",
    "4 % 2": r"only \+ - \* at column 3",
    "2 ** 9": r"only \+ - \* at column 3",
    "(2 + 3) // 2": r"only \+ - \* at column 9",
    "+ready": "only - or not at column 1",
    '"a': "a closing quote at column 1",
    '  "\\n"': "a backslash only before.* at column 4",
    "1 +\\\n1": "a backslash only before.* at column 4",
    "1e99": "at most 18 digits at column 1",
    "2j": "a text or a number at column 1",
    "...": "a text or a number at column 1",
    "b'a'": "a text or a number at column 1",
    "f'{seq}'": "a comparison, and, or, not, a name, .* at column 1",
    "ready; seq": "what Python's grammar allows at column 6",
    "seq # note": "no comment at column 5",
    "ready\x00": "no null character at column 6",
    "é": "one of scheduled, ready.* at column 1",
    "'é' < 7 < é": "one of scheduled, ready.* at column 11",
    "'\ud800'": "no half of a surrogate pair at column 2",
    "not": "a value at column 4",
    "not in": "what Python's grammar allows at column 5",
    "1 not 2": "what Python's grammar allows at column 7",
    "lambda: 1": "a comparison, and, or, not, a name, .* at column 1",
    "ready if seq else 1": "a comparison, and, or, not, a name, .* at column 1",
    "[seq for seq in [1]]": "a comparison, and, or, not, a name, .* at column 1",
    "seq := 1": "what Python's grammar allows at column 5",
    "and": "what Python's grammar allows at column 1",
    "9" * 19: "at most 18 digits",
    "task": "one of scheduled",
    "task()": "one argument of task at column 1",
    'task(key="one")': "one argument of task at column 1",
    'task(*["one"])': "a comparison, and, or, not, a name, .* at column 6",
    "task(seq)": "a key written out",
    "task(1.5)": "a key written out",
    "task(True)": "a key written out",
    'task("one", 2)': "one argument of task at column 1",
    'task("one").__class__': "a field of a task: key, number.* at column 13",
    'task("one")["state"]': "a field of a task: key, number.* at column 13",
    'task("one").tags[seq]': "a name written out, in quotes at column 18",
    'task("one").tags[1:2]': "a comparison, and, or, not, a name, .* at column 18",
    'task("one").state.upper': "a comparison or the end",
    'task("one").tags.1': "what Python's grammar allows at column 17",
    'task("one").tags.(1)': "what Python's grammar allows at column 18",
    'task("one").state == "done"': "one of the states waiting, scheduled.* at column 22",
    '"done" == task("one").state': "one of the states waiting, scheduled.* at column 1",
    'task("one").state in ("ready", "don")': "one of the states waiting, scheduled",
    'leases("n").tags': "a field only of a task.* at column 13",
    '"a".upper': "a field only of a task.* at column 5",
    'seq("n")': "a function: task.* at column 1",
    '"a".upper()': "a function: task.* at column 1",
    "leases(1)": "a node written out",
    'count("made")': "one of the kinds bulk, bulk_ended, cancelled, completed",
    "len()": "one argument of len at column 1",
    'instant("2030-01-01")': "its time zone, like.* at column 9",
    'instant("soon")': "its time zone, like",
    'duration("1 fortnight")': "a duration",
    'open("x")': "a function: task.* at column 1",
    'eval("1")': "a function: task.* at column 1",
    "__import__": "one of scheduled",
    "not " * DEPTH + "1": "inside each other",
    "-" * DEPTH + "1": "inside each other",
    "-" * (CHARACTERS - 1) + "1": "inside each other",
    "(" * (CHARACTERS // 2 - 1) + "1" + ")" * (CHARACTERS // 2): "at column",
    "len(" * DEPTH + "1" + ")" * DEPTH: "inside each other",
    "1" + " " * CHARACTERS: "at most 1,000 characters",
}


@pytest.mark.parametrize("text", TRUE)
def test_what_conditions_say(text: str, end: View) -> None:
    """Each of these holds at the end of the log."""
    assert parse_expression(text).holds(end) is True


@pytest.mark.parametrize("text", WRONG)
def test_what_is_no_condition(text: str) -> None:
    """An error names the argument, what was expected and where."""
    with pytest.raises(ArgumentError, match=WRONG[text]) as caught:
        parse_expression(text, "--expr")

    assert caught.value.argument == "--expr"


def test_only_text_is_read() -> None:
    """Anything else is refused, and not made text of."""
    with pytest.raises(ArgumentError, match="expected text"):
        parse_expression(7)  # type: ignore[arg-type]


def test_the_deepest_and_the_longest_are_answered(end: View) -> None:
    """At the limits there is an answer, and it comes soon."""
    longest = "+".join(["1"] * (CHARACTERS // 2))
    deepest = "len(" * (DEPTH - 2) + '"1" + 1' + ")" * (DEPTH - 2)

    began_s = time.process_time()
    assert parse_expression(longest).value(end) == CHARACTERS // 2
    assert parse_expression(deepest).value(end) is None
    assert time.process_time() - began_s < 2


def test_a_condition_may_stand_on_several_lines(end: View) -> None:
    """Line ends are spaces, and columns are counted over all lines."""
    assert parse_expression("\n  1 < 2\n  and\t3 < 4\n").holds(end)

    with pytest.raises(ArgumentError, match=r"one of scheduled.* at column 13"):
        parse_expression("1 < 2\n  and é")


def test_an_expression_knows_the_tasks_it_names() -> None:
    """Its view has to keep them, also once they are final."""
    found = parse_expression('task("a").attempt > 1 or task(7).state == "ready" or task("a")')

    assert found.keys == {"a", "7"}
    assert repr(parse_expression("ready > 1")) == "<Expression 'ready > 1'>"


def test_an_unknown_task_is_told(log: EventLog) -> None:
    """A key that no task has, or a number that has a key, would never be met."""
    for key in ("typo", "1", "99", "0", "٣", "9" * 255):
        with pytest.raises(TaskNotFoundError):
            View(log, Projection(log.namespace), keys=[key])
    with pytest.raises(ArgumentError, match="at most 255 bytes"):
        View(log, Projection(log.namespace), keys=["9" * 256])


def test_a_view_begins_anywhere(log: EventLog) -> None:
    """Begun at any position, it has the same tasks as one that came all the way."""
    come = View(log, Projection(log.namespace), keys=["one", "2", "late"])
    for event in come.steps():
        projection = Projection(log.namespace)
        begun = View(log, projection, keys=[])
        for _ in begun.steps(until=event.seq):
            pass
        begun = View(log, projection, keys=["one", "2", "late"])

        assert [begun.task(key) for key in ("one", "2", "late")] == [
            come.task(key) for key in ("one", "2", "late")
        ]
        assert (begun.seq, begun.at, begun.counts()) == (come.seq, come.at, come.counts())

    assert len(task_history(log, 1)) == 6


def test_a_task_is_ready_at_its_very_instant(log: EventLog) -> None:
    """Not only after it: as the queue itself has it."""
    view = View(log, replay(log, until=1), keys=["one"])

    assert parse_expression('task("one").scheduled_at == at and ready == 1').holds(view)
    assert parse_expression('task("one").state == "ready"').holds(view)


def test_a_late_outcome_leaves_a_final_task_as_it_is() -> None:
    """The projection has forgotten the task by then; the view has not."""
    log, policy = memory_log(), Policy("constant", 1)
    projection = Projection(log.namespace)
    story: list[Draft] = [
        (NEW, Created(policy)),
        (1, Leased(1, "n", 1)),
        (1, Completed(2)),
        (1, Refused(2, "n", "failed")),
    ]
    for draft in story:
        record(log, projection, [draft], now=1)
    view = View(log, Projection(log.namespace), keys=["1"])
    for _ in view.steps():
        pass

    assert parse_expression('refused == 1 and task(1).state == "completed"').holds(view)


PIECES = [
    *vocabulary.NAMES,
    *("None", "True", "False"),
    *vocabulary.COMPARISONS,
    *vocabulary.OPERATIONS,
    *(f'task("one").{field}' for field in vocabulary.FIELDS),
    'task("one").tags.deep.list',
    "task(2)",
    'leases("x")',
    'count("failed")',
    'instant("2030-01-01T00:00:00Z")',
    'duration("9d")',
    *("len(", "(", ")", "[", "]", ",", "not ", " and ", " or ", " is ", "-", "."),
    *("0", "1", "2.5", "999999999999999999", '"a"', "'b\\\\'", '""', '"ready"'),
]


@given(st.lists(st.sampled_from(PIECES), max_size=25).map(" ".join) | st.text(max_size=60))
@example("1 in task('one').result")
@example('"\ud800" in task("one").tags')
def test_anything_is_answered_or_refused(log: EventLog, text: str) -> None:
    """Whatever is written, there is an error that explains, or a condition that never fails."""
    found, told = read_or_refused(text)
    if found is None:
        assert "at column" in told or "at most" in told
    elif all(known(key) for key in found.keys):
        view = View(log, Projection(log.namespace), keys=found.keys)
        assert isinstance(found.holds(view), bool)
        for _ in view.steps(until=6):
            assert isinstance(found.holds(view), bool)


def read_or_refused(text: str) -> tuple[Expression | None, str]:
    """The expression, or None and why it is none."""
    try:
        return parse_expression(text), ""
    except ArgumentError as error:
        return None, str(error)


def known(key: str) -> bool:
    """Whether the log has this task."""
    return key in {"one", "2", "late"}
