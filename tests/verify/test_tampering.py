"""Whatever is changed in a stored log is found, and the position named.

Changed by somebody who leaves the seals as they are: each column, each field, and whole rows.
"""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import apsw
import pytest
from msgspec.structs import replace

from eventq.core.commits import Commit
from eventq.eventlog import open_log
from eventq.replay import Point
from eventq.verify import Anchor, make_anchor, verify
from tests.eventlog.commits import by_place
from tests.verify.tampering import (
    COMMITS,
    EACH_FIELD,
    LAST,
    WRITERS,
    Path_,
    append_all,
    body_at,
    changed,
    commit_of,
    unguarded,
    verdict_of,
    with_body,
    without,
    write_sqlite,
)


def anchor_at(tmp_path: Path, seq: int) -> Anchor:
    """An anchor of the log as it was before anybody changed it."""
    with closing(open_log(write_sqlite(tmp_path / "before.db", COMMITS), create=False)) as log:
        return make_anchor(log, Point(seq, 0))


@pytest.mark.parametrize("store", WRITERS)
def test_what_nobody_changed_is_good(tmp_path: Path, store: str) -> None:
    """The log that all tests here change is good before."""
    verdict = verdict_of(WRITERS[store](tmp_path / "log", COMMITS))

    assert (verdict.findings, verdict.seq, verdict.complete) == ((), LAST, True)


@pytest.mark.parametrize("store", WRITERS)
@EACH_FIELD
def test_a_changed_field_of_a_body_is_found(
    tmp_path: Path, store: str, seq: int, path: Path_
) -> None:
    """Another value in any field of any kind breaks the seal of its commit."""
    body = changed(body_at(seq), path)

    verdict = verdict_of(WRITERS[store](tmp_path / "log", with_body(COMMITS, seq, body)))

    first = verdict.findings[0]
    commit = COMMITS[commit_of(seq)]
    assert (first.seq, first.rule) == (commit.first, "seal")
    assert f"{commit.first}" in first.problem or commit.first == commit.last
    # What the rules see in that commit comes with it, and may name the event.
    assert all(commit.first <= finding.seq <= commit.last for finding in verdict.findings)


@EACH_FIELD
def test_a_field_taken_out_of_a_body_is_found(tmp_path: Path, seq: int, path: Path_) -> None:
    """So does a field that is no longer there."""
    body = without(body_at(seq), path)

    verdict = verdict_of(write_sqlite(tmp_path / "log", with_body(COMMITS, seq, body)))

    assert verdict.findings[0].seq == COMMITS[commit_of(seq)].first


