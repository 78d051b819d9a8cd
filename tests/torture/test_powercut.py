"""Power cuts: a short part of `tools.powercut`, and that it sees what syncing less would lose."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from random import Random

import msgspec
import pytest

from eventq.core.commits import Commit
from tools.powercut import Disk, play
from tools.powercut.judging import judge
from tools.powercut.playing import Left, left, left_after_kill, recorded, write
from tools.powercut.steps import FolderSynced, Made, Record, Renamed, Synced, Truncated, Wrote
from tools.powercut.witness import can_trace, compare

CUTS = 60
OLD, NEW = b"o" * 2_000, b"n" * 2_000

Recorded = tuple[Record, list[Commit]]


@pytest.fixture(scope="module")
def run_of_eventq(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    """A run, recorded."""
    return recorded(tmp_path_factory.mktemp("recorded"), 1, "FULL")


@pytest.mark.slow
def test_no_cut_of_the_power_loses_anything() -> None:
    """Whatever is left of what was not synced, all that was told is there, and work goes on."""
    outcomes = play(2, cuts=2 * CUTS)

    assert outcomes["cuts without loss"] == 2 * CUTS
    assert outcomes["commits recorded"] > 50


@pytest.mark.parametrize("level, kind", [("NORMAL", "lost"), ("OFF", "damaged")])
def test_less_syncing_is_seen_to_lose(level: str, kind: str) -> None:
    """With NORMAL commits that were told are gone, with OFF the file is damaged as well."""
    outcomes = play(3, level=level, cuts=CUTS)

    assert outcomes[f"cuts {kind}"] > 0
    assert outcomes["cuts lost"] > 0


def test_a_round_that_can_lose_nothing_proves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where less syncing loses nothing, the cuts are too kind, and the round fails."""
    monkeypatch.setattr("tools.powercut.playing.judge", lambda *_: None)

    with pytest.raises(AssertionError, match="these cuts prove nothing"):
        play(3, level="OFF", cuts=3)


def losses(cuts: Iterable[Left], commits: list[Commit], folder: Path) -> set[str | None]:
    """What kinds of loss there are after these cuts; None where nothing is wrong."""
    found = set()
    for number, (files, told) in enumerate(cuts):
        write(folder / str(number), files)
        loss = judge(folder / str(number), commits, told)
        found.add(loss and loss.kind)
    return found


@pytest.mark.parametrize("forgotten", [FolderSynced, Synced])
def test_a_sync_that_was_not_made_is_seen(
    run_of_eventq: Recorded, tmp_path: Path, forgotten: type
) -> None:
    """Without those of the folder names are lost, without those of files what is in them."""
    record, commits = run_of_eventq
    less = [step for step in record if not isinstance(step, forgotten)]

    assert "lost" in losses(left(less, CUTS, Random(4)), commits, tmp_path)


def losses_after_kills(run_of_eventq: Recorded, folder: Path) -> set[str | None]:
    """The same where a process was killed and another has read the log before each cut."""
    record, commits = run_of_eventq
    cuts = left_after_kill(record, folder / "killed", CUTS // 2, Random(6))
    return losses(cuts, commits, folder)


def test_what_was_read_after_a_kill_is_there(run_of_eventq: Recorded, tmp_path: Path) -> None:
    """Where a commit was written and not yet synced, who reads it has it synced first."""
    assert losses_after_kills(run_of_eventq, tmp_path) == {None}


def test_what_is_read_but_not_synced_is_seen(
    run_of_eventq: Recorded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If nobody syncs what a killed process has written, a cut takes what was read."""
    monkeypatch.setattr("eventq.eventlog.sqlite.files.sync_found", lambda _path: None)

    assert "lost" in losses_after_kills(run_of_eventq, tmp_path)


def test_another_history_is_seen(run_of_eventq: Recorded, tmp_path: Path) -> None:
    """A log whose events are sealed, but not those that were appended, is another one."""
    record, commits = run_of_eventq
    others = [msgspec.structs.replace(commit, at=commit.at + 1) for commit in commits]

    assert "other" in losses(left(record, 5, Random(4)), others, tmp_path)


def test_system_calls_are_those_of_the_record() -> None:
    """The trace has seen the same writes, truncations, syncs and names, in the same order."""
    if not can_trace():
        is_missing = shutil.which("strace") is None
        assert not is_missing or os.environ.get("CI") != "true", "install Debian's package strace"
        pytest.skip("needs strace, and leave to trace")

    assert "the trace has the same" in compare("FULL")


# -- the disk ------------------------------------------------------------------------------------


def outcomes_of(record: Record, take: Callable[[dict[str, bytes]], object]) -> set[object]:
    """All that many cuts at the end of the record leave."""
    disk, chance = Disk(), Random(5)
    for step in record:
        disk.take(step)
    return {take(disk.after_cut(chance)) for _ in range(300)}


SYNCED: Record = [Made("a", 1), FolderSynced(), Wrote(1, 0, OLD), Synced(1)]


def test_what_was_synced_is_there() -> None:
    """Neither content nor name of a file that was synced depends on chance."""
    assert outcomes_of(SYNCED, lambda files: files["a"]) == {OLD}


def test_a_write_that_was_not_synced_may_be_torn() -> None:
    """All of it may be there, nothing, a beginning, or sectors in any order; and nothing else."""
    found = outcomes_of([*SYNCED, Wrote(1, 0, NEW)], lambda files: files["a"])

    assert {OLD, NEW, NEW[:512] + OLD[512:], OLD[:512] + NEW[512:1024] + OLD[1024:]} <= found
    assert any(isinstance(each, bytes) and each[:100] == NEW[:100] for each in found)
    assert all(isinstance(each, bytes) and len(each) == len(OLD) for each in found)


def test_a_file_may_have_grown_without_content() -> None:
    """Its size may have reached the disk before what was written, which then reads as zeros."""
    found = outcomes_of([*SYNCED, Wrote(1, 2_000, NEW)], lambda files: files["a"])

    assert {OLD, OLD + NEW} <= found
    assert any(isinstance(each, bytes) and each.endswith(bytes(512)) for each in found)


def test_a_truncation_may_not_have_been_made() -> None:
    """Until the next sync a file has either size."""
    found = outcomes_of([*SYNCED, Truncated(1, 100)], lambda files: files["a"])

    assert found == {OLD, OLD[:100]}


def test_a_name_may_be_the_old_one() -> None:
    """Until the folder is synced, a file has either name, and never both."""
    found = outcomes_of([*SYNCED, Renamed("a", "b")], tuple)

    assert found == {("a",), ("b",)}
