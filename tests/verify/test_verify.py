"""The verifier as its callers see it: what it says, when it stops, where it may begin.

That each rule can say no is shown in test_checker.py, that no change escapes in test_tampering*.py.
"""

from __future__ import annotations

from contextlib import closing
from functools import partial
from pathlib import Path

import pytest
from msgspec.structs import replace

from eventq import Queue
from eventq.core.command import NEW, Draft
from eventq.core.commits import Commit
from eventq.core.events import (
    Cancelled,
    Completed,
    Created,
    Expired,
    Failed,
    Leased,
    Reopening,
    Retried,
)
from eventq.core.queue_events import Limited
from eventq.core.values import NODE, Bucket, ErrorInfo, Policy, ProcessExit
from eventq.errors import ArgumentError
from eventq.eventlog import Head, open_log
from eventq.eventlog.memory import MemoryLog
from eventq.replay.fold import replay
from eventq.verify import VerifyBase, base_of, verify
from eventq.verify.bodies import read_bodies
from eventq.verify.terms import Unreadable
from tests.commands import MadeCommand
from tests.driver import append_texts, memory_log, sealed
from tests.support import node_of
from tests.verify.tampering import (
    COMMITS,
    LAST,
    append_all,
    body_at,
    resealed,
    with_body,
    write_file,
    write_sqlite,
)
from tools.generate import generate

PLAIN = Policy("linear", 10)


@pytest.fixture
def log() -> MemoryLog:
    """The story, in memory."""
    log = memory_log()
    append_all(log)
    return log


def test_a_good_log_is_told_in_numbers(log: MemoryLog) -> None:
    """Positions, commits, kinds, open tasks and the last seal."""
    verdict = verify(log)

    assert verdict.ok
    assert verdict.complete
    assert (verdict.begin, verdict.seq, verdict.events) == (0, LAST, LAST)
    assert (verdict.commits, verdict.open) == (len(COMMITS), 1)
    assert (verdict.at, verdict.seal) == (COMMITS[-1].at, COMMITS[-1].seal.hex())
    assert sum(verdict.counts.values()) == LAST
    assert verdict.counts["leased"] == 6


def test_an_empty_log_is_good() -> None:
    """Nothing happened, nothing is wrong."""
    verdict = verify(memory_log())

    assert (verdict.ok, verdict.complete, verdict.events) == (True, True, 0)


@pytest.mark.parametrize("limit", [0, 1_001, -1])
def test_a_wrong_limit_is_refused(log: MemoryLog, limit: int) -> None:
    """The number of findings is bounded."""
    with pytest.raises(ArgumentError, match="limit"):
        verify(log, limit=limit)


def spoiled(*seqs: int) -> list[Commit]:
    """The story with the leases at these positions counted wrongly, and the seals as they were."""
    commits = COMMITS
    for seq in seqs:
        commits = with_body(commits, seq, {**body_at(seq), "attempt": 7})
    return commits


def test_it_stops_at_the_first_finding_unless_told(tmp_path: Path) -> None:
    """One commit's findings, or all there are; the verdict says how far it came."""
    with closing(open_log(write_sqlite(tmp_path / "log.db", spoiled(10, 24)))) as log:
        first, everything = verify(log), verify(log, limit=1_000)

    assert [(f.seq, f.rule) for f in first.findings] == [(10, "seal"), (10, "lease")]
    assert (first.complete, first.seq) == (False, 11)
    assert [(f.seq, f.rule) for f in everything.findings] == [
        (10, "seal"),
        (10, "lease"),
        (24, "seal"),
        (24, "lease"),
    ]
    assert (everything.complete, everything.seq) == (True, LAST)


