"""Values of secret tags leave the console neither by the past, nor by what is told of an act."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing
from http import HTTPStatus
from pathlib import Path

import pytest

import eventq
from eventq.archive import archive_events, delete_archived
from eventq.catalog.catalog import Catalog
from eventq.replay.points import find_end, find_point
from eventq.web.access import Right
from tests.verify.tampering import unguarded
from tests.web.desk import Desk, MakeDesk
from tests.web.leaks import CANARY, FORMS, PATIENT_S, asked_of, leak, numbers_of, paths_to

WHAT_IF = ["/what-if?workers=2", "/what-if?limit=smtp&running=1", "/what-if?limit=host&running=2"]

FILES = [f"/export/{what}.{form}" for what in ("tasks", "changes") for form in ("csv", "jsonl")]


def leaking(desk: Desk, paths: Iterable[str], moments: Iterable[int]) -> Iterator[str]:
    """Those that tell the secret: pages now, and their JSON now and at these moments; files."""
    asked = [*paths, *WHAT_IF, *FILES]
    data = [f"/api{path}" if path != "/" else "/api/now" for path in [*paths, *WHAT_IF]]
    asked += [*data, *(f"{p}{'&' if '?' in p else '?'}at={m}" for m in moments for p in data)]
    for path in asked:
        answer = desk.asked(path)
        assert answer.status_code < HTTPStatus.INTERNAL_SERVER_ERROR, path
        if any(form in f"{answer.text}\n{answer.headers}" for form in FORMS):
            yield path


def test_a_secret_leaves_by_no_page_of_the_past(leaky: Desk) -> None:
    """At moments from the first event on, where tasks have other tags and states than now."""
    paths = [path for path in asked_of(leaky) if "order=" not in path]
    last = leaky.queue.log.head().seq

    assert leaky.json("/tasks?at=3")["seq"] == 3
    assert list(leaking(leaky, paths, range(2, last, 11))) == []


@pytest.mark.parametrize("has_catalog", [True, False])
def test_without_the_right_to_values_none_is_told(
    make_desk: MakeDesk, queue: eventq.Queue, *, has_catalog: bool
) -> None:
    """To who may do all else: on no page, at no moment, and by no act; keys are no values."""
    leak(queue, [], name="one", old="two")
    if has_catalog:
        with closing(Catalog.open(queue.log)) as catalog:
            catalog.catch_up()
    desk = make_desk()
    desk.may(*(set(Right) - {Right.VALUES}))
    numbers, last = numbers_of(desk), queue.log.head().seq
    named = desk.json("/tasks/sent%2Fone")
    found = list(leaking(desk, [*asked_of(desk), "/metrics"], range(2, last, 11)))
    acts = [f"/tasks/{n}/{act}" for n in numbers for act in ("retry", "cancel", "repeat", "update")]
    acts += [f"/changes/{seq}/undo" for seq in range(1, last + 1)]
    for path in acts:
        answer = desk.sent(path, priority="3", reason="why")
        told = desk.asked(answer.headers.get("location", "/")).text
        if any(form in f"{answer.text}{told}" for form in FORMS):
            found.append(path)

    assert named["row"]["key"] == "sent/one"
    assert found == []


@pytest.mark.parametrize("has_folder", [True, False])
def test_a_secret_leaves_by_no_page_of_a_log_that_is_archived(
    leaky: Desk, tmp_path: Path, *, has_folder: bool
) -> None:
    """Nobody knows without the folder what the tags of a task have held, also of an open one."""
    log, folder = leaky.queue.log, tmp_path / "archive"
    last, numbers = log.head().seq, numbers_of(leaky)
    until = find_end(log, find_point(log, last * 2 // 3, now=log.head().at))
    archive_events(log, folder, until=until)
    delete_archived(log, folder, until=until, now=log.head().at)
    options = leaky.app.state.console.options
    with eventq.Queue(leaky.queue.url, archive=folder if has_folder else None) as queue:
        desk = Desk(queue, tmp_path / "other", redact=list(options.redact))
        rows = {row["number"]: row["key"] for row in desk.json("/tasks?limit=500")["rows"]}
        found = list(leaking(desk, paths_to(numbers, last), range(until.seq, last, 5)))
        desk.close()

    assert any(number <= until.seq for number in rows)
    assert found == []


@pytest.mark.parametrize("redact", [["email"], []])
def test_a_secret_leaves_by_nothing_that_has_moved_on(
    make_desk: MakeDesk, queue: eventq.Queue, redact: list[str]
) -> None:
    """Why a change to many, or an undo, leaves a task is told by numbers alone."""
    email, own = {"email": CANARY}, [] if redact else ["email"]
    queue.new(email, key=f"one/{CANARY}", unique=CANARY, secret=own)
    queue.new(email, key=f"two/{CANARY}", delay="1h", secret=own)
    queue.cancel(f"one/{CANARY}", by="ada")
    cancelled = queue.log.head().seq
    queue.new(email, key=f"three/{CANARY}", unique=CANARY, secret=own)
    desk = make_desk(redact=redact)
    texts = [desk.sent(f"/changes/{cancelled}/undo").text]
    plan = desk.post("/plans", 303, filter="state=cancelled,scheduled", action="retry").headers
    queue.retry(f"two/{CANARY}")
    path = plan["location"].partition("?")[0]
    applied = desk.post(f"{path}/apply", 303, reason="why").headers
    texts += [desk.get(path), desk.get(applied["location"])]

    assert "cannot retry task &#39;1&#39;: it is cancelled, and task &#39;" in texts[1]
    assert "unique value" in texts[0]
    assert not any(form in text for text in texts for form in FORMS)


def test_a_secret_leaves_by_no_finding(leaky: Desk, tmp_path: Path) -> None:
    """Of `verify`, on the page, as a file for a ticket, and to who sees one lane alone."""
    with closing(unguarded(tmp_path / "queue.db")) as connection:
        connection.set_busy_timeout(60_000)
        number = leaky.queue.log.find_keys([f"sent/{CANARY}"])[f"sent/{CANARY}"]
        connection.execute("UPDATE events SET key = key || 'x' WHERE task = ?", (number,))
    leaky.done("/integrity/verify")
    leaky.app.state.console.checking._thread.join(PATIENT_S)
    page = leaky.get("/integrity")
    pages = [page, leaky.get("/integrity?as=file"), leaky.get(f"/integrity?at={number}")]
    leaky.may(Right.VALUES, lanes=["default"])
    pages.append(leaky.get("/integrity"))

    assert "the commit&#39;s keys are not those that its events have" in page
    assert "keys are not those" not in pages[-1]
    assert not any(form in text for text in pages for form in FORMS)
