"""What eventq says of a harmed copy, and whether it may say so.

An outcome is a text; what must not be is an AssertionError, or an error that is not eventq's.
"""

from __future__ import annotations

import shutil
from contextlib import closing
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from eventq import Queue
from eventq.archive import open_archived
from eventq.catalog.catalog import Catalog
from eventq.catalog.selector import Selector
from eventq.cli import main
from eventq.core.commits import Commit
from eventq.errors import EventqError
from eventq.eventlog import EventLog, open_log
from eventq.replay.fold import commits_of, replay, stored_of
from eventq.replay.points import Point
from eventq.snapshot import load, projection_at, take
from eventq.snapshot.codec import encode
from eventq.verify import base_at_start, verify
from tools.damage.scene import ARCHIVE, CATALOG, LINES, LOG, SNAPSHOT, Harm, Scene

ALL = 1_000_000
KEY = "made after the damage"
# What reads most of what there is; a round asks one of them.
COMMANDS = [
    ["ls", "--state", "all"],
    ["show", "1"],
    ["history", "3"],
    ["state"],
    ["why", "5"],
    ["stats"],
    ["tail", "-n", "1000"],
    ["find", "--state", "completed"],
    ["report"],
    ["verify"],
    ["catalog", "info"],
    ["snapshot", "list"],
    ["snapshot", "verify"],
    ["sql", "SELECT * FROM events"],
    ["replay"],
]


def play(scene: Scene, number: int) -> str:
    """What came of one harm. Raises AssertionError for what must not be, naming the harm."""
    path, harm = scene.harmed(number)
    try:
        _told(path, COMMANDS[number % len(COMMANDS)])
        outcome = _outcome(scene, path, harm)
    except EventqError as error:
        outcome = f"refused with {type(error).__name__}"
    except Exception as error:
        raise AssertionError(f"{harm}: {type(error).__name__}: {error}") from error
    finally:
        shutil.rmtree(path)
    return f"{harm.kind}, {harm.does}: {outcome}"


def _outcome(scene: Scene, path: Path, harm: Harm) -> str:
    match harm.kind:
        case "snapshot":
            return _loaded(path)
        case "catalog":
            return _asked(path)
        case "archive":
            with closing(open_log(f"sqlite:///{path}/{LOG}", create=False)) as log:
                return _judged(scene, open_archived(log, path / ARCHIVE))
        case "lines":
            with closing(open_log(f"file:///{path}/{LINES}", create=False)) as log:
                return _judged(scene, log)
    url = f"sqlite:///{path}/{LOG}"
    with closing(open_log(url, create=False)) as log:
        outcome = _judged(scene, log)
    return f"{outcome}, {_used(url)}"


def _told(path: Path, words: list[str]) -> None:
    """A command ends with words and an exit code, whatever it finds."""
    scheme, name = ("file", LINES) if (path / LINES).exists() else ("sqlite", LOG)
    folder = path / ARCHIVE
    archive = {"EVENTQ_ARCHIVE": str(folder)} if folder.exists() else {}
    env = {"EVENTQ_URL": f"{scheme}:///{path}/{name}", **archive}
    result = CliRunner().invoke(main, words, env=env)
    broke = result.exception
    assert broke is None or isinstance(broke, SystemExit), f"{words}: {broke!r}"
    assert "Traceback" not in result.output, f"{words}: {result.output}"


def _judged(scene: Scene, log: EventLog) -> str:
    """Whether the log is what it was, or a beginning of it; and what its indexes say."""
    projection = replay(log)
    projection.check()
    found = list(commits_of(log, after=0))
    assert found == scene.commits[: len(found)], "another log folds without an error"
    by_snapshot = projection_at(log, Point(projection.seq, 0))
    assert encode(take(by_snapshot)) == encode(take(projection)), "a snapshot folds to another end"
    is_whole = len(found) == len(scene.commits)
    name = "the same log" if is_whole else "a beginning of it" if found else "an empty log"
    findings = verify(log, base=base_at_start(log), indexes="full", limit=1).findings
    if findings:
        return f"{name}, and verify finds the damage"
    assert _by_index(log, found), "an index answers otherwise, and verify finds nothing"
    return name


def _by_index(log: EventLog, commits: list[Commit]) -> bool:
    """Whether histories and keys are those of the commits."""
    histories: dict[int, list[Any]] = {}
    keys: dict[str, int] = {}
    for commit in commits:
        keys |= commit.keys
        for event in stored_of(commit):
            histories.setdefault(event.task, []).append(event)
    wanted = {task: events for task, events in histories.items() if task}
    return {task: log.history(task) for task in wanted} == wanted and (
        log.find_keys([*keys, KEY]) == keys
    )


def _used(url: str) -> str:
    """Whether a queue on it can be asked and takes a task; the log must then be good behind it."""
    try:
        with Queue(url) as queue:
            before = queue.log.head()
            queue.stats()
            for task in queue.tasks():
                queue.history(task.key)
            made = queue.new({"key": KEY}, key=KEY)
    except EventqError:
        return "and takes no task"
    with closing(open_log(url, create=False)) as log:
        after = log.read(after=before.seq, limit=1)
    assert [commit.keys for commit in after] == [{KEY: made.number}], "a task that was made is lost"
    return "and takes a task"


def _loaded(path: Path) -> str:
    """Whether a snapshot's file is what it was, if it is taken at all."""
    with closing(open_log(f"sqlite:///{path}/{LOG}", create=False)) as log:
        whole = take(replay(log))
    assert encode(load(path / SNAPSHOT)) == encode(whole), "another snapshot is taken"
    return "the same snapshot"


def _asked(path: Path) -> str:
    """Whether a catalog answers as one that is made anew."""
    with closing(open_log(f"sqlite:///{path}/{LOG}", create=False)) as log:
        wanted = _answers(log, path / "fresh.catalog")
        assert _answers(log, path / CATALOG) == wanted, "the catalog answers otherwise"
    return "the same answers"


def _answers(log: EventLog, path: Path) -> list[Any]:
    head = log.head()
    middle = Point(head.seq // 2, log.read(after=head.seq // 2 - 1, limit=1)[0].at)
    with closing(Catalog.open(log, path)) as catalog:
        catalog.catch_up()
        return [
            catalog.find(Selector()),
            catalog.find(Selector(), middle),
            catalog.count(Selector(states=("expired",))),
            catalog.attempts(middle, limit=ALL),
            catalog.errors(limit=ALL),
            catalog.minutes(0, 2**62),
            catalog.changes(limit=ALL),
        ]