def test_findings_never_outnumber_the_limit_by_more_than_a_commit() -> None:
    """A log that is wrong everywhere is told in 1,000 findings."""
    log = memory_log()
    drafts: list[Draft] = [(NEW, Created(PLAIN)), (1, Leased(9, "n", 30))]
    log.append(sealed([*drafts, *[(5_000, Cancelled())] * 998]))
    log.append(
        sealed([(6_000, Cancelled())] * 999, first=1_001, prev=log.head().seal, at=log.head().at)
    )

    assert len(verify(log, limit=1_000).findings) == 1_000


@pytest.mark.parametrize("task", [0, 1, 30])
def test_an_unknown_kind_is_told_and_not_guessed(task: int) -> None:
    """It is a finding; the seals behind it are still verified, and its task is not judged."""
    log = memory_log()
    log.append(sealed([(NEW, Created(PLAIN)), (NEW, Created(PLAIN, "k"))]))
    append_texts(log, [task] * 2, '{"kind":"muted","until":5}', '{"kind":"muted","until":6}')
    follow: list[Draft] = [(1, Leased(1, "n", 30)), (1, Completed(5)), (2, Leased(1, "n", 30))]
    log.append(sealed(follow, first=5, prev=log.head().seal))

    verdict = verify(log)

    assert [(f.seq, f.rule) for f in verdict.findings] == [(3, "unknown")]
    assert "newer eventq" in verdict.findings[0].problem
    assert (verdict.complete, verdict.seq, verdict.counts["muted"]) == (True, 7, 2)


def test_an_unknown_kind_about_no_task_may_change_the_order() -> None:
    """From there on nobody knows which task must come first."""
    log = memory_log()
    log.append(sealed([(NEW, Created(PLAIN)), (NEW, Created(PLAIN))]))
    append_texts(log, [0], '{"kind":"turned"}')
    log.append(sealed([(2, Leased(1, "n", 30))], first=4, prev=log.head().seal))

    assert [(f.seq, f.rule) for f in verify(log).findings] == [(3, "unknown")]


def test_what_an_unknown_kind_did_to_a_final_task_is_not_guessed() -> None:
    """It may be anywhere in the order now, or nowhere, though it is reopened as it was."""
    log = memory_log()
    log.append(sealed([(NEW, Created(PLAIN)), (NEW, Created(PLAIN)), (1, Cancelled())]))
    append_texts(log, [1], '{"kind":"muted"}')
    reopened = Retried(0, Reopening("cancelled", PLAIN, 0, 0))
    follow: list[Draft] = [(1, reopened), (2, Leased(1, "n", 30)), (1, Leased(1, "n", 30))]
    log.append(sealed(follow, first=5, prev=log.head().seal))

    assert [(f.seq, f.rule) for f in verify(log).findings] == [(4, "unknown")]


@pytest.mark.parametrize("kept", [0, 10])
def test_a_reopened_task_has_its_retries_anew(monkeypatch: pytest.MonkeyPatch, kept: int) -> None:
    """Whether a hash of it is still kept, or its history must be read again."""
    monkeypatch.setattr("eventq.verify.rules.HASHES_KEPT", kept)
    once, error = Policy("constant", 0, max_retries=1), ErrorInfo("OSError")
    attempts: list[list[Draft]] = [
        [(1, Leased(number, "n", 30)), (1, Failed(fence, error))]
        for number, fence in enumerate([2, 5, 9, 12], 1)
    ]
    reopened = Retried(0, Reopening("expired", once, 0, 2, last_error=error))
    drafts: list[Draft] = [
        (NEW, Created(once)),
        *attempts[0],
        (1, Retried(0)),
        *attempts[1],
        (1, Expired("max_retries")),
        (1, reopened),
        *attempts[2],
        (1, Retried(0)),
        *attempts[3],
        (1, Expired("max_retries")),
    ]
    log = memory_log()
    log.append(sealed(drafts))

    assert verify(log).findings == ()


