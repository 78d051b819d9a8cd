"""Soak: a short round of `tools.soak`, and that it sees what is never given back."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from eventq import Queue
from eventq.archive import archive_events, delete_archived, retention
from tools.soak.measuring import MIB, Sample, judge
from tools.soak.playing import find_forgotten, play

STEADY = [Sample(40 * MIB + place % 3 * MIB, 10 + place % 2, 12) for place in range(40)]
MOST_S = 300.0
measured = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads /proc")


@measured
@pytest.mark.slow
@pytest.mark.timeout(MOST_S)
def test_nothing_grows_while_tasks_come_and_go() -> None:
    """Memory, threads, files, the WAL and lags are bounded; all tasks are there and end."""
    outcomes = play(0, tasks=500)

    assert outcomes["tasks"] >= 500
    assert outcomes["restarts"] == outcomes["stuck readers"] == 1
    assert outcomes["archives"] >= 1
    assert outcomes["given up"] > 0
    assert outcomes["most KiB of memory"] > outcomes["most KiB of memory gained"]
    assert outcomes["most KiB of WAL"] > 0
    assert outcomes["tasks"] == sum(outcomes[k] for k in ("completed", "given up", "cancelled"))


@measured
@pytest.mark.slow
@pytest.mark.timeout(MOST_S)
def test_what_a_process_keeps_is_seen() -> None:
    """Open files, threads and memory that an attempt leaves behind are found, each by itself."""
    with pytest.raises(AssertionError) as raised:
        play(0, tasks=0, looks=16, worker="tests.torture.leaking")

    for what in ("more open files", "more threads", "more memory"):
        assert what in str(raised.value)


def test_an_open_task_that_a_cut_forgets_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if a cut kept nothing of what is open: its key would be free for another task."""
    url, archive = f"sqlite:///{tmp_path}/q.db", tmp_path / "archive"
    archive.mkdir()
    for at_work in (True, False):
        if not at_work:
            monkeypatch.setattr(retention._Keeper, "_keep", lambda *_: None)
        with Queue(url) as queue:
            task = queue.new({}, key=f"open {at_work}")
            until = queue.log.head()
            queue.new({})
            archive_events(queue.log, archive, until=until)
            delete_archived(queue.log, archive, until=until, now=until.at)

        found = find_forgotten(url, {task.key: task.number})

        assert found == ([] if at_work else ["the task open False was open, and is cut off"])


def test_what_goes_up_and_down_is_no_leak() -> None:
    """As long as the end is like the beginning."""
    assert list(judge("it", STEADY)) == []


@pytest.mark.parametrize(
    "field, each",
    [("memory_bytes", MIB), ("threads", 1), ("files", 1)],
)
def test_what_grows_slowly_is_seen(field: str, each: int) -> None:
    """Each measure, by itself, if it rises from sample to sample."""
    rising = [
        replace(one, **{field: getattr(one, field) + place * each})
        for place, one in enumerate(STEADY)
    ]

    assert len(list(judge("it", rising))) == 1


def test_too_few_samples_prove_nothing() -> None:
    """A round that has hardly measured fails."""
    assert list(judge("it", STEADY[:3])) == ["it was measured only 3 times"]
