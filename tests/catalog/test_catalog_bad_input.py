"""Catalogs that are wrong, in the way of each other, or on a full disk; the log goes on."""

from __future__ import annotations

import stat
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from eventq import ArgumentError, CatalogError, CatalogTooNewError, LogArchivedError, Queue
from eventq.archive import archive_events, delete_archived, find_end, open_archived
from eventq.catalog.catalog import Catalog
from eventq.catalog.checksums import connect
from eventq.catalog.following import follow_log
from eventq.catalog.passing import pass_over
from eventq.catalog.place import catalog_path
from eventq.catalog.search import find_tasks
from eventq.catalog.selector import Selector
from eventq.eventlog import EventLog, open_log
from eventq.replay.points import Point
from tests.support import Spawned, wait_until
from tools.generate.bulk import make_bulk


@pytest.fixture
def log(tmp_path: Path) -> Iterator[EventLog]:
    """A log of a few hundred tasks in a file."""
    with closing(open_log(f"sqlite:///{tmp_path}/a.db")) as found:
        make_bulk(found, tasks=300)
        yield found


def built(log: EventLog) -> Catalog:
    """The log's catalog, up to its end."""
    catalog = Catalog.open(log)
    catalog.catch_up()
    return catalog


@pytest.mark.parametrize("wrong", [{"catalog": "shop.db"}, {"create": 1}])
def test_a_queue_that_is_refused_has_made_no_log(wrong: dict[str, Any], tmp_path: Path) -> None:
    """What it is told is checked before anything is opened."""
    with pytest.raises(ArgumentError, match="|".join(wrong)):
        Queue(f"sqlite:///{tmp_path}/a.db", **wrong)

    assert list(tmp_path.iterdir()) == []


def count(log: EventLog) -> int:
    """How many tasks the log's catalog knows once it is at the end, whatever was there before."""
    with closing(built(log)) as catalog:
        assert catalog.seq == log.head().seq
        return catalog.count(Selector())


