"""snapshot: what its commands say, for people and for programs, and their exit codes."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest
from msgspec.structs import replace

from eventq import Queue
from eventq.eventlog import open_log
from eventq.replay.fold import replay
from eventq.snapshot import Snapshot, get, load, put, save, take
from tests.cli.harness import FORBIDDEN, NASTY, Cli, finished, on_terminal
from tests.servers import new_url
from tests.snapshot.story import tell
from tools.mongod import ReplicaSet


@pytest.fixture
def filled(cli: Cli) -> Cli:
    """A database whose commits end at 5, 8, 11, 14, 15, 17, 20, 21."""
    with closing(open_log(cli.url)) as log:
        tell(log)
    return cli


def seqs(cli: Cli) -> list[int]:
    """Positions of the snapshots in the database."""
    return [row["seq"] for row in cli.rows("snapshot", "list")]


def forge(cli: Cli, seq: int) -> None:
    """Puts a snapshot that is wrong in one field of one task, with a checksum that is right."""
    with closing(open_log(cli.url)) as log:
        right = take(replay(log, until=seq))
        task = replace(right.tasks[3], priority=99)
        put(log, replace(right, tasks={**right.tasks, 3: task}), now=1)


def test_create_takes_one_of_the_end(filled: Cli) -> None:
    """Without more words it is of the last commit; the row says where, when and how large."""
    row = filled.row("snapshot", "create")

    assert list(row) == ["seq", "at", "taken_at", "bytes", "seal"]
    assert (row["seq"], row["at"]) == (21, "1970-01-01T00:00:00.001070Z")
    with closing(open_log(filled.url)) as log:
        assert row["seal"] == log.head().seal.hex()
        assert get(log, 21) == take(replay(log))
        assert [row["bytes"]] == [entry.size_bytes for entry in log.snapshots.entries()]


@pytest.mark.parametrize(
    "point, seq", [("10", 8), ("8", 8), ("-1", 20), ("1970-01-01T00:00:00.001021Z", 11)]
)
def test_create_takes_one_of_a_point(filled: Cli, point: str, seq: int) -> None:
    """Any point will do, and a position inside of a commit counts down to the one before it."""
    assert filled.row("snapshot", "create", "--at", point)["seq"] == seq


def test_create_takes_many(filled: Cli) -> None:
    """--every goes over the whole log."""
    rows = filled.rows("snapshot", "create", "--every", "7")

    assert [row["seq"] for row in rows] == [5, 14, 21]
    assert seqs(filled) == [5, 14, 21]


@pytest.mark.parametrize(
    "words",
    [
        ("create", "--at", "8", "--every", "3"),
        ("create", "--every", "0"),
        ("create", "--at", "99"),
        ("create", "--at", "3"),
        ("create", "--at", "someday"),
        ("create", "--at", "2026-11-31T12:00:00"),
        ("show", "7"),
        ("show", "no-such-file"),
        ("verify", "7"),
        ("verify", "no-such-file"),
        ("diff", "no-such-file", "end"),
        ("diff", "99", "end"),
        ("diff", "8"),
        ("export", "7", "a.snapshot"),
        ("export", "x", "a.snapshot"),
        ("prune",),
        ("prune", "--keep", "-1"),
        ("prune", "--before", "99"),
        ("nonsense",),
    ],
    ids=" ".join,
)
def test_wrong_words_are_refused(filled: Cli, words: tuple[str, ...]) -> None:
    """A call that cannot be meant ends with 2 and one line; nothing is made."""
    filled.one_error("snapshot", *words, code=2)

    assert seqs(filled) == []


def test_the_group_alone_shows_its_help(cli: Cli) -> None:
    """Whoever does not say what is told what there is."""
    result = cli("snapshot")

    assert result.exit_code == 2
    assert "verify" in result.stderr


def test_nothing_is_created_for_looking(cli: Cli) -> None:
    """A database that is not there is not made."""
    for words in (["create"], ["list"], ["verify"], ["prune", "--keep", "1"], ["diff", "1", "2"]):
        cli.one_error("snapshot", *words, code=1)

    assert list(cli.folder.iterdir()) == []


def test_list_says_when_there_are_none(filled: Cli) -> None:
    """A note for the person, and the columns alone for the program."""
    result = filled("snapshot", "list")

    assert result.exit_code == 0
    assert result.stdout.splitlines() == ["SEQ\tAT\tTAKEN\tBYTES\tSEAL"]
    assert result.stderr == "eventq: there are no snapshots\n"


def test_show_tells_what_it_holds(filled: Cli, tmp_path: Path) -> None:
    """States, events and nodes, of the database's or of a file's, which needs no log."""
    filled.ok("snapshot", "create", "--at", "8")
    path = str(tmp_path / "a.snapshot")
    filled.ok("snapshot", "export", "8", path)

    row = filled.row("snapshot", "show", "8")
    text = filled.ok("snapshot", "show", "8")

    assert row["states"] == {
        "waiting": 0, "scheduled": 1, "ready": 1, "leased": 3, "completed": 0, "expired": 0,
        "cancelled": 0, "unknown": 0,
    }  # fmt: skip
    assert row["events"]["created"] == 5
    assert [(node["node"], node["leases"]) for node in row["nodes"]] == [("anna", 2), ("bert", 1)]
    assert "leased\t3\n" in text
    assert "created events\t5\n" in text
    assert "refused" not in text
    assert "node anna\t2 leases" in text
    assert filled.row("snapshot", "show", path, "--url", "sqlite:///nowhere.db") == row


def test_a_damaged_one_is_told(filled: Cli, tmp_path: Path) -> None:
    """Shown or exported, one that cannot be used ends with 1 and says why."""
    path = tmp_path / "a.snapshot"
    path.write_bytes(b"rubbish")
    filled.ok("snapshot", "create", "--at", "8")
    with closing(open_log(filled.url)) as log:
        [entry] = log.snapshots.entries()
        log.snapshots.put(entry, (log.snapshots.get(8) or b"")[:-1])

    for words in (["show", str(path)], ["show", "8"], ["export", "8", "b"], ["diff", "8", "end"]):
        assert "cannot be used" in filled.one_error("snapshot", *words, code=1)


def test_a_command_tells_of_a_damaged_one_and_goes_on(filled: Cli) -> None:
    """Whatever folds the log says on standard error which it could not use, and answers."""
    filled.ok("snapshot", "create", "--at", "8")
    with closing(open_log(filled.url)) as log:
        [entry] = log.snapshots.entries()
        log.snapshots.put(entry, b"rubbish")

    done = finished("stats", "--url", filled.url, "--json", folder=filled.folder)

    assert done.returncode == 0
    assert '"completed":1' in done.stdout
    assert done.stderr == (
        "eventq: warning: snapshot discarded seq=8 "
        "error=the snapshot cannot be used: it is not one of eventq\n"
    )


def test_verify_proves_all(filled: Cli, tmp_path: Path) -> None:
    """All in the database, or those named, files too."""
    filled.ok("snapshot", "create", "--every", "7")
    path = str(tmp_path / "a.snapshot")
    filled.ok("snapshot", "export", "14", path)

    every = filled.rows("snapshot", "verify")
    named = filled.ok("snapshot", "verify", path, "5")

    assert [(row["snapshot"], row["seq"], row["proven"]) for row in every] == [
        ("5", 5, True), ("14", 14, True), ("21", 21, True),
    ]  # fmt: skip
    assert [line.split("\t") for line in named.splitlines()] == [
        ["SNAPSHOT", "SEQ", "VERDICT", "WHY"],
        [path, "14", "proven", "-"],
        ["5", "5", "proven", "-"],
    ]


def test_verify_finds_a_forgery(filled: Cli) -> None:
    """It names the position, the task, the field and both values, and ends with 1."""
    filled.ok("snapshot", "create", "--at", "5")
    forge(filled, 8)

    result = filled("snapshot", "verify")
    in_json = filled("snapshot", "verify", "--json")

    assert (result.exit_code, in_json.exit_code) == (1, 1)
    assert result.stdout.splitlines()[1:] == [
        "5\t5\tproven\t-",
        "8\t8\twrong\ttask 3: priority is 99, and 0 in the replay",
    ]
    assert result.stderr == "eventq: 1 of 2 are not what the log folds to\n"
    assert '"flaw":{"field":"priority","task":3,"snapshot":99,"replayed":0}' in in_json.stdout


def test_verify_tells_what_cannot_be_used(filled: Cli, tmp_path: Path) -> None:
    """A damaged file is a finding, not an end of the others' proof."""
    path = tmp_path / "a.snapshot"
    path.write_bytes(b"rubbish")
    filled.ok("snapshot", "create")

    result = filled("snapshot", "verify", str(path), "21")

    assert result.exit_code == 1
    assert result.stdout.splitlines()[1:] == [
        f"{path}\t-\tunusable\tit is not one of eventq",
        "21\t21\tproven\t-",
    ]