# What is done to the database, and the position that must be named for it.
SQL = [
    ("UPDATE events SET seq = 100 WHERE seq = 8", 8),
    ("UPDATE events SET seq = 100 WHERE seq = 24", 24),
    ("UPDATE events SET at = at + 1 WHERE seq = 8", 8),
    ("UPDATE events SET task = 1 WHERE seq = 8", 7),
    ("UPDATE events SET task = 0 WHERE seq = 24", 24),
    ("UPDATE events SET key = 'other' WHERE seq = 2", 1),
    ("UPDATE events SET key = NULL WHERE seq = 2", 1),
    ("UPDATE events SET key = 'mine' WHERE seq = 6", 6),
    ("UPDATE events SET body = '' WHERE seq = 9", 9),
    ("UPDATE events SET body = 'null' WHERE seq = 9", 9),
    ("UPDATE events SET body = body || char(10) WHERE seq = 9", 9),
    ("UPDATE events SET body = body || ' ' WHERE seq = 14", 13),
    ("UPDATE events SET body = body || ',' || body WHERE seq = 14", 13),
    ("UPDATE events SET place = place + 1099511627776 WHERE seq = 9", 9),
    ("UPDATE events SET count = 3 WHERE seq = 8", 7),
    ("UPDATE events SET count = 1 WHERE seq = 8", 7),
    ("UPDATE events SET count = 2 WHERE seq = 24", 24),
    ("UPDATE events SET count = NULL WHERE seq = 8", 7),
    ("UPDATE events SET count = 1 WHERE seq = 7", 7),
    ("UPDATE events SET id = 'other' WHERE seq = 8", 7),
    ("UPDATE events SET id = 'a' || char(10) || 'b' WHERE seq = 8", 7),
    ("UPDATE events SET id = NULL WHERE seq = 8", 7),
    ("UPDATE events SET id = 'other' WHERE seq = 7", 7),
    ("UPDATE events SET seal = zeroblob(32) WHERE seq = 8", 7),
    ("UPDATE events SET seal = zeroblob(31) WHERE seq = 8", 7),
    ("UPDATE events SET seal = zeroblob(32) WHERE seq = 24", 24),
    ("UPDATE events SET seal = NULL WHERE seq = 8", 9),
    # What belongs to the end of a commit stands in another row of it.
    (
        """UPDATE events SET id = (SELECT id FROM events WHERE seq = 8) WHERE seq = 7;
        UPDATE events SET id = NULL WHERE seq = 8""",
        7,
    ),
    (
        """UPDATE events SET count = 2 WHERE seq = 7;
        UPDATE events SET count = NULL WHERE seq = 8""",
        7,
    ),
    (
        """UPDATE events SET id = 'a' || char(10) || 'b' WHERE seq = 3;
        UPDATE events SET id = NULL WHERE seq = 8""",
        1,
    ),
    ("UPDATE events SET seal = NULL, count = NULL, id = NULL WHERE seq = 8", 9),
    ("UPDATE events SET seal = zeroblob(32), count = 1, id = 'id' WHERE seq = 7", 7),
    ("UPDATE events SET seal = (SELECT seal FROM events WHERE seq = 3) WHERE seq = 8", 7),
    ("UPDATE events SET at = at + 1 WHERE seq < 4", 1),
    # Two events change places: in a commit, and over commits.
    (
        """UPDATE events SET seq = 99 WHERE seq = 7;
        UPDATE events SET seq = 7 WHERE seq = 8;
        UPDATE events SET seq = 8 WHERE seq = 99""",
        7,
    ),
    (
        """UPDATE events SET seq = 99, at = 1270 WHERE seq = 9;
        UPDATE events SET seq = 9, at = 1250 WHERE seq = 12;
        UPDATE events SET seq = 12 WHERE seq = 99""",
        9,
    ),
    # Two payloads of a kind change places.
    (
        """CREATE TEMP TABLE two AS SELECT place, body FROM events WHERE seq IN (2, 22);
        UPDATE events SET body = (SELECT body FROM two WHERE two.place <> events.place)
        WHERE seq IN (2, 22)""",
        1,
    ),
    (
        """CREATE TEMP TABLE two AS SELECT place, body FROM events WHERE seq IN (7, 16);
        UPDATE events SET body = (SELECT body FROM two WHERE two.place <> events.place)
        WHERE seq IN (7, 16)""",
        7,
    ),
    # Deleted at the beginning, in the middle, at the end.
    ("DELETE FROM events WHERE seq = 1", 1),
    ("DELETE FROM events WHERE seq = 8", 8),
    ("DELETE FROM events WHERE seq = 23", 23),
    ("DELETE FROM events WHERE seq < 4", 1),
    ("DELETE FROM events WHERE seq IN (7, 8)", 7),
]


def done_to(path: Path, statements: str) -> str:
    """The URL of a log to which somebody has done this."""
    url = write_sqlite(path, COMMITS)
    with closing(unguarded(path)) as connection:
        connection.execute(by_place(statements))
    return url


@pytest.mark.parametrize("statements, seq", SQL, ids=[statements for statements, _ in SQL])
def test_what_is_done_to_the_database_is_found(tmp_path: Path, statements: str, seq: int) -> None:
    """Each column, the order of rows, and rows that are gone: the first position is named."""
    verdict = verdict_of(done_to(tmp_path / "log.db", statements))

    assert verdict.findings[0].seq == seq


def test_a_chain_under_another_name_is_found(tmp_path: Path) -> None:
    """The first seal covers the name of the namespace."""
    url = done_to(tmp_path / "log.db", "UPDATE namespaces SET name = 'other'")

    with closing(open_log(url, namespace="other", create=False)) as log:
        [finding] = verify(log).findings

    assert (finding.seq, finding.rule) == (1, "seal")


TAILS = [
    ("DELETE FROM events WHERE seq = 24", 24),
    ("DELETE FROM events WHERE seq > 8", 9),
    ("DELETE FROM events", 1),
    ("DELETE FROM events; DELETE FROM namespaces", 1),
]


