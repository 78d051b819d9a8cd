"""The console on every kind of log: on MongoDB, on one of which the beginning was archived."""

from __future__ import annotations

from pathlib import Path

import eventq
from eventq.archive import archive_events, delete_archived
from eventq.audit import state_at
from eventq.replay.points import Point, find_end, find_point
from tests.servers import new_url
from tests.web.desk import Desk, fill
from tools.mongod import ReplicaSet

PATHS = ("/", "/tasks/img%2F1", "/tasks/img%2F1/why", "/flows/doc:1", "/limits", "/integrity")


def test_a_queue_on_mongodb(mongod: ReplicaSet, tmp_path: Path) -> None:
    """Every page, now and then; and an act."""
    with eventq.Queue(new_url(mongod), workers=1) as queue:
        fill(queue)
        desk = Desk(queue, tmp_path / "cache")
        log = queue.log
        for path in PATHS:
            desk.get(path)
        seq = log.head().seq - 5
        page = desk.json(f"/now?at={seq}")
        told = desk.done("/tasks/img%2F1/retry")
        desk.close()

        assert page["counts"] == state_at(log, find_point(log, seq, now=log.head().at)).counts
        assert "is ready again" in told


def test_a_log_that_is_archived_under_an_open_console(tmp_path: Path) -> None:
    """With the archive, the past is there as before; without it, the page says where it went."""
    url, folder = f"sqlite:///{tmp_path}/queue.db", tmp_path / "archive"
    with eventq.Queue(url, workers=1) as queue:
        fill(queue)
        desk = Desk(queue, tmp_path / "cache")
        whole = desk.json("/now?at=9")["counts"]
        log = queue.log
        until = find_end(log, Point(log.head().seq - 6, 0))
        archive_events(log, folder, until=until)
        delete_archived(log, folder, until=until, now=log.head().at)
        gone = desk.get("/?at=8", 404)
        desk.get("/")
        desk.close()
        with eventq.Queue(url, archive=folder) as both:
            other = Desk(both, tmp_path / "other")
            page, integrity = other.json("/now?at=9"), other.json("/integrity")
            other.get("/tasks/img%2F1/why")
            other.close()

    assert "--archive" in gone
    assert page["counts"] == whole
    assert integrity["segments"][0]["last"] == until.seq


def test_the_past_of_a_log_of_which_the_beginning_is_gone(tmp_path: Path) -> None:
    """A console that opens it later, without the archive, has all that the log still has."""
    folder = tmp_path / "archive"
    with eventq.Queue(f"sqlite:///{tmp_path}/queue.db", workers=1) as queue:
        fill(queue)
        log = queue.log
        until = find_end(log, Point(log.head().seq // 2, 0))
        archive_events(log, folder, until=until)
        delete_archived(log, folder, until=until, now=log.head().at)
        desk = Desk(queue, tmp_path / "cache")
        start, end = until.seq, log.head().seq
        for seq in (end - 1, start, start + 1, end - 2, start):
            wanted = state_at(log, find_point(log, seq, now=log.head().at)).counts
            assert desk.json(f"/now?at={seq}")["counts"] == wanted
        gone = desk.get(f"/?at={start - 1}", 404)
        desk.close()

    assert "--archive" in gone
