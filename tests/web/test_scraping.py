"""`/metrics` of a console: right at each scrape, for those who may see them."""

from __future__ import annotations

import sys

import pytest
from prometheus_client import generate_latest

from eventq.contrib.prometheus import registry_of
from eventq.web.access import Right
from tests.web.desk import Desk, MakeDesk


def numbers(text: str) -> set[str]:
    """The lines of what is counted by events, which no clock changes."""
    return {line for line in text.splitlines() if line.startswith("eventq_tasks_")}


def test_the_numbers_are_those_of_the_queue(full: Desk) -> None:
    """As `eventq metrics` says them, each time anew."""
    first = full.get("/metrics")
    full.queue.new({"n": 1}, name="fresh")
    second = full.get("/metrics")

    assert numbers(second) == numbers(generate_latest(registry_of(full.queue)).decode())
    assert 'name="fresh"' in second
    assert 'name="fresh"' not in first


def test_who_asks_is_asked_each_time(full: Desk) -> None:
    """A right that has been taken away ends the next scrape; some lanes are not enough."""
    known = full.get("/metrics")
    full.person = None
    nobody = full.get("/metrics", 401)
    full.may(lanes=["mail"])

    assert "eventq_tasks_ready" in known
    assert "eventq_" not in nobody
    assert "of all lanes" in full.get("/metrics", 403)


def test_values_of_tags_are_no_labels_for_all(make_desk: MakeDesk, full: Desk) -> None:
    """Buckets of a limit by a secret tag are told together."""
    full.queue.set_limit("host", running=2, per="host")
    full.queue.new({"host": "secret.example"}, name="call", limits=["host"])
    full.queue.run(lambda _c, _t: None, until="idle", signals=False, names=["call"])
    careful = make_desk(redact=["host"])
    assert "secret.example" not in careful.get("/metrics")
    full.may(Right.RETRY)

    assert "secret.example" not in full.get("/metrics")


def test_without_the_package_it_says_so(full: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """And how to install it."""
    monkeypatch.setitem(sys.modules, "prometheus_client", None)

    assert "pip install" in full.get("/metrics", 501)


def test_who_asks_while_the_log_is_read_comes_again(
    full: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No thread of the console waits for a whole log."""
    monkeypatch.setattr("eventq.web.scraping.PATIENT_S", 0.0)
    scraping = full.app.state.console.scraping
    with scraping._lock:
        assert "ask again" in full.get("/metrics", 503)

    assert "eventq_tasks_ready" in full.get("/metrics")
