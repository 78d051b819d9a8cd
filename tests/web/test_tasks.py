"""The pages of tasks and errors: filters, pages of a list, files, and what is refused."""

from __future__ import annotations

import csv
import io
import random
import threading
from typing import Any

import msgspec
import pytest

import eventq
from eventq.catalog.catalog import Catalog
from eventq.core.task import FINAL
from eventq.errors import CatalogError
from eventq.replay.points import Point
from eventq.web.access import Person, Right
from eventq.web.kept_catalog import CatalogLackingError, KeptCatalog, SlowQuestionError
from tests.catalog.counts import naive_failures
from tests.catalog.records import naive_records
from tests.web.desk import SECRET, Desk, MakeDesk

PATIENT_S = 60.0


def build(queue: eventq.Queue) -> None:
    """Brings the queue's catalog to the log's end."""
    catalog = Catalog.open(queue.log)
    catalog.catch_up()
    catalog.close()


def keys(found: Any) -> list[str]:  # noqa: ANN401 - JSON
    """The keys in a list of tasks."""
    return [row["key"] for row in found["rows"]]


@pytest.fixture
def known(full: Desk) -> Desk:
    """A console over a queue with a past and a catalog of it."""
    build(full.queue)
    return full


def test_without_a_catalog_open_tasks_are_shown(full: Desk) -> None:
    """And the page says how to have all; what only a catalog knows is refused."""
    page = full.get("/tasks")
    found = full.json("/tasks?name=nobody")

    assert "eventq catalog build" in page
    assert "behind" in page
    assert "img/1" not in page
    assert "behind" in keys(found)
    assert {row["name"] for row in found["rows"]} == {"nobody"}
    assert "There is no catalog" in found["lack"]
    assert "only a catalog" in full.get("/tasks?lapsed=yes", 400)
    assert keys(full.json("/tasks?at=4"))[0] == "img/3"
    assert "eventq catalog build" in full.get("/errors")
    assert "eventq catalog build" in full.get("/export/tasks.csv?at=4", 409)


def test_tasks_are_found_by_what_the_catalog_knows(known: Desk) -> None:
    """Final ones as well; several states are one condition, and what is empty is none."""
    assert keys(known.json("/tasks?error=ConnectionError")) == ["img/3", "img/1"]
    assert keys(known.json("/tasks?state=expired&state=ready&name=&tags=n=1")) == ["img/1"]
    assert keys(known.json("/tasks?text=9&lane=default")) == ["25"]
    assert keys(known.json("/tasks?message=REFUSED&order=number")) == ["img/1", "img/3"]
    assert known.json("/tasks?error=ConnectionError&count=true")["count"] == 2
    assert "img/1" in known.get("/tasks?state=expired&columns=place,by")
    moved = known.client.get("/tasks?state=ready&state=leased&name=").headers["location"]
    assert moved == "/tasks?state=ready%2Cleased"


def test_retried_more_than_so_often_counts_retries(known: Desk) -> None:
    """A task with one attempt has had no retry."""
    assert keys(known.json("/tasks?retried_over=0")) == []
    assert len(keys(known.json("/tasks?min_attempts=1"))) == 6


def test_a_list_goes_on_page_by_page(known: Desk) -> None:
    """Without counting all; behind the last page there is a way back."""
    whole = keys(known.json("/tasks"))
    pages, after = [], ""
    while True:
        found = known.json(f"/tasks?limit=3{after}")
        pages.append(keys(found))
        if found["more"] is None:
            break
        after = f"&after={found['more']}"

    assert len(pages) > 2
    assert [key for page in pages for key in page] == whole
    assert "nothing behind this page" in known.get("/tasks?after=1")
    assert "Next page" in known.get("/tasks?limit=3")


@pytest.mark.parametrize(
    "query",
    [
        "state=mad",
        "order=up",
        "columns=x",
        "limit=0",
        "limit=100000",
        "after=x",
        "tags=path",
        "tags={",
        "lapsed=perhaps",
        "min_attempts=-1",
        "retried_over=-1",
        "flow=\N{ARABIC-INDIC DIGIT SEVEN}",
        "flow=" + "9" * 40,
        "since=whenever",
        "number=1,x",
        "text=%2C",
        "path=x&count=perhaps",
        "name=" + "x" * 2000,
    ],
)
def test_a_filter_that_is_none_is_told(known: Desk, query: str) -> None:
    """With what was expected, and nothing else."""
    assert "Traceback" not in known.get(f"/tasks?{query}", 400)
    assert "problem" in known.json(f"/tasks?{query}", 400)


def test_what_was_wrong_is_called_as_it_was_asked(known: Desk) -> None:
    """Also where it means another condition."""
    assert known.json(f"/tasks?retried_over={2**63}", 400)["problem"].startswith("Retried_over: ")