def test_verify_of_nothing_is_fine(filled: Cli) -> None:
    """Where there are no snapshots none is wrong."""
    result = filled("snapshot", "verify")

    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == "eventq: there are no snapshots\n"


def test_diff_compares_snapshots_files_and_points(filled: Cli, tmp_path: Path) -> None:
    """What differs between any two of them; a snapshot at the position is taken for the point."""
    path = str(tmp_path / "a.snapshot")
    filled.ok("snapshot", "create", "--at", "5")
    filled.ok("snapshot", "create", "--at", "8")
    filled.ok("snapshot", "export", "8", path)

    rows = [filled.row("snapshot", "diff", "5", word) for word in ("8", path, "-13")]

    assert rows[0] == rows[1] == rows[2]
    assert (rows[0]["before"]["seq"], rows[0]["after"]["seq"]) == (5, 8)
    assert rows[0]["states"]["leased"] == [0, 3]
    before, after = rows[0]["tasks"][0]["fields"].pop("started_at_us")
    assert (before, type(after)) == (None, int)
    assert rows[0]["tasks"][0] == {
        "number": 1,
        "key": "one",
        "fields": {
            "state": ["ready", "leased"],
            "attempt": [0, 1],
            "fence": [0, 6],
            "worker": [None, "anna"],
        },
    }
    assert rows[0]["nodes"][1]["fields"]["leases"] == [None, 1]


