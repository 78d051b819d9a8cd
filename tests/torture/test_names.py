"""200 hostile texts as tags, keys, errors and reasons: through all logs, commands and pages."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

import pytest
from click.testing import CliRunner

from eventq import ArgumentError, Context, Queue, Task
from eventq.cli import main
from tests.checker import check_log
from tests.servers import new_url
from tests.web.desk import Desk
from tools.hostile.values import MARKUP, TEXTS

DRAWN = 110
ODD = (
    "\x00\x07\x1b\x7f\x80\x9b\r\n\t\u202e\u2066\u200b\ufeff\ud800\udcff\ue000\U000e0001"
    "<&\"'%{}[]\\;é😀"
)
RAW = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")
LOOKING = """\
ls --state all --limit none
tail -n 5000
state
replay
find --limit none
report
verify
show 1
history 1
why 1
"""


def texts() -> list[str]:
    """Those of the matrix, and as many drawn ones."""
    chance = Random(1)
    drawn = ["".join(chance.choices(ODD, k=chance.randint(1, 40))) for _ in range(DRAWN)]
    return [*TEXTS.values(), *drawn]


@pytest.fixture(params=["sqlite", "mongo"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A new log of each kind that outlives its process."""
    if request.param == "mongo":
        return new_url(request.getfixturevalue("mongod"))
    return f"sqlite:///{tmp_path}/hostile.db"


def fill(queue: Queue) -> dict[int, str]:
    """Hands in each text wherever one is taken; gives those that were taken as a tag."""
    taken: dict[int, str] = {}

    def work(_ctx: Context, task: Task) -> dict[str, str]:
        text = task.tags["text"]
        if task.number % 2:
            raise type("Odd", (Exception,), {"__qualname__": text})(text)
        return {"text": text}

    for text in texts():
        with suppress(ArgumentError):
            made = queue.new({"text": text, "deep": {text: [text]}}, max_retries=0)
            taken[made.number] = text
        for option in ("key", "unique", "share", "name"):
            options: Any = {option: text}
            with suppress(ArgumentError):
                queue.new({"text": ""}, delay="1h", **options)
        with suppress(ArgumentError):
            queue.pause(lane="none", by=text, reason=text)
    queue.run(work, until="idle", signals=False)
    return taken


def test_hostile_texts_are_kept_as_they_are_and_shown_escaped(url: str, tmp_path: Path) -> None:
    """What is taken reads back the same from each log; commands and pages show nothing raw."""
    assert len(texts()) >= 200
    with Queue(url, workers=1) as queue:
        taken = fill(queue)
        found = {number: queue.get(str(number)) for number in taken}
        check_log(queue.log)
        desk = Desk(queue, tmp_path / "cache")
        pages = [
            desk.get(path)
            for path in ("/", "/tasks?state=expired", "/errors", "/limits", "/changes")
        ]
        pages += [desk.get(f"/tasks/{number}") for number in taken]
        desk.close()
    # A file of lines is a log, too, on which no queue runs.
    lines = f"file:///{tmp_path}/hostile.jsonl"
    looking = [line.split() for line in LOOKING.splitlines()]
    asked = [(url, ["copy", url, lines]), *((url, words) for words in looking)]
    asked += [(lines, words) for words in looking]
    results = [CliRunner().invoke(main, words, env={"EVENTQ_URL": at}) for at, words in asked]

    assert {n: task and task.tags["text"] for n, task in found.items()} == taken
    assert {n: task and task.tags["deep"] for n, task in found.items()} == {
        number: {text: [text]} for number, text in taken.items()
    }
    assert len(taken) > len(texts()) / 2
    assert [result.output for result in results if result.exit_code != 0] == []
    assert [page for page in pages if MARKUP in page or RAW.search(page)] == []
    for result in results:
        assert result.output.replace("\n", "").replace("\t", "").isprintable()