def test_what_is_not_seen_is_not_asked_for(make_desk: MakeDesk, known: Desk) -> None:
    """A filter on what is hidden would tell it by what fits."""
    desk = make_desk(redact=["token"])
    for query in ("tags=token=x", "text=hunter2", "message=hunter2", "place=x", 'tags={"token":1}'):
        assert "secret" in desk.get(f"/tasks?{query}", 403), query
        assert "secret" in desk.json(f"/tasks?{query}", 403)["problem"]
        desk.post("/plans", 403, action="retry", filter=query)
        desk.post("/filters/save", 403, name="x", filter=query)
        desk.get(f"/export/tasks.jsonl?{query}", 403)
    shown = desk.get("/tasks?error=ConnectionError") + desk.get("/errors")
    shown += desk.get("/export/tasks.csv") + desk.get("/export/tasks.jsonl")
    desk.may()
    blind = desk.get("/tasks?error=ConnectionError") + desk.get("/errors")
    for query in ("tags=n=1", "text=1", "message=x", "place=x"):
        assert "may not" in desk.get(f"/tasks?{query}", 403)

    assert SECRET not in shown
    assert "(hidden)" in shown
    assert "refused h" not in blind
    assert "desk.py" not in blind
    assert "ConnectionError" in blind
    assert desk.get("/tasks?tags=n=1", 403)
    del known


def test_lanes_bound_lists_and_counts(known: Desk) -> None:
    """Of other lanes nothing is found, counted, or written into files."""
    known.may(Right.VALUES, lanes=["mail"])
    found = known.json("/tasks?count=true")
    now = known.json("/now")

    assert [row["lane"] for row in found["rows"]] == ["mail"]
    assert found["count"] == 1
    assert known.json("/errors")["errors"] == []
    assert "lanes mail alone" in known.get("/tasks?lane=heavy", 403)
    assert len(known.get("/export/tasks.csv").splitlines()) == 2
    assert now["counts"] == {"waiting": 0, "scheduled": 0, "ready": 1, "leased": 0}
    assert (now["rates"], now["unhandled"]) == ([], {})
    assert "all lanes" in known.get("/compare?a=1&b=end", 403) + known.get("/compare?a=1&b=9", 403)


def test_errors_are_grouped(known: Desk) -> None:
    """By type and place, with first and last, and a way to the tasks."""
    [group] = known.json("/errors")["errors"]
    page = known.get("/errors")

    assert (group["type"], group["failures"], group["tasks"]) == ("ConnectionError", 2, 2)
    assert group["first_at"] < group["last_at"]
    assert "in work" in group["place"]
    assert keys(known.json(f"/tasks?{group['filter']}")) == ["img/3", "img/1"]
    assert "Retry all" in page
    assert known.json("/errors?since=-1d")["errors"] == [group]
    assert known.json("/errors?until=-1d")["errors"] == []
    assert known.json("/errors?at=9")["errors"] == []


def test_lists_are_files(known: Desk) -> None:
    """All that fit, line by line; a spreadsheet takes no text for a formula."""
    known.queue.new({"n": 1}, key="=1+1|'x'!A1")
    build(known.queue)
    rows = list(csv.DictReader(io.StringIO(known.get("/export/tasks.csv?order=number"))))
    lines = [msgspec.json.decode(line) for line in known.get("/export/tasks.jsonl").splitlines()]

    assert [row["key"] for row in rows] == [
        f"'{key}" if key.startswith("=") else key for key in keys(known.json("/tasks?order=number"))
    ]
    assert [line["key"] for line in lines] == keys(known.json("/tasks"))
    assert rows[1]["error"].startswith("ConnectionError: refused")
    assert known.get("/export/tasks.csv?name=none") == ""
    known.get("/export/tasks.xls", 404)
    known.get("/export/nodes.csv", 404)


