"""A catalog that was damaged, or whose log was changed under it, never says anything wrong."""

from __future__ import annotations

import os
import random
import shutil
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import apsw
import pytest

from eventq import CatalogError, Queue
from eventq.archive import archive_events, delete_archived, find_end, open_archived
from eventq.catalog import checksums
from eventq.catalog.catalog import Catalog
from eventq.catalog.passing import pass_over
from eventq.catalog.search import find_tasks
from eventq.catalog.selector import Selector
from eventq.eventlog import EventLog, open_log
from eventq.replay.points import Point
from tools.generate.bulk import make_bulk

TASKS = 300
FLIPS = 60
ALL = 1_000_000
EVERYTHING = Selector()


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a log and its catalog, to be copied."""
    folder = tmp_path_factory.mktemp("built")
    with closing(open_log(f"sqlite:///{folder}/a.db")) as log:
        make_bulk(log, tasks=TASKS)
        with closing(Catalog.open(log)) as catalog:
            catalog.catch_up()
    return folder


@pytest.fixture
def log(built: Path, tmp_path: Path) -> Iterator[EventLog]:
    """A copy of the log, beside which its catalog lies."""
    for file in built.iterdir():
        shutil.copy(file, tmp_path)
    with closing(open_log(f"sqlite:///{tmp_path}/a.db")) as found:
        yield found


def answers(log: EventLog, path: Path | None = None) -> list[Any]:
    """All that a catalog can be asked, of its end and of a position in the middle."""
    head = log.head()
    middle = Point(head.seq // 2, log.read(after=head.seq // 2 - 1, limit=1)[0].at)
    with closing(Catalog.open(log, path)) as catalog:
        catalog.catch_up()
        return [
            catalog.find(EVERYTHING),
            catalog.find(EVERYTHING, middle),
            catalog.find(Selector(text="png"), middle, order="-last", limit=50),
            catalog.count(Selector(states=("expired",))),
            catalog.attempts(middle, limit=ALL),
            catalog.errors(limit=ALL),
            catalog.minutes(0, 2**62),
            catalog.changes(limit=ALL),
        ]


def test_a_wrong_bit_is_never_believed(log: EventLog, tmp_path: Path) -> None:
    """Wherever it is, the answers are those of a whole catalog."""
    if not checksums.is_checked():
        assert os.environ.get("CI") != "true", "install an apsw that has cksumvfs"
        pytest.skip("this apsw has no cksumvfs")
    path = tmp_path / "a.db.catalog"
    whole = path.read_bytes()
    expected = answers(log, tmp_path / "fresh.catalog")
    chance = random.Random(4)
    # The first page says how the others are to be read.
    places = [*range(16, 100, 3), *(chance.randrange(len(whole)) for _ in range(FLIPS))]
    for place in places:
        wrong = bytearray(whole)
        wrong[place] ^= 1 << chance.randrange(8)
        path.write_bytes(wrong)
        for end in ("-wal", "-shm"):
            Path(f"{path}{end}").unlink(missing_ok=True)

        try:
            found = answers(log)
        except CatalogError:
            # One that seems to be of a newer eventq is left alone.
            assert place in range(60, 64)
            continue
        assert found == expected, place


def test_the_log_answers_where_a_catalog_cannot(
    log: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the driver raises, tasks are found, only later."""

    def fail(*_: object, **__: object) -> None:
        raise apsw.IOError("disk I/O error")

    head = log.head()
    point = Point(head.seq, head.at)
    monkeypatch.setattr("eventq.catalog.queries.TaskQueries.find", fail)

    found = find_tasks(log, Selector(states=("expired",)), point)

    assert found.source == "log"
    assert found.tasks == list(pass_over(log, Selector(states=("expired",)), point))


def test_other_connections_keep_their_file_system(log: EventLog) -> None:
    """Only catalogs are read with checksums; a log's files are as they were."""
    answers(log)

    assert apsw.vfs_names()[0] != checksums.FILE_SYSTEM


def test_a_log_that_is_restored_from_a_copy_has_its_catalog_made_anew(
    log: EventLog, built: Path, tmp_path: Path
) -> None:
    """The copy is shorter than the catalog, or has gone on otherwise, as far or further."""
    log.close()
    for more in (0, 2, 3):
        with Queue(log.url) as queue:
            for number in range(2):
                queue.new({"first": number})
        with closing(open_log(log.url)) as first:
            answers(first)
        for file in tmp_path.glob("a.db*"):
            if not file.name.startswith("a.db.catalog"):
                file.unlink()
        shutil.copy(built / "a.db", tmp_path)
        with Queue(log.url) as queue:
            for number in range(more):
                queue.new({"second": number})
        with closing(open_log(log.url)) as restored:
            head = restored.head()
            point = Point(head.seq, head.at)

            assert answers(restored)[0] == list(pass_over(restored, EVERYTHING, point))
            assert find_tasks(restored, Selector(text="first"), point).tasks == []


@pytest.mark.parametrize("tasks", [40, TASKS, 400])
def test_an_open_catalog_sees_that_its_log_is_another(
    log: EventLog, tmp_path: Path, tasks: int
) -> None:
    """A database may be restored under a program that goes on: shorter, as long, or longer."""
    with (
        closing(open_log(f"sqlite:///{tmp_path}/b.db")) as other,
        closing(Catalog.open(log)) as catalog,
    ):
        make_bulk(other, tasks=tasks, seed=9)
        catalog.catch_up()
        catalog.log = other
        catalog.catch_up()
        head = other.head()

        assert "of another log" in str(catalog.rebuilt)
        assert catalog.find(EVERYTHING) == list(
            pass_over(other, EVERYTHING, Point(head.seq, head.at))
        )


def test_an_archived_log_has_a_catalog_of_all(log: EventLog, tmp_path: Path) -> None:
    """With the archive's folder it is built of what stands there, too."""
    expected = answers(log)
    head = log.head()
    until = find_end(log, Point(head.seq * 7 // 8, head.at))
    archive_events(log, tmp_path / "old", until=until)
    delete_archived(log, tmp_path / "old", until=until, now=head.at)
    with closing(open_archived(open_log(log.url), tmp_path / "old")) as whole:
        assert answers(whole, tmp_path / "fresh.catalog") == expected


def test_builders_in_each_other_s_way_make_one(log: EventLog, tmp_path: Path) -> None:
    """Several at once, while others ask: all have the same answers, and one file is left."""
    (tmp_path / "a.db.catalog").unlink()
    expected = answers(log, tmp_path / "fresh.catalog")
    found: list[Any] = []

    def build() -> None:
        with closing(open_log(log.url)) as own:
            found.append(answers(own))

    threads = [threading.Thread(target=build) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert found == [expected] * 4
    assert not list(tmp_path.glob("*unfinished*"))
