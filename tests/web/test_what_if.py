"""What if, in the console: the recorded load under another policy, within bounds."""

from __future__ import annotations

import threading

import pytest

import eventq
from eventq.replay.points import Point
from eventq.sandbox import whatif
from eventq.web.access import Person
from eventq.web.pages import what_if
from eventq.web.past import AbandonedError
from eventq.web.showing import Veil
from eventq.web.sight import Sight
from tests.web.desk import Desk, MakeDesk
from tools.generate.bulk import make_bulk

PATIENT_S = 120.0


@pytest.fixture
def busy(make_desk: MakeDesk, queue: eventq.Queue) -> Desk:
    """A console over a log with a load."""
    make_bulk(queue.log, tasks=400, seed=2)
    return make_desk()


def test_it_says_what_the_library_says(busy: Desk) -> None:
    """Of the tasks behind a position, up to the moment that is looked at."""
    log = busy.queue.log
    head = log.head()
    page = busy.json(f"/what-if?at={head.seq}&since=12&workers=5&backoff=1s&kind=constant")
    wanted = whatif(
        log,
        after=Point(12, 0),
        until=Point(head.seq, head.at),
        workers=5,
        backoff=eventq.Backoff.constant("1s"),
    )
    rows = {row["name"]: row for row in page["rows"]}

    assert rows["workers"]["what_if"] == "5"
    assert rows["completed"]["what_if"] == f"{wanted.what_if.completed:,}"
    assert rows["completed"]["recorded"] == f"{wanted.recorded.completed:,}"
    assert rows["attempts"]["as_it_was"] == f"{wanted.as_it_was.attempts:,}"
    assert page["problem"] is None


@pytest.mark.parametrize(
    "asked",
    [
        "workers=0",
        "workers=many",
        "backoff=soon",
        "backoff=1s&kind=odd",
        "limit=none-has-it",
        "since=yesterdayish&workers=1",
    ],
)
def test_what_cannot_be_supposed_is_said(busy: Desk, asked: str) -> None:
    """In the words of the library; the form keeps what was typed."""
    head = busy.queue.log.head().seq
    page = busy.json(f"/what-if?at={head}&since=12&{asked}")

    assert page["problem"] is not None
    assert "expected" in page["problem"]
    assert page["rows"] == []


def test_nothing_asked_is_nothing_simulated(busy: Desk) -> None:
    """The page is a form then, at a past instant too."""
    assert busy.json("/what-if?at=100")["rows"] == []
    assert 'name="at" value="100"' in busy.get("/what-if?at=100")


def test_a_stretch_is_bounded(busy: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its events, and by the time that it takes."""
    head = busy.queue.log.head().seq
    where = f"/what-if?at={head}&since=12&workers=2"
    monkeypatch.setattr(what_if, "MOST_S", -1.0)
    assert "a shorter stretch" in busy.json(where)["problem"]
    monkeypatch.setattr(what_if, "MOST_EVENTS", 10)

    assert "at most 10 events" in busy.json(f"{where}&kind=constant")["problem"]


def test_who_has_gone_leaves_no_simulation_behind(busy: Desk) -> None:
    """It is given up at its next look into the log."""
    past, log = busy.app.state.console.past, busy.queue.log
    head = log.head()
    begun, goes_on = threading.Event(), threading.Event()
    question = what_if.WhatIfQuestion(since="12", workers="2")
    veil = Veil(Person("ada"), frozenset())

    def tell(sight: Sight) -> object:
        begun.set()
        goes_on.wait(PATIENT_S)
        return what_if.what_if_model(sight, question, veil)

    job = past.ask("gone", Point(head.seq, head.at), tell, keeps=True)
    begun.wait(PATIENT_S)
    past.leave("gone")
    goes_on.set()

    with pytest.raises(AbandonedError):
        job.future.result(PATIENT_S)


def test_a_log_that_is_younger_than_the_stretch_is_taken_whole(busy: Desk) -> None:
    """As the form has it when it is opened."""
    begins = busy.queue.log.start().seq
    whole = busy.json("/what-if?workers=2&since=-1000d")
    asked = busy.json(f"/what-if?workers=2&since={begins}")

    assert whole["problem"] is None
    assert (whole["after"], whole["rows"]) == (begins, asked["rows"])
    assert "since" in busy.json("/what-if?workers=2&since=-1x")["problem"].lower()