def test_it_lies_beside_the_log_for_its_owner_alone(log: EventLog, tmp_path: Path) -> None:
    """Its name is the log's with .catalog behind it, and nobody else may read it."""
    built(log).close()

    path = tmp_path / "a.db.catalog"
    assert catalog_path(log) == str(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_it_lies_in_the_cache_folder_where_the_log_s_is_read_only(
    log: EventLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder in which nothing can be made is left as it is."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("os.access", lambda *_: False)

    assert Path(catalog_path(log)).parent == tmp_path / "cache" / "eventq"
    assert count(log) == 300


def test_one_of_another_log_is_built_anew(log: EventLog, tmp_path: Path) -> None:
    """Its position and seal are not the log's; it says so, and is the log's then."""
    with closing(open_log(f"sqlite:///{tmp_path}/b.db")) as other:
        make_bulk(other, tasks=100, seed=7)
        built(other).close()
    (tmp_path / "b.db.catalog").rename(tmp_path / "a.db.catalog")

    with closing(Catalog.open(log)) as catalog:
        assert "another log" in str(catalog.rebuilt)
        assert not catalog.is_there
    assert count(log) == 300


@pytest.mark.parametrize("page", [0, 1, 2, 5, 12, 20])
def test_a_damaged_one_is_built_anew(log: EventLog, tmp_path: Path, page: int) -> None:
    """Damage is found when it is met, and all is as in a new one then."""
    built(log).close()
    path = tmp_path / "a.db.catalog"
    data = bytearray(path.read_bytes())
    data[4_096 * page : 4_096 * (page + 1)] = b"\xa5" * 4_096
    path.write_bytes(data)
    for end in ("-wal", "-shm"):
        Path(f"{path}{end}").unlink(missing_ok=True)

    with closing(built(log)) as catalog:
        head = log.head()
        found = catalog.find(Selector())

    assert found == list(pass_over(log, Selector(), Point(head.seq, head.at)))


def test_one_of_a_newer_eventq_is_left_alone(log: EventLog, tmp_path: Path) -> None:
    """A typed error says what to do, and what only looks for tasks does without it."""
    built(log).close()
    connection = connect(str(tmp_path / "a.db.catalog"))
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    head = log.head()

    with pytest.raises(CatalogTooNewError, match="newer eventq"):
        Catalog.open(log)

    found = find_tasks(log, Selector(states=("expired",)), Point(head.seq, head.at))
    assert found.source == "log"


def test_on_a_full_disk_the_log_goes_on(log: EventLog, tmp_path: Path) -> None:
    """The error names the catalog, nothing is left of it, and the queue takes tasks."""
    Path(f"{catalog_path(log)}-lock").touch()
    catalog = Catalog.open(log)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("eventq.catalog.store.MAX_PAGES", 20)
        with pytest.raises(CatalogError, match="full") as caught:
            catalog.catch_up()

    assert caught.value.path == catalog_path(log)
    assert [path.name for path in tmp_path.glob("*.catalog*")] == ["a.db.catalog-lock"]
    with Queue(log.url) as queue:
        assert queue.new().number > 0


def test_of_two_builders_the_second_takes_what_the_first_made(log: EventLog) -> None:
    """It waits, and finds it done; who does not want to wait is told so."""
    first, second = Catalog.open(log), Catalog.open(log)
    answers: list[bool] = []

    def tell(_done: int, _total: int) -> None:
        if not answers:
            answers.append(second.catch_up(waits=False))

    first.catch_up(tell)
    second.catch_up()

    assert answers == [False]
    assert second.count(Selector()) == first.count(Selector()) == 300
    first.close()
    second.close()


def test_a_log_that_was_cut_keeps_what_the_catalog_knows(log: EventLog, tmp_path: Path) -> None:
    """With the archive all is there; without it, a new one begins where the log does."""
    built(log).close()
    head = log.head()
    until = find_end(log, Point(head.seq * 7 // 8, head.at))
    archive_events(log, tmp_path / "old", until=until)
    delete_archived(log, tmp_path / "old", until=until, now=head.at)
    start = log.start().seq
    assert start > 0

    assert count(log) == 300
    with closing(Catalog.open(log)) as catalog:
        catalog.drop()
    with closing(built(log)) as catalog:
        assert catalog.begins == start
        known = catalog.count(Selector())
        assert 0 < known < 300
        with pytest.raises(LogArchivedError):
            catalog.find(Selector(), Point(start - 1, 0))
    whole = open_archived(open_log(log.url), tmp_path / "old")
    with closing(whole), closing(Catalog.open(whole, tmp_path / "whole.catalog")) as catalog:
        catalog.catch_up()
        assert catalog.count(Selector()) == 300


def test_a_path_must_be_a_catalog_s(log: EventLog, tmp_path: Path) -> None:
    """So nothing else is ever taken for one, and replaced."""
    with pytest.raises(ArgumentError, match="ends with"):
        Catalog.open(log, tmp_path / "precious.txt")
    with pytest.raises(ArgumentError, match="ends with"):
        Queue("memory://", catalog=tmp_path / "precious.db")


def test_a_follower_keeps_up(log: EventLog) -> None:
    """What is appended is in the catalog soon, without being asked for."""
    is_over = threading.Event()
    catalog = built(log)
    run = Spawned(follow_log, catalog, lambda: not is_over.is_set())

    with Queue(log.url) as queue:
        number = queue.new({"path": "new.png"}).number
        other = Catalog.open(log)
        wait_until(lambda: _has(other, number), "the new task")
    is_over.set()
    run.wait()

    assert other.find(Selector(text="new"))[0].number == number
    other.close()
    catalog.close()


def _has(catalog: Catalog, number: int) -> bool:
    catalog.refresh()
    return bool(catalog.count(Selector(numbers=(number,))))