def test_diff_for_people(filled: Cli) -> None:
    """Positions and counts, then tasks, then nodes, each below its columns."""
    text = filled.ok("snapshot", "diff", "15", "17")

    head, tasks, nodes = text.split("\n\n")
    assert head.splitlines()[0] == "\tA\tB"
    assert "position\t15\t17" in head
    assert "leased\t1\t2" in head
    assert "3\tpriority\t0\t-1" in tasks
    assert '3\ttags\t{}\t{"n":3}' in tasks
    assert "2\tstate\tscheduled\tleased" in tasks
    assert "cleo\tleases\t-\t1" in nodes


def test_diff_takes_a_snapshot_as_it_is(filled: Cli, tmp_path: Path) -> None:
    """The position of a snapshot means that one, and not what the log folds to there."""
    path = str(tmp_path / "a.snapshot")
    filled.ok("snapshot", "create", "--at", "8")
    filled.ok("snapshot", "export", "8", path)
    forge(filled, 8)

    row = filled.row("snapshot", "diff", "8", path)

    assert row["before"]["seq"] == row["after"]["seq"] == 8
    assert row["tasks"] == [{"number": 3, "key": "3", "fields": {"priority": [99, 0]}}]


def test_export_writes_a_file(filled: Cli, tmp_path: Path) -> None:
    """The file holds the snapshot, and what was there is replaced."""
    filled.ok("snapshot", "create")
    path = tmp_path / "a.snapshot"
    path.write_text("old", encoding="utf-8")

    row = filled.row("snapshot", "export", "21", str(path))

    assert row == {"seq": 21, "file": str(path), "bytes": path.stat().st_size}
    with closing(open_log(filled.url)) as log:
        assert load(path) == get(log, 21)


def test_export_replaces_no_log(filled: Cli) -> None:
    """That it is taken from, or another one."""
    filled.ok("snapshot", "create")
    path = Path(filled.url.removeprefix("sqlite:///"))
    before = path.read_bytes()

    assert "no log" in filled.one_error("snapshot", "export", "21", str(path), code=2)

    assert path.read_bytes() == before


def test_export_to_nowhere_is_told(filled: Cli) -> None:
    """A folder that is not there, and no traceback."""
    filled.ok("snapshot", "create")

    line = filled.one_error("snapshot", "export", "21", "/nowhere/a.snapshot", code=1)

    assert "No such file or directory" in line


def test_prune_deletes(filled: Cli) -> None:
    """It lists what it deleted."""
    filled.ok("snapshot", "create", "--every", "1")

    by_count = filled.rows("snapshot", "prune", "--keep", "4")
    by_point = filled.rows("snapshot", "prune", "--before", "-2")
    nothing = filled("snapshot", "prune", "--keep", "4")

    assert [row["seq"] for row in by_count] == [5, 8, 11, 14]
    assert [row["seq"] for row in by_point] == [15, 17]
    assert seqs(filled) == [20, 21]
    assert nothing.stderr == "eventq: nothing to delete\n"


def test_what_anybody_wrote_is_safe_to_print(cli: Cli, tmp_path: Path) -> None:
    """Tags, keys and nodes come from anybody, in a file too."""
    with Queue(cli.url) as queue:
        queue.new({"n": NASTY})
        right = take(replay(queue.log))
    task = replace(right.tasks[1], tags_json=b'{"n":1}', caller_key=NASTY)
    snapshot: Snapshot = replace(right, tasks={1: task})
    path = str(tmp_path / "a.snapshot")
    save(snapshot, path)

    calls: list[tuple[str, ...]] = [("diff", path, "end"), ("verify", path)]
    forms: list[list[str]] = [[], ["--json"]]
    said = [cli("snapshot", *call, *form).output for call in calls for form in forms]

    assert not any(forbidden in text for text in said for forbidden in FORBIDDEN)
    assert all("owned" in text for text in said)


def test_a_terminal_gets_tables(filled: Cli) -> None:
    """On a terminal columns stand below each other, and a bar is gone in the end."""
    code, text = on_terminal(
        "snapshot", "create", "--every", "7", "--url", filled.url, folder=filled.folder
    )

    assert code == 0
    assert "SEQ" in text
    assert "\t" not in text


def test_other_logs_have_them_too(cli: Cli, mongod: ReplicaSet) -> None:
    """The same commands on a log in MongoDB."""
    cli.url = new_url(mongod)
    with closing(open_log(cli.url)) as log:
        tell(log)

    cli.ok("snapshot", "create", "--every", "7")
    forge(cli, 11)
    verified = cli("snapshot", "verify")
    cli.ok("snapshot", "prune", "--keep", "1")

    assert verified.exit_code == 1
    assert "11\t11\twrong\ttask 3: priority is 99" in verified.stdout
    assert seqs(cli) == [21]
