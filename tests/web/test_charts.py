"""Charts: the last hour and day, counted exactly as of any position, with a catalog or without."""

from __future__ import annotations

import re
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

import pytest

import eventq
from eventq.catalog.catalog import Catalog
from eventq.eventlog.contract import EventLog
from eventq.web import span_charts
from eventq.web.pages import charts
from tests.web.desk import SECRET, Desk, MakeDesk, fill
from tools.generate.bulk import make_bulk

MINUTE_US = 60_000_000
COLUMNS = charts.COUNTED


def build(log: EventLog) -> None:
    """Makes the log's catalog."""
    catalog = Catalog.open(log)
    catalog.catch_up()
    catalog.close()


def naive(log: EventLog, seq: int, step: int) -> Counter[tuple[int, str]]:
    """How often each kind came in each step up to a position, from all events."""
    found: Counter[tuple[int, str]] = Counter()
    for commit in log.read(after=0, limit=1_000_000):
        for at, body in enumerate(commit.bodies, commit.first):
            kind = body.split('"', 4)[3]
            if at <= seq and kind in COLUMNS:
                found[commit.at // (step * MINUTE_US), COLUMNS[kind]] += 1
    return found


def told(spans: list[dict[str, Any]], step: int) -> Counter[tuple[int, str]]:
    """The same, as a page has it."""
    found: Counter[tuple[int, str]] = Counter()
    for span in spans:
        at = int(datetime.fromisoformat(span["at"]).timestamp() // (step * 60))
        found.update({(at, name): span[name] for name in COLUMNS.values() if span[name]})
    return found


@pytest.mark.parametrize("has_catalog", [True, False])
def test_charts_count_exactly_at_any_position(
    make_desk: MakeDesk, queue: eventq.Queue, *, has_catalog: bool
) -> None:
    """Inside of a minute too, and inside of a commit: as all events up to there say."""
    made = make_bulk(queue.log, tasks=8_000, seed=3)
    if has_catalog:
        build(queue.log)
    desk, chance = make_desk(), Random(5)
    for _ in range(6):
        seq = chance.randrange(1, made.events)
        page = desk.json(f"/charts?at={seq}")
        assert page["source"] == ("catalog" if has_catalog else "log")
        assert told(page["hour"]["spans"], 1) == naive(queue.log, seq, 1), seq
        if has_catalog:
            assert told(page["day"]["spans"], 60) == naive(queue.log, seq, 60), seq
            counts = naive(queue.log, seq, 1).items()
            failures = sum(count for (_, name), count in counts if name == "failed")
            assert sum(each["failures"] for each in page["failing"]) == failures


def test_charts_say_what_is_missing(
    make_desk: MakeDesk, queue: eventq.Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a catalog a busy hour is not counted; the page says how to build one."""
    make_bulk(queue.log, tasks=300)
    monkeypatch.setattr(charts, "COUNTED_EVENTS", 10)
    desk = make_desk()
    seq = queue.log.head().seq

    assert desk.json(f"/charts?at={seq}")["source"] is None
    assert "eventq catalog build" in desk.get(f"/charts?at={seq}")


def test_charts_of_the_present(make_desk: MakeDesk, queue: eventq.Queue) -> None:
    """What just happened is in them, also once it has gone on behind the catalog."""
    fill(queue)
    build(queue.log)
    desk = make_desk()
    before = sum(span["created"] for span in desk.json("/charts")["hour"]["spans"])
    queue.new({"n": 1})
    after = sum(span["created"] for span in desk.json("/charts")["hour"]["spans"])
    page = desk.get("/charts")

    assert after == before + 1
    assert page.count('<figure class="chart">') == 10
    assert "style=" not in page


def test_an_empty_queue_has_charts(desk: Desk) -> None:
    """In which nothing stands."""
    assert sum(span["created"] for span in desk.json("/charts")["hour"]["spans"]) == 0
    desk.get("/charts")


def test_messages_of_failures_are_values(make_desk: MakeDesk, queue: eventq.Queue) -> None:
    """Who may see none sees none here; and none is shown where tags are secret."""
    fill(queue)
    build(queue.log)
    desk, careful = make_desk(), make_desk(redact=["token"])
    assert SECRET in desk.get("/charts")
    desk.may()

    assert SECRET not in desk.get("/charts")
    assert SECRET not in careful.get("/charts")
    assert "ConnectionError" in careful.get("/charts")
    assert Path(f"{queue.log.url.removeprefix('sqlite:///')}.catalog").exists()


def test_a_value_that_stands_alone_is_seen() -> None:
    """As a short dash, where a line would have no length; and no axis is of microseconds."""
    times = [datetime(2030, 1, 1, 12, minute, tzinfo=UTC) for minute in range(5)]
    values: list[float | None] = [None, 2_000_000.0, None, 500_000.0, 1_000_000.0]
    chart = span_charts.lines(times, "Waited", [span_charts.Series("waited", "wait", values)])
    flat = span_charts.lines(times, "Oldest", [span_charts.Series("oldest", "wait", [0.0] * 5)])

    [path] = re.findall(r'<path class="wait" d="(M\d[^"]*L[^"]*)"', chart)
    assert re.fullmatch(r"M[\d.]+ 8\.0h5M[\d.]+ [\d.]+L[\d.]+ [\d.]+", path)
    assert ">2s<" in chart
    assert ">1ms<" in flat