@pytest.mark.parametrize(
    "exit_, problem",
    [
        (ProcessExit(code=1, signal="SIGKILL"), "ended by code 1 and by SIGKILL"),
        (ProcessExit(code=-9), "code is -9"),
        (ProcessExit(peak_bytes=-1), "peak_bytes is -1"),
        (ProcessExit(signal="SIGKILL", killed_after_us=-1), "killed_after_us is -1"),
        (ProcessExit(memory_bytes=-1), "memory_bytes is -1"),
    ],
)
def test_an_exit_that_no_process_has_is_found(exit_: ProcessExit, problem: str) -> None:
    """A process ends by a code or by a signal, and nothing of it is negative."""
    error = ErrorInfo("eventq.ProcessDiedError")
    for ended, findings in ((ProcessExit(signal="SIGKILL", peak_bytes=1), []), (exit_, [problem])):
        log = memory_log()
        failed: list[Draft] = [(1, Failed(2, error, None, ended)), (1, Retried(0))]
        log.append(sealed([(NEW, Created(PLAIN)), (1, Leased(1, "n", 30)), *failed]))

        assert [f.problem for f in verify(log).findings if f.rule == "exit"] == findings


def test_a_key_given_twice_is_found(tmp_path: Path) -> None:
    """Also over commits, where only an index could have prevented it."""
    second = replace(
        COMMITS[12],
        keys={"order:1": 22},
        bodies=[COMMITS[12].bodies[0], COMMITS[12].bodies[1].replace("order:22", "order:1")],
    )
    commits = resealed([*COMMITS[:12], second, *COMMITS[13:]])

    with closing(open_log(write_file(tmp_path / "log", commits))) as log:
        [finding] = verify(log).findings

    assert (finding.seq, finding.rule) == (22, "key")
    assert finding.problem == "its key is taken by task 1"


