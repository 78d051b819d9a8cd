"""The history checker reads logs by its own means, and says what it finds in a shell."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

import eventq
from eventq.archive.copy import copy_log
from eventq.eventlog import open_log
from eventq.eventlog.mongo.documents import to_document
from tests import servers
from tests.tools.good_histories import STORIES
from tests.tools.histories import checked, raw_commits
from tools.history.reading import (
    NoHistoryError,
    commit_of_document,
    read_lines,
    read_log,
    read_mongodb,
)
from tools.mongod import ReplicaSet

ROOT = Path(__file__).parents[2]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The command, in a process of its own."""
    command = [sys.executable, "-m", "tools.history", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def work(url: str, namespace: str = "default") -> None:
    """A few tasks, done, failed and keyed."""

    def fail_some(_ctx: eventq.Context, task: eventq.Task) -> None:
        if task.tags["number"] == 3:
            raise ValueError

    with eventq.Queue(url, namespace=namespace, workers=2, max_retries=1, backoff=0) as queue:
        queue.new_many([{"number": number} for number in range(20)])
        queue.new({"number": 3}, key="a key, ünlike others")
        queue.run(fail_some, until="idle")


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A file with two namespaces."""
    found = f"sqlite:///{tmp_path / 'tasks.db'}"
    work(found)
    work(found, "other")
    return found


def test_a_sqlite_file_is_read(url: str) -> None:
    """Each namespace by itself, with nothing to find."""
    for namespace in ("default", "other"):
        done = run(url, "--namespace", namespace, "--drained", "--retries-by-policy")

        assert (done.returncode, done.stderr) == (0, "")
        assert "0 findings" in done.stdout
        assert not done.stdout.startswith("0 events")


def test_a_changed_row_is_found(url: str) -> None:
    """Somebody has taken the guards off and changed an event."""
    path = url.removeprefix("sqlite:///")
    database = sqlite3.connect(path)
    database.execute("DROP TRIGGER events_no_update")
    database.execute("UPDATE events SET body = replace(body, '19', '18') WHERE place & 255 = 20")
    database.commit()
    database.close()

    done = run(url)

    assert done.returncode == 1
    assert "the seal does not recompute" in done.stdout


def test_a_row_behind_the_last_commit_is_found(url: str) -> None:
    """The last row of a commit has its seal: what has none behind it belongs to no commit."""
    database = sqlite3.connect(url.removeprefix("sqlite:///"))
    database.execute(
        "INSERT INTO events SELECT place + 1, at, 0, NULL, NULL, NULL, NULL, NULL, body FROM events"
        " WHERE place >> 40 = 1 ORDER BY place DESC LIMIT 1"
    )
    database.commit()
    database.close()

    done = run(url)

    assert done.returncode == 1
    assert "the seal does not recompute" in done.stdout


def test_journals_are_judged_in_a_shell(url: str, tmp_path: Path) -> None:
    """A client that was told of a task which is not there; a worker that ran without a lease."""
    for name, line in {
        "clients": {"call": "1", "state": "invoked", "op": "new", "tags": {}},
        "workers": {"what": "start", "task": 1, "fence": 1, "node": "n", "clock": 1},
    }.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.jsonl").write_text(json.dumps(line) + "\n", encoding="utf-8")

    done = run(url, "--clients", str(tmp_path / "clients"), "--workers", str(tmp_path / "workers"))

    assert done.returncode == 1
    assert "which 0 calls can have made" in done.stdout
    assert "ran on n without a lease" in done.stdout


def test_where_there_is_nothing_to_read_it_says_so(tmp_path: Path) -> None:
    """No file, no log, no such place."""
    (tmp_path / "empty.db").touch()
    for place in (f"sqlite:///{tmp_path}/none.db", f"sqlite:///{tmp_path}/empty.db", "memory://"):
        done = run(place)

        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith("error: ")


def test_a_file_of_lines_is_read(url: str, tmp_path: Path) -> None:
    """A copy has the same history; a torn line is none."""
    path = tmp_path / "copy.jsonl"
    source, target = open_log(url), open_log(f"file:///{path}", create=True)
    copy_log(source, target)
    wanted = raw_commits(source)
    source.close()
    target.close()

    with path.open("a", encoding="utf-8") as file:
        file.write('{"id":"torn')

    assert list(read_lines(path, "default")) == wanted
    assert checked(read_log(f"file:///{path}", "default")) == []
    with pytest.raises(NoHistoryError, match="holds namespace 'default'"):
        list(read_lines(path, "other"))


def test_documents_are_read() -> None:
    """A commit of MongoDB is what it was."""
    commits = STORIES["flows"]()

    for commit in commits:
        document = to_document("default", commit)  # type: ignore[arg-type]  # it has what that has
        assert commit_of_document(document) == commit


def test_mongodb_is_read(mongod: ReplicaSet) -> None:
    """From a server, each namespace by itself."""
    url = servers.new_url(mongod)
    work(url)
    work(url, "other")

    for namespace in ("default", "other"):
        commits = list(read_mongodb(url, namespace))
        assert checked(commits, namespace=namespace) == []
        assert len(commits) > 2
    assert list(read_mongodb(url, "none")) == []
