"""`Queue.tasks` is the same list whether the catalog finds the final tasks or the log does."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from eventq import LogArchivedError, Queue, Task
from eventq.archive import archive_events, delete_archived, find_end
from eventq.catalog.catalog import Catalog
from eventq.catalog.search import TaskList
from eventq.eventlog import open_log
from eventq.replay.points import Point
from tools.generate import generate
from tools.generate.bulk import make_bulk

FINAL = ["completed", "expired", "cancelled"]
LATER_US = 2**52
OPEN = ["waiting", "scheduled", "ready", "leased"]


@pytest.fixture(scope="module", params=["generated", "bulk"])
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A log in which tasks are retried, edited and brought back, and its catalog."""
    found = f"sqlite:///{tmp_path_factory.mktemp('listed')}/a.db"
    with closing(open_log(found)) as log:
        if request.param == "bulk":
            make_bulk(log, tasks=700)
        else:
            generate(log, tasks=400, seed=6, live=60, pending=20)
        build(found)
    return found


@pytest.fixture
def queue(url: str) -> Iterator[Queue]:
    """A queue on it."""
    with Queue(url) as found:
        yield found


def seen(tasks: TaskList) -> list[Task]:
    """The tasks, each as of one instant."""
    return [task.as_of(LATER_US) for task in tasks]


def build(url: str) -> None:
    """Brings the catalog of a log to its end."""
    with closing(open_log(url)) as log, closing(Catalog.open(log)) as catalog:
        catalog.catch_up()


def without_catalog(queue: Queue, **wanted: Any) -> TaskList:  # noqa: ANN401 - any filter
    """What the log alone says."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("eventq.catalog.search.final_of_catalog", lambda *_, **__: None)
        found = queue.tasks(**wanted)
    assert found.source == "log"
    return found


def test_any_question_has_the_same_answer(queue: Queue) -> None:
    """By state, name, lane, tags and limit, to the order and the last field of each task."""
    chance = random.Random(8)
    some = without_catalog(queue, state=FINAL)
    for _ in range(60):
        task = chance.choice(some)
        tags = task.tags
        wanted: dict[str, Any] = {
            "state": chance.sample(FINAL, chance.randint(1, 3)) + chance.sample(OPEN, 1),
            "limit": chance.choice([1, 5, 40, 300]),
        }
        if chance.random() < 0.4:
            wanted["name"] = task.name and chance.choice([task.name, f"{task.name[:3]}*"])
        if chance.random() < 0.3:
            wanted["lane"] = task.lane
        if tags and chance.random() < 0.4:
            name = chance.choice(sorted(tags))
            wanted["tags"] = {name: tags[name]}
        expected = without_catalog(queue, **wanted)

        assert seen(queue.tasks(**wanted)) == seen(expected), wanted


def test_a_tag_s_value_is_of_its_kind(tmp_path: Path) -> None:
    """A number is no text, though a selector takes either for the other."""
    url = f"sqlite:///{tmp_path}/a.db"
    values = [3, "3", 3.0, 3.5, True, "true", None, [3], {"a": 3}, "", "\u00c9", "e\u0301", "e"]
    with Queue(url) as queue:
        for each in values:
            queue.cancel(queue.new({"value": each}).key)
        build(url)
        for each in values:
            wanted: dict[str, Any] = {"state": "cancelled", "tags": {"value": each}, "limit": 20}
            expected = without_catalog(queue, **wanted)
            found = queue.tasks(**wanted)

            assert found.source == "catalog"
            assert seen(found) == seen(expected)
            assert expected


@pytest.mark.parametrize("limit", [3, 40, 600])
def test_a_log_that_was_cut_is_asked_itself(tmp_path: Path, limit: int) -> None:
    """Of what is archived the catalog knows more than the log, which decides what is listed."""
    url = f"sqlite:///{tmp_path}/a.db"
    with closing(open_log(url)) as log:
        make_bulk(log, tasks=500)
        build(url)
        head = log.head()
        until = find_end(log, Point(head.seq * 3 // 4, head.at))
        archive_events(log, tmp_path / "old", until=until)
        delete_archived(log, tmp_path / "old", until=until, now=head.at)
    with Queue(url) as queue:
        wanted: dict[str, Any] = {"state": FINAL, "limit": limit}
        try:
            expected = without_catalog(queue, **wanted)
        except LogArchivedError:
            with pytest.raises(LogArchivedError):
                queue.tasks(**wanted)
        else:
            assert seen(queue.tasks(**wanted)) == seen(expected)
