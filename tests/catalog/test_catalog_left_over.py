"""What is left of a catalog whose log is another now, that was cut short, or whose disk is full."""

from __future__ import annotations

import random
from contextlib import closing
from pathlib import Path

import pytest

from eventq import CatalogError, Queue
from eventq.archive.copy import copy_log
from eventq.archive.export import export_log
from eventq.archive.redact import Redactor
from eventq.catalog.catalog import Catalog
from eventq.catalog.passing import pass_over
from eventq.catalog.selector import Selector
from eventq.eventlog import open_log
from eventq.replay.points import Point
from tools.generate.bulk import make_bulk

PERSON = "jane.doe"
EVERYTHING = Selector()
CUTS = 25


def with_person(url: str) -> None:
    """A log of a few tasks about a person, and its catalog, from which readers take it."""
    with Queue(url) as queue:
        queue.new_many([{"to": PERSON, "n": n} for n in range(5)])
        build(url)
        # The newest pages stand in the file beside the catalog.
        queue.new({"to": PERSON})
        assert queue.find(text=PERSON).source == "catalog"


def build(url: str) -> None:
    """Brings the log's catalog to its end."""
    with closing(open_log(url)) as log, closing(Catalog.open(log)) as catalog:
        catalog.catch_up()


def redact(url: str, folder: Path) -> None:
    """Puts a redacted copy of a log in its place."""
    with closing(open_log(url)) as log:
        lines = list(export_log(log, redactor=Redactor(b"drawn")))
    (folder / "a.jsonl").write_bytes(b"".join(lines))
    for file in folder.glob("a.db*"):
        if ".catalog" not in file.name:
            file.unlink()
    with (
        closing(open_log(f"file:///{folder}/a.jsonl", create=False)) as source,
        closing(open_log(url)) as target,
    ):
        copy_log(source, target)


@pytest.mark.parametrize("soon", [20_000, 1])
def test_of_a_log_that_was_redacted_nothing_is_left(
    soon: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever looks for tasks makes the catalog anew where that takes a moment, or drops it."""
    url = f"sqlite:///{tmp_path}/a.db"
    with_person(url)
    assert any(PERSON.encode() in f.read_bytes() for f in tmp_path.glob("a.db.catalog*"))
    redact(url, tmp_path)
    monkeypatch.setattr("eventq.catalog.search.SOON_EVENTS", soon)

    with Queue(url) as queue:
        found = queue.find(state="ready")

    assert (len(found.tasks), found.source) == (6, "catalog" if soon > 1 else "log")
    assert (tmp_path / "a.db.catalog").exists() is (soon > 1)
    left = [f.name for f in tmp_path.iterdir() if PERSON.encode() in f.read_bytes()]
    assert left == []


def test_one_that_another_process_makes_anew_is_not_dropped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who looks for tasks meanwhile is answered by the log, and leaves the file alone."""
    url = f"sqlite:///{tmp_path}/a.db"
    with_person(url)
    redact(url, tmp_path)
    monkeypatch.setattr("eventq.catalog.search.SOON_EVENTS", 1)
    sources: list[str] = []

    def look(_done: int, _total: int) -> None:
        with Queue(url) as queue:
            sources.append(queue.find(state="ready").source)
        assert (tmp_path / "a.db.catalog").exists()

    with (
        closing(open_log(url)) as log,
        closing(Catalog.open(log)) as late,
        closing(Catalog.open(log)) as catalog,
    ):
        catalog.catch_up(look)
        late.drop_useless()
        assert catalog.count(EVERYTHING) == late.count(EVERYTHING) == 6
    with Queue(url) as queue:
        sources.append(queue.find(state="ready").source)

    assert sources == ["log", "catalog"]


def test_one_that_is_named_may_be_another_log_s(tmp_path: Path) -> None:
    """It is not used, and left as it is: only `build` makes it anew."""
    url, path = f"sqlite:///{tmp_path}/a.db", tmp_path / "named.catalog"
    with Queue(f"sqlite:///{tmp_path}/b.db") as other:
        other.new({"to": PERSON})
        with closing(Catalog.open(other.log, path)) as its:
            its.catch_up()
    before = path.read_bytes()
    with Queue(url, catalog=path) as queue:
        queue.new()

        assert queue.find(state="ready").source == "log"
    assert path.read_bytes() == before


def test_one_that_was_cut_short_is_made_anew(tmp_path: Path) -> None:
    """Wherever it ends, also in the middle of a page, and at nothing."""
    url, path = f"sqlite:///{tmp_path}/a.db", tmp_path / "a.db.catalog"
    with closing(open_log(url)) as log:
        make_bulk(log, tasks=200)
        build(url)
        whole = path.read_bytes()
        head = log.head()
        expected = list(pass_over(log, EVERYTHING, Point(head.seq, head.at)))
        chance = random.Random(3)
        for length in [0, 1, 4_096, *(chance.randrange(len(whole)) for _ in range(CUTS))]:
            path.write_bytes(whole[:length])
            for end in ("-wal", "-shm"):
                Path(f"{path}{end}").unlink(missing_ok=True)
            with closing(Catalog.open(log)) as catalog:
                catalog.catch_up()

                assert catalog.find(EVERYTHING) == expected, length


def test_on_a_disk_that_is_full_it_stays_where_it_was(tmp_path: Path) -> None:
    """The log goes on and answers; once there is room, the catalog goes on as well."""
    url = f"sqlite:///{tmp_path}/a.db"
    with Queue(url) as queue, closing(Catalog.open(queue.log)) as catalog:
        queue.new_many([{"n": n} for n in range(100)])
        catalog.catch_up()
        before = catalog.seq
        [(pages,)] = catalog.store.rows("PRAGMA page_count")
        catalog.store.rows(f"PRAGMA max_page_count = {pages}")
        queue.new_many([{"text": "a" * 2_000, "n": n} for n in range(100)])
        with pytest.raises(CatalogError, match="full") as caught:
            catalog.catch_up()
        full = catalog.seq, catalog.count(EVERYTHING), queue.new().number
        catalog.store.rows("PRAGMA max_page_count = 1000000")
        catalog.catch_up()

        assert caught.value.path == str(tmp_path / "a.db.catalog")
        assert full == (before, 100, 201)
        assert catalog.count(EVERYTHING) == 201
