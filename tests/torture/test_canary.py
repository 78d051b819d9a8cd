"""A password in the URL of a log is seen nowhere: no output, error, log, repr, process or page."""

from __future__ import annotations

import logging
import os
import shlex
import subprocess
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pymongo
import pytest
from click.testing import CliRunner

from eventq import ArgumentError, EventqError, Queue
from eventq.cli import main
from eventq.contrib import Outbox
from eventq.web.routes import PAGES
from tests.cli.harness import command, ended, environment, until
from tests.servers import running
from tests.web.desk import Desk, fill
from tools.mongod import ReplicaSet

CANARY = "c4n4ry-of-ada"
# As it stands in a URL of somebody whose password holds signs.
WRITTEN = CANARY.replace("-", "%2D")
READING = """\
ls
show img/0
history img/0
state
why img/0
stats
tail
verify
schedules
limits
pauses
followers
flow doc:1
find
report
replay
snapshot create
catalog info
export img/0
sql 'SELECT 1'
diff 1 end
whatif
metrics
bulk
health x
"""
BROKEN = [
    "mongodb://ada:{}@127.0.0.1:1/db?serverSelectionTimeoutMS=100",
    "mongodb://ada:{}@[bad/db",
    "mongodb://ada:{}@h:port/db",
    "postgres://ada:{}@host/db",
    "sqlite://ada:{}@host/a.db",
    "memory://ada:{}@[bad",
    "mongodb:/ada:{}@host/db",
    "mongodb:ada:{}@host/db",
    "ada:{}@host/db",
    " mongodb://ada:{}@host/db",
    "postgresql://host/db?password={}",
    "mongodb://127.0.0.1:1/db?tlsCertificateKeyFilePassword={}&nonsense=1",
]


@pytest.fixture(scope="module")
def server() -> Iterator[ReplicaSet]:
    """A server that wants the password."""
    with running(replicated=False, options=["--auth"]) as found:
        with found.members[0].client() as client:
            client.admin.command("createUser", "root", pwd=CANARY, roles=["root"])
        root: pymongo.MongoClient[dict[str, Any]] = pymongo.MongoClient(
            "127.0.0.1", found.members[0].port, username="root", password=CANARY
        )
        with root:
            root["guarded"].command("createUser", "ada", pwd=CANARY, roles=["readWrite"])
        yield found


@pytest.fixture(scope="module")
def url(server: ReplicaSet) -> str:
    """A log there, with a past."""
    found = f"mongodb://ada:{WRITTEN}@{server.members[0].address}/guarded"
    with Queue(found, workers=1, max_retries=0) as queue:
        fill(queue)
    return found


def check_unseen(*texts: str) -> None:
    """The password is in none of these, in no form."""
    assert not [text for text in texts if CANARY in text or WRITTEN in text]


@pytest.mark.parametrize("line", READING.splitlines())
def test_no_command_shows_it(
    url: str, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By EVENTQ_URL or by a file, in text and in JSON, also where the command fails."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "url").write_text(f"{url}\n")
    words, by_file = shlex.split(line), ["--url-file", "url"]

    results = [
        CliRunner().invoke(main, [*words, "--json"], env={"EVENTQ_URL": url}),
        CliRunner().invoke(main, [*words, *by_file]),
    ]

    check_unseen(*(result.output for result in results))
    assert all(isinstance(result.exception, SystemExit | None) for result in results)
    assert any(result.output for result in results)


@pytest.mark.parametrize("broken", BROKEN)
def test_no_error_shows_it(broken: str, caplog: pytest.LogCaptureFixture) -> None:
    """Neither where a server is away nor where the URL is none."""
    caplog.set_level(logging.DEBUG)
    url = broken.format(WRITTEN)

    with pytest.raises(EventqError) as caught:
        Queue(url)
    result = CliRunner().invoke(main, ["ls"], env={"EVENTQ_URL": url})

    check_unseen(str(caught.value), repr(caught.value), result.output, caplog.text)
    assert result.exit_code in {1, 2}


@pytest.mark.parametrize(
    "broken",
    [
        "mysql://ada:{}@host/db",
        "postgresql:/ada:{}@host/db",
        "postgresql://ada:{}@[::1/db",
        "postgresql://ada:%zz{}@host/db",
        "mongodb://ada:{}%@host/db",
        "mongodb://ada:{}@host",
    ],
)
def test_no_outbox_shows_it(broken: str) -> None:
    """A URL of its database that cannot be read is told of, in eventq's own words."""
    with Queue("memory://") as queue, pytest.raises(ArgumentError) as caught:
        Outbox(queue, at=broken.format(CANARY))

    told = "".join(traceback.format_exception(caught.value))
    check_unseen(told)


def test_no_page_repr_or_log_shows_it(
    url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """All pages, and all that is logged while they are shown."""
    caplog.set_level(logging.DEBUG)
    with Queue(url, workers=1) as queue:
        desk = Desk(queue, tmp_path)
        paths = [page.path for page in PAGES if "{" not in page.path]
        paths += [f"/api{path}" for path in paths if path != "/"]
        texts = [desk.client.get(path).text for path in [*paths, "/help", "/metrics", "/tasks/1"]]
        shown = [repr(queue), str(queue.log.url), repr(queue.aio), caplog.text]
        desk.close()

    check_unseen(*texts, *shown)
    assert "ada@" in queue.url


def test_no_list_of_processes_shows_it(url: str, tmp_path: Path) -> None:
    """A run in two child processes, whose URL stands in a file: neither it nor they show it."""
    (tmp_path / "url").write_text(url)
    words = ("run", "tests.cli.workers:nothing", "--processes", "2", "--url-file", "url", "--json")
    with subprocess.Popen(
        command(*words),
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        until(lambda: len(lines_of(process.pid)) >= 3, "both children have begun")
        found = lines_of(process.pid)
        process.terminate()
        _, output, errors = ended(process)

    check_unseen(*found, output, errors)


def lines_of(session: int) -> list[str]:
    """The command lines of all processes of a session, as everybody sees them."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if os.getsid(int(path.name)) == session:
                found.append((path / "cmdline").read_bytes().decode())
        except OSError:
            # It has ended.
            continue
    return [line for line in found if "eventq" in line]


def test_a_password_on_the_command_line_is_warned_of(tmp_path: Path) -> None:
    """There every user of the machine sees it; without one, nothing is said."""
    with_one = CliRunner().invoke(main, ["ls", "--url", BROKEN[0].format(WRITTEN)])
    without = CliRunner().invoke(main, ["new", "--url", f"sqlite:///{tmp_path}/a@b:c.db"])

    assert with_one.stderr.startswith("eventq: warning: every user of this machine can see the")
    check_unseen(with_one.output)
    assert (without.exit_code, without.stderr) == (0, "")


def test_a_file_of_a_url_is_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is missing or no text is told, and so is a URL that is given twice."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bytes").write_bytes(b"\xff")
    (tmp_path / "url").write_text(f"sqlite:///{tmp_path}/q.db\n")

    def said(*words: str) -> tuple[int, str]:
        result = CliRunner().invoke(main, ["new", *words])
        return result.exit_code, result.stderr

    assert said("--url-file", "url") == (0, "")
    assert said("--url-file", "nowhere") == (1, "eventq: nowhere: No such file or directory\n")
    assert "as UTF-8" in said("--url-file", "bytes")[1]
    assert "take one of them" in said("--url-file", "url", "--url", "memory://a")[1]