def test_no_finding_quotes_what_users_wrote(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keys, unique values and values of limits may be secret; the position leads to them."""
    held = Created(PLAIN, "c4n4ry", limits=(Bucket("smtp", "c4n4ry"),), unique="c4n4ry")
    leased: list[Draft] = [(2, Leased(1, "n", 30)), (3, Leased(1, "n", 30))]
    limited = Limited("smtp", running=1, per="to")
    commits = [
        replace(sealed([(NODE, limited), (NEW, held)]), keys={"c4n4ry": 1}),
        sealed([(NEW, replace(held, unique=None))], first=3),
        sealed(leased, first=4),
        sealed([(NEW, replace(held, limits=()))], first=6),
    ]
    url = write_file(tmp_path / "log", resealed(commits))
    with closing(open_log(url)) as log:
        monkeypatch.setattr(log, "find_keys", lambda keys: dict.fromkeys(keys, 7))
        findings = verify(log, indexes="full", limit=100).findings

    assert [each.problem for each in findings] == [
        "the commit's keys are not those that its events have",
        "its key is taken by task 2",
        "it has no rank",
        "task 3: leased without room in limit 'smtp'",
        "task 2 is open and has the unique value, too",
        "its key is taken by task 2",
        "the index of keys says 7 for its key",
    ]


@pytest.mark.parametrize(
    "head, seq",
    [
        (Head(LAST, COMMITS[-1].at, bytes(32)), LAST),
        (Head(LAST, COMMITS[-1].at + 1, COMMITS[-1].seal), LAST),
        (Head(LAST + 1, COMMITS[-1].at, COMMITS[-1].seal), LAST + 1),
    ],
)
def test_a_lying_head_is_found(
    log: MemoryLog, monkeypatch: pytest.MonkeyPatch, head: Head, seq: int
) -> None:
    """What the log says of its end must be so."""
    monkeypatch.setattr(log, "head", lambda: head)

    [finding] = verify(log).findings

    assert (finding.seq, finding.rule) == (seq, "head")


def test_what_comes_meanwhile_is_left_for_the_next_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """It verifies up to the end there was when it began, so a busy log cannot hold it up."""
    log = memory_log()
    for commit in COMMITS[:9]:
        log.append(commit)
    end = log.head()
    for commit in COMMITS[9:]:
        log.append(commit)
    monkeypatch.setattr(log, "head", lambda: end)

    verdict = verify(log, indexes="full")

    assert verdict.findings == ()
    assert (verdict.complete, verdict.seq) == (True, COMMITS[8].last)


def test_no_body_is_read_from_its_neighbours_text() -> None:
    """Three damaged texts that make three bodies when they are read together are still damaged."""
    texts = [
        '{"kind":"cancelled","reason":"a',
        'b"}',
        '{"kind":"cancelled"},{"kind":"cancelled"}',
        '{"kind":"cancelled"}',
    ]

    bodies = read_bodies(texts)

    assert [type(body) for body in bodies] == [Unreadable, Unreadable, Unreadable, Cancelled]


def test_progress_is_told(log: MemoryLog) -> None:
    """The position reached, and the last one."""
    told: list[tuple[int, int]] = []

    verify(log, progress=lambda done, end: told.append((done, end)))

    assert told == [(LAST, LAST)]


@pytest.mark.parametrize("commits", range(len(COMMITS)))
def test_it_can_begin_behind_any_commit(log: MemoryLog, commits: int) -> None:
    """From a base that is trusted it comes to the same end."""
    base = base_of(replay(log, until=COMMITS[commits].last))

    verdict = verify(log, base=base, indexes="full")

    assert verdict.findings == ()
    assert (verdict.begin, verdict.seq, verdict.open) == (base.seq, LAST, 1)
    assert verdict.seal == COMMITS[-1].seal.hex()


def test_a_made_log_is_good_from_any_base() -> None:
    """All there is in a long life: late outcomes and reopenings of what the base has forgotten."""
    log = memory_log()
    generate(log, tasks=400, seed=11, pending=20, live=60)
    ends = [commit.last for commit in log.read(after=0)][::7]

    for end in ends:
        assert verify(log, base=base_of(replay(log, until=end))).findings == ()


def test_a_base_that_does_not_fit_is_found(log: MemoryLog) -> None:
    """The chain must go on from the seal of the base."""
    first = COMMITS[0]

    [finding] = verify(log, base=VerifyBase(first.last, first.at, bytes(32))).findings[:1]

    assert (finding.seq, finding.rule) == (4, "seal")


def test_a_base_must_name_its_open_tasks(log: MemoryLog) -> None:
    """A lease of a task that was not said to be open stands out of order."""
    first = COMMITS[0]

    verdict = verify(log, base=VerifyBase(first.last, first.at, first.seal))

    assert next((finding.seq, finding.rule) for finding in verdict.findings) == (4, "order")


def made(drafts: list[Draft], _: object) -> list[Draft]:
    """What a command decides, whatever the projection."""
    return drafts


def test_a_task_is_made_like_one_that_was_there() -> None:
    """One that repeats itself, or one that is to come, has been made up."""
    with Queue("memory://") as queue:
        first = queue.new()
        for repeats in (first.number, 3, 5):
            drafts: list[Draft] = [(NEW, Created(policy=first.policy, repeats=repeats))]
            node_of(queue).execute(MadeCommand(partial(made, drafts)))

        found = verify(queue.log, limit=10).findings

    assert [(each.seq, each.rule) for each in found] == [(3, "position"), (4, "position")]


def test_a_task_is_made_in_a_trace_context_of_w3c() -> None:
    """Other text there is no eventq's."""
    good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    with Queue("memory://") as queue:
        first = queue.new()
        for trace in (good, f"{good} vendor=1", f"{good},vendor=1", "somewhere", good.upper()):
            drafts: list[Draft] = [(NEW, Created(policy=first.policy, trace=trace))]
            node_of(queue).execute(MadeCommand(partial(made, drafts)))

        found = verify(queue.log, limit=10).findings

    assert [(each.seq, each.rule) for each in found] == [(4, "trace"), (5, "trace"), (6, "trace")]