def test_too_many_are_no_file(known: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says so before the first line."""
    monkeypatch.setattr("eventq.web.exporting.MOST_TASKS", 3)

    assert "at most 3" in known.get("/export/tasks.csv", 400)
    assert known.get("/export/tasks.csv?error=ConnectionError")


def test_filters_are_kept_by_person(known: Desk) -> None:
    """Under their names, and shown to nobody else."""
    known.done("/filters/save", name="bad <b>", filter="state=expired&error=ConnectionError")
    page = known.get("/tasks")

    assert "bad &lt;b&gt;" in page
    assert "/tasks?state=expired&amp;error=ConnectionError" in page
    known.done("/filters/save", name="two", filter="state=expired&state=ready")
    assert "/tasks?state=expired%2Cready" in known.get("/tasks")
    known.post("/filters/save", 400, name="", filter="state=expired")
    known.post("/filters/save", 400, name="x", filter="state")
    known.post("/filters/save", 400, name="x", filter="state=" + "x" * 9_000)
    known.person = Person("eve")
    assert "bad &lt;b&gt;" not in known.get("/tasks")
    known.person = Person("ada")
    known.done("/filters/drop", name="bad <b>")
    assert "bad &lt;b&gt;" not in known.get("/tasks")


def test_a_catalog_that_is_behind_is_brought_up_to_date(
    known: Desk, queue: eventq.Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until it is, the page says so; a few events are caught up with at once."""
    queue.new({"n": 50}, key="fresh")
    assert keys(known.json("/tasks?limit=1")) == ["fresh"]
    queue.new({"n": 51}, key="fresher")
    monkeypatch.setattr("eventq.web.kept_catalog.SOON_EVENTS", 0)
    page = known.json("/tasks?limit=1")
    follower = known.app.state.console.catalog._follower

    assert "being brought up to date" in page["lack"]
    assert keys(page) == ["fresher"]
    follower.join()
    assert known.json("/tasks?limit=1")["lack"] is None


def test_a_catalog_may_come_and_go(full: Desk) -> None:
    """One that is built, built anew or dropped while the console runs is seen."""
    assert full.json("/tasks?at=20")["lack"]
    build(full.queue)
    assert full.json("/tasks?at=21")["lack"] is None
    Catalog.open(full.queue.log).drop()
    assert full.json("/tasks")["lack"]
    build(full.queue)
    assert full.json("/tasks")["lack"] is None


def test_a_question_has_its_time(known: Desk) -> None:
    """One that takes too long is broken off, and the next one is answered."""
    log = known.queue.log
    point = Point(log.head().seq, 0)
    slow = KeptCatalog(log, answer_s=0.0)
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"
    with pytest.raises(SlowQuestionError):
        slow.ask(point, lambda catalog, _: catalog.store.rows(endless))

    def fail(catalog: Catalog, _point: Point) -> None:
        raise CatalogError(catalog.path, "it is tired")

    with pytest.raises(SlowQuestionError):
        slow.ask(point, fail)
    slow.close()
    slow.close()
    quick = KeptCatalog(log)
    with pytest.raises(CatalogLackingError, match="tired"):
        quick.ask(point, fail)
    assert quick.ask(point, lambda catalog, _: catalog.is_there)
    quick.close()


@pytest.mark.parametrize("seed", range(3))
def test_the_past_is_what_a_full_fold_says(make_desk: MakeDesk, seed: int) -> None:
    """Final and open tasks and errors at any position, however the queue came there."""
    chance = random.Random(seed)
    desk = make_desk()
    queue = desk.queue

    def work(_ctx: eventq.Context, task: eventq.Task) -> None:
        if chance.random() < 0.5:
            raise chance.choice([ValueError, OSError])(str(task.tags["n"]))

    for number in range(12):
        queue.new({"n": number}, max_retries=chance.randrange(2), backoff=0)
        if chance.random() < 0.3:
            queue.run(work, until="idle", signals=False)
        if number and chance.random() < 0.4:
            task = queue.get(str(chance.choice(keys_of(queue))))
            if task is not None and task.state in {"expired", "cancelled"}:
                queue.retry(task.key)
            elif task is not None and task.state != "completed":
                queue.cancel(task.key)
    build(queue)
    for seq in chance.sample(range(1, queue.log.head().seq + 1), 8):
        page = desk.json(f"/tasks?at={seq}&limit=500&order=number")
        point = Point(seq, _at(desk, seq))
        naive = naive_records(queue.log, point)

        assert page["lack"] is None
        assert [(row["number"], row["state"], row["attempts"]) for row in page["rows"]] == [
            (each.number, str(each.state), each.attempts) for each in naive
        ]
        final = desk.json(f"/tasks?at={seq}&state=completed,expired,cancelled&count=true&limit=500")
        assert final["count"] == sum(each.state in FINAL for each in naive)
        errors = desk.json(f"/errors?at={seq}")["errors"]
        found = {(row["type"], row["place"]): row["failures"] for row in errors}
        assert found == dict(naive_failures(queue.log, point))


def keys_of(queue: eventq.Queue) -> list[int]:
    """The numbers of all tasks."""
    return [event.seq for event in queue.events() if event.kind == "created"]


def _at(desk: Desk, seq: int) -> int:
    """The instant that a position is looked at from."""
    found: int = desk.app.state.console.point_of(str(seq)).at
    return found


def test_pages_that_wait_for_the_catalog_hold_up_no_other(known: Desk) -> None:
    """However many of them there are, the page Now is there at once."""
    catalog = known.app.state.console.catalog
    shown: list[str] = []
    with catalog._lock:  # as if a question took long
        slow = [threading.Thread(target=known.get, args=("/tasks",)) for _ in range(6)]
        for each in slow:
            each.start()
        quick = threading.Thread(target=lambda: shown.append(known.get("/")))
        quick.start()
        quick.join(PATIENT_S)
        told = list(shown)
    for each in [*slow, quick]:
        each.join(PATIENT_S)

    assert "By name and lane" in told[0]
