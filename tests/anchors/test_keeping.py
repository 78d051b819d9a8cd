"""Keeping anchors: when, where, and what is tried again."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from eventq import ArgumentError, Queue
from eventq.anchors import AnchorKeeper, KeepAnchors, read_anchors
from eventq.anchors.kept import last_anchor
from tests.anchors.conftest import HandClock
from tests.anchors.stamping import StampServer
from tests.cli.harness import until
from tests.verify.tampering import COMMITS, write_sqlite

Make = Callable[..., AnchorKeeper]


@pytest.fixture
def made(queue: Queue, hands: HandClock) -> Make:
    """Makes a keeper of the queue's log, by the clock that stands still."""

    def make(every: str = "1h", **options: Any) -> AnchorKeeper:  # noqa: ANN401
        return AnchorKeeper(queue.log, KeepAnchors(every, **options), clock=hands)

    return make


def seqs(path: Path) -> list[int]:
    """The positions of the anchors in a file, in its order."""
    return [each.anchor.seq for each in read_anchors(path, "default").found]


def test_an_anchor_comes_at_once_and_then_when_it_is_due(
    tmp_path: Path, queue: Queue, hands: HandClock, made: Make
) -> None:
    """Only if the log has grown; each is a line at the end of the file."""
    file = tmp_path / "anchors"
    keeper = made(to_file=file, by="ada")
    for now_s, grows in [(0, False), (3599, True), (3600, True), (7200, False), (9000, True)]:
        hands.now_s = now_s
        if grows:
            queue.new({"n": now_s})
        keeper.step()

    assert seqs(file) == [3, 5]
    assert file.read_bytes().count(b"\n") == 2
    assert file.stat().st_mode & 0o777 == 0o600
    assert last_anchor(file) is not None


def test_anchors_come_every_so_many_events(tmp_path: Path, queue: Queue, made: Make) -> None:
    """Counted from the last one, also from that of an earlier keeper."""
    file = tmp_path / "anchors"
    keeper = made("4events", to_file=file)
    keeper.step()
    assert not file.exists()
    queue.new({"n": 4})
    keeper.step()

    later = made("4 events", to_file=file)
    queue.new({"n": 5})
    later.step()
    queue.new_many([{"n": n} for n in range(3)])
    later.step()

    assert seqs(file) == [4, 8]


def test_a_keeper_begins_where_the_last_one_ended(tmp_path: Path, made: Make) -> None:
    """A log that has not grown needs no further anchor."""
    file = tmp_path / "anchors"

    assert made(to_file=file).keep() is not None
    assert made(to_file=file).keep() is None