@pytest.mark.parametrize("statements, seq", TAILS, ids=[statements for statements, _ in TAILS])
def test_a_cut_tail_is_found_by_an_anchor(tmp_path: Path, statements: str, seq: int) -> None:
    """What is left is a good log, and only an anchor knows that there was more."""
    anchor = anchor_at(tmp_path, LAST)
    url = done_to(tmp_path / "log.db", statements)

    alone, anchored = verdict_of(url), verdict_of(url, anchor)

    assert alone.ok
    [finding] = anchored.findings
    assert (finding.seq, finding.rule) == (seq, "anchor")
    assert f"the log ends at {seq - 1}, before the anchor's {LAST}" in finding.problem


def swapped(commits: list[Commit], one: int, other: int) -> list[Commit]:
    """Two commits in each other's place, just as they are."""
    found = list(commits)
    found[one], found[other] = found[other], found[one]
    return found


INDEX = commit_of(8)
COMMIT = COMMITS[INDEX]
LINES = [
    ("id", 7, [replace(COMMIT, id="other")]),
    ("first", 7, [replace(COMMIT, first=8)]),
    ("at", 7, [replace(COMMIT, at=COMMIT.at + 1)]),
    ("at-back", 7, [replace(COMMIT, at=1)]),
    ("prev", 7, [replace(COMMIT, prev=bytes(32))]),
    ("seal", 7, [replace(COMMIT, seal=bytes(32))]),
    ("tasks", 7, [replace(COMMIT, tasks=[2, 1])]),
    ("keys", 7, [replace(COMMIT, keys={"mine": 7})]),
    ("events-order", 7, [replace(COMMIT, bodies=COMMIT.bodies[::-1])]),
    ("events-fewer", 8, [replace(COMMIT, bodies=COMMIT.bodies[:1], tasks=[2])]),
    ("events-more", 11, [replace(COMMIT, bodies=COMMIT.bodies * 2, tasks=[2, 2, 2, 2])]),
    ("deleted", 7, []),
    ("twice", 9, [COMMIT, COMMIT]),
]


@pytest.mark.parametrize("what, seq, instead", LINES, ids=[what for what, _, _ in LINES])
def test_what_is_done_to_a_line_of_a_file_is_found(
    tmp_path: Path, what: str, seq: int, instead: list[Commit]
) -> None:
    """Each field of a commit, and the commit as a whole."""
    commits = [*COMMITS[:INDEX], *instead, *COMMITS[INDEX + 1 :]]

    verdict = verdict_of(WRITERS["file"](tmp_path / "log.jsonl", commits))

    assert verdict.findings[0].seq == seq, what


def test_lines_in_another_order_are_found(tmp_path: Path) -> None:
    """Two commits that change places leave a hole where the first was."""
    verdict = verdict_of(WRITERS["file"](tmp_path / "log.jsonl", swapped(COMMITS, 3, 4)))

    assert verdict.findings[0].seq == COMMITS[3].first


def test_a_log_in_memory_is_read_as_others(tmp_path: Path) -> None:
    """An anchor of one place fits the same log in another."""
    anchor = anchor_at(tmp_path, LAST)
    with closing(open_log("memory://")) as log:
        append_all(log)
        verdict = verify(log, anchors=[anchor], indexes="full")

    assert (verdict.findings, verdict.anchors) == ((), 1)


STRAY_EVENT = "INSERT INTO events VALUES ((1 << 40) + ?, 9, ?, ?, NULL, NULL, NULL, NULL, '{}')"
CUT_END = by_place("UPDATE events SET seal = NULL WHERE seq = ?")
STRAYS: dict[str, tuple[str, tuple[int | str | None, ...]]] = {
    "event-behind": (STRAY_EVENT, (LAST + 1, 1, None)),
    "key-behind": (STRAY_EVENT, (LAST + 7, 99, "mine")),
    "event-before": (STRAY_EVENT, (0, 1, None)),
    "key-before": (STRAY_EVENT, (0, 0, "mine")),
    "tail-without-end": (CUT_END, (COMMITS[-1].last,)),
}


@pytest.mark.parametrize("what", STRAYS)
def test_what_stands_outside_of_all_commits_is_found(tmp_path: Path, what: str) -> None:
    """No commit has it and no seal covers it, but a task's history would show it."""
    url = write_sqlite(tmp_path / "log.db", COMMITS)
    statement, values = STRAYS[what]
    with apsw.Connection(str(tmp_path / "log.db")) as connection:
        connection.execute("DROP TRIGGER IF EXISTS events_no_update")
        connection.execute(statement, values)

    with closing(open_log(url, create=False)) as log:
        verdict = verify(log, indexes="none")

    [finding] = verdict.findings
    assert (finding.seq, finding.rule) == (values[0], "position")