def test_what_cannot_be_kept_is_tried_again(
    tmp_path: Path,
    queue: Queue,
    hands: HandClock,
    made: Make,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Nothing is lost; it is told once when it begins and once when it ends."""
    folder = tmp_path / "away"
    folder.mkdir()
    keeper = made(to_file=folder / "anchors")
    folder.rename(tmp_path / "elsewhere")
    for now_s in (0, 10, 3600, 3629):
        hands.now_s = now_s
        queue.new({"n": now_s})
        keeper.step()
    waiting = keeper.waiting
    folder.mkdir()
    hands.now_s = 3631
    keeper.step()

    assert waiting == 2
    assert keeper.waiting == 0
    assert seqs(folder / "anchors") == [4, 6]
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]
    assert "No such file" in caplog.text


def test_a_line_that_broke_off_swallows_nothing(tmp_path: Path, queue: Queue, made: Make) -> None:
    """It is told as no anchor; those around it count."""
    file = tmp_path / "anchors"
    keeper = made(to_file=file)
    keeper.keep()
    with file.open("ab") as end:
        end.write(b'{"namespace":"de')
    queue.new({"n": 4})
    keeper.keep()

    kept = read_anchors(file, "default")

    assert [each.anchor.seq for each in kept.found] == [3, 4]
    assert [each.line for each in kept.found] == [1, 3]
    [(place, problem)] = kept.broken
    assert place == f"{file}:2"
    assert "no anchor" in problem


def test_a_program_is_given_each_anchor(tmp_path: Path, queue: Queue, made: Make) -> None:
    """On its standard input, without a shell; what it complains of is told."""
    queue.new({"n": 4})
    keeper = made(to_command=["tee", f"{tmp_path}/{{namespace}} $(id) {{seq}}"])
    keeper.keep()
    failing = made(to_command="sh -c 'echo full >&2; exit 3'")
    failing.keep()

    assert seqs(tmp_path / "default $(id) 4") == [4]
    assert failing.waiting == 1


def git(folder: Path, *words: str) -> str:
    """What git answers in the folder."""
    done = subprocess.run(["git", "-C", str(folder), *words], capture_output=True, check=True)
    return done.stdout.decode()


def test_a_repository_has_a_commit_for_each(tmp_path: Path, queue: Queue, made: Make) -> None:
    """Pushed where it has a remote; whoever takes a line out is found."""
    folder, remote = tmp_path / "repository", tmp_path / "remote"
    for path, words in ((folder, ["init", "-q"]), (remote, ["init", "-q", "--bare"])):
        path.mkdir()
        git(path, *words)
    git(folder, "remote", "add", "origin", str(remote))
    keeper = made(to_git=folder)
    keeper.keep()
    queue.new({"n": 4})
    keeper.keep()

    good = read_anchors(folder, "default")
    lines = (folder / "default.anchors").read_text().splitlines(keepends=True)
    (folder / "default.anchors").write_text(lines[1])
    edited = read_anchors(folder, "default")
    git(folder, "-c", "user.name=e", "-c", "user.email=e@e", "commit", "-qam", "less")
    committed = read_anchors(folder, "default")

    assert [each.anchor.seq for each in good.found] == [3, 4]
    assert good.broken == ()
    subjects = git(remote, "log", "--format=%s", "--all").splitlines()
    assert subjects == ["anchor: default 4", "anchor: default 3"]
    assert edited.broken[0][1] == "it is not what was committed last"
    assert "lines were taken out of it in commit" in committed.broken[0][1]


def test_a_stamp_that_was_late_comes_with_a_line_of_its_own(
    tmp_path: Path, queue: Queue, hands: HandClock, made: Make, stamping: StampServer
) -> None:
    """Nothing that was kept is rewritten."""
    file = tmp_path / "anchors"
    stamping.away = True
    keeper = made(to_file=file, stamp_url=stamping.url)
    keeper.step()
    waiting, before = keeper.waiting, file.read_bytes()
    hands.now_s = 29
    keeper.step()
    asked = stamping.asked
    stamping.away = False
    hands.now_s = 31
    keeper.step()
    queue.new({"n": 4})
    keeper.keep()

    assert (waiting, asked) == (1, 1)
    assert file.read_bytes().startswith(before)
    found = [each.anchor for each in read_anchors(file, "default").found]
    stamps = [(anchor.seq, anchor.stamp is not None) for anchor in found]
    assert stamps == [(3, False), (3, True), (4, True)]
    assert keeper.waiting == 0


@pytest.mark.parametrize("other, asked", [(b"\x30\x03\x02\x01\x00", 1), (b"<html>", 2)])
def test_an_answer_that_is_never_read_is_not_asked_for_again(
    tmp_path: Path,
    hands: HandClock,
    made: Make,
    stamping: StampServer,
    *,
    other: bytes,
    asked: int,
) -> None:
    """Of a time stamp server; what is not even the answer of one is."""
    stamping.other = other
    keeper = made(to_file=tmp_path / "a.anchors", stamp_url=stamping.url)
    keeper.step()
    hands.now_s = 31
    keeper.step()

    assert stamping.asked == asked
    assert keeper.waiting == asked - 1


def test_a_log_that_was_changed_is_told_before_the_next_anchor(
    tmp_path: Path, hands: HandClock, caplog: pytest.LogCaptureFixture
) -> None:
    """The keeper compares the log with what it kept last."""
    from eventq.eventlog import open_log  # noqa: PLC0415 - of this test alone

    file = tmp_path / "anchors"
    plan = KeepAnchors(to_file=file)
    log = open_log(write_sqlite(tmp_path / "a.db", COMMITS), create=False)
    AnchorKeeper(log, plan, clock=hands).keep()
    log.close()
    cut = open_log(write_sqlite(tmp_path / "b.db", COMMITS[:-1]), create=False)
    keeper = AnchorKeeper(cut, plan, clock=hands)
    keeper.keep()
    keeper.keep()
    cut.close()

    [problem] = keeper.problems
    assert "its tail was cut off" in problem
    assert [record.levelname for record in caplog.records] == ["ERROR"]


def test_a_run_keeps_anchors(tmp_path: Path) -> None:
    """From its begin to its end, in a thread of its own."""
    file = tmp_path / "anchors"
    plan = KeepAnchors("1h", to_file=file)
    with Queue(f"sqlite:///{tmp_path}/queue.db", anchors=plan, workers=1) as queue:
        queue.new({"n": 1})
        queue.run(lambda _ctx, _task: until(file.exists, "an anchor"), until="idle", signals=False)
        end = queue.log.head().seq

    assert seqs(file)[-1] == end
    assert len(seqs(file)) == 2


@pytest.mark.parametrize(
    "options, named",
    [
        ({}, "to_file"),
        ({"to_command": ""}, "to_command"),
        ({"to_file": "x", "every": "0s"}, "every"),
        ({"to_file": "x", "every": "0events"}, "every"),
        ({"to_file": "x", "every": "often"}, "every"),
        ({"to_file": "x", "key_file": "none.pem"}, "key_file"),
        ({"to_file": "x", "stamp_url": "tsa"}, "stamp_url"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any], named: str) -> None:
    """Each is named."""
    with pytest.raises(ArgumentError, match=f"^{named}: expected"):
        KeepAnchors(**options)


def test_places_are_looked_at_before_anything_is_kept(tmp_path: Path, queue: Queue) -> None:
    """A folder that is none, a folder for a file, what is no repository."""
    for path in (tmp_path / "no" / "file", tmp_path):
        with pytest.raises(ArgumentError, match="to_file"):
            KeepAnchors(to_file=path).keeper(queue.log)
    with pytest.raises(ArgumentError, match="to_git"):
        KeepAnchors(to_git=tmp_path).keeper(queue.log)


@pytest.mark.parametrize("content", [b"a letter\n", b"SQLite format 3\0...", b'{"seq":1}\n'])
def test_nothing_is_appended_to_a_file_of_something_else(
    tmp_path: Path, queue: Queue, content: bytes
) -> None:
    """A file that holds no anchor is somebody's, perhaps the log itself."""
    file = tmp_path / "mine"
    file.write_bytes(content)

    with pytest.raises(ArgumentError, match="to_file: expected a file of anchors"):
        KeepAnchors(to_file=file).keeper(queue.log)

    assert file.read_bytes() == content


@pytest.mark.parametrize("content", [b"", b'{"name'])
def test_a_file_in_which_the_first_anchor_broke_off_is_taken(
    tmp_path: Path, made: Make, content: bytes
) -> None:
    """By a full disk, before there was any."""
    file = tmp_path / "anchors"
    file.write_bytes(content)

    made(to_file=file).keep()

    assert len(read_anchors(file, "default").found) == 1
