"""Whatever is changed by somebody who computes all seals anew is found by a rule or by an anchor.

The seals are right then. What breaks a rule is named at its event; for the rest there are anchors.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from eventq.core.commits import Commit
from eventq.verify import Anchor
from tests.verify.tampering import (
    COMMITS,
    EACH_FIELD,
    LAST,
    WRITERS,
    Path_,
    body_at,
    changed,
    commit_of,
    leaves,
    resealed,
    verdict_of,
    with_body,
    write_sqlite,
)

# One at the end of each commit, as somebody keeps who exports one after each.
ANCHORS = [Anchor("default", commit.last, commit.at, commit.seal.hex()) for commit in COMMITS]

# Fields whose change breaks a rule in this log, and the position at which it must show: its own,
# or that of the event that no longer fits. All other fields say nothing that another repeats.
SEEN_AT = {
    (1, "key"): 1,
    (1, "scheduled_at"): 4,
    (2, "policy.backoff"): 19,
    (2, "policy.backoff_us"): 19,
    (2, "policy.backoff_cap_us"): 19,
    (2, "policy.jitter"): 19,
    (2, "policy.max_retries"): 17,
    (2, "policy.max_age_us"): 19,
    (2, "policy.deadline_us"): 19,
    (2, "key"): 1,
    (2, "tags.n"): 19,
    (3, "key"): 1,
    (6, "fence"): 6,
    (7, "fence"): 7,
    (8, "scheduled_at"): 14,
    (12, "fence"): 12,
    (15, "fence"): 15,
    (16, "fence"): 16,
    (16, "error.type"): 19,
    (16, "error.message"): 19,
    (16, "error.traceback"): 19,
    (17, "kind"): 19,
    (18, "fence"): 18,
    (22, "key"): 21,
    (23, "reason"): 23,
    # An attempt is counted, and what reopens is told twice; but neither its instant nor by whom.
    **{(seq, "attempt"): seq for seq in (4, 5, 10, 13, 14, 24)},
    **{
        (19, ".".join(path)): 19
        for path in leaves(body_at(19))
        if path[0] == "reopens" and path != ("reopens", "priority")
    },
    # Another kind is not known or cannot be read, unless it looks like one.
    **{(seq, "kind"): seq for seq in range(1, LAST + 1) if seq not in {17, 23}},
}


@pytest.mark.parametrize("store", WRITERS)
@EACH_FIELD
def test_a_changed_field_is_found_though_the_seals_are_right(
    tmp_path: Path, store: str, seq: int, path: Path_
) -> None:
    """By a rule at the position in the table, or else by the next anchor."""
    commits = resealed(with_body(COMMITS, seq, changed(body_at(seq), path)))
    url = WRITERS[store](tmp_path / "log", commits)

    alone, anchored = verdict_of(url), verdict_of(url, *ANCHORS)

    assert all(finding.rule != "seal" for finding in alone.findings)
    seen_at = SEEN_AT.get((seq, ".".join(path)))
    assert [finding.seq for finding in alone.findings[:1]] == ([seen_at] if seen_at else [])
    commit = COMMITS[commit_of(seq)]
    named = [finding for finding in anchored.findings if finding.rule == "anchor"]
    assert named[0].seq == commit.last
    before = "here or before" if commit.first == 1 else f"behind {commit.first - 1}"
    assert named[0].problem.endswith(before)


Change = Callable[[list[Commit]], list[Commit]]


def edited(index: int, **fields: object) -> Change:
    """A change of a commit's own fields."""
    return lambda commits: [
        *commits[:index],
        replace(commits[index], **fields),
        *commits[index + 1 :],
    ]


def turned(index: int) -> Change:
    """The events of a commit the other way round."""

    def change(commits: list[Commit]) -> list[Commit]:
        commit = commits[index]
        return edited(index, tasks=commit.tasks[::-1], bodies=commit.bodies[::-1])(commits)

    return change


def cut_out(seq: int) -> Change:
    """An event taken out; positions, tasks and keys behind it move up, fences stay as they are."""

    def moved(number: int) -> int:
        return number - (number > seq)

    def change(commits: list[Commit]) -> list[Commit]:
        made = []
        for commit in commits:
            kept = [
                (moved(task), body)
                for at, (task, body) in enumerate(
                    zip(commit.tasks, commit.bodies, strict=True), commit.first
                )
                if at != seq
            ]
            keys = {key: moved(at) for key, at in commit.keys.items() if at != seq}
            tasks, bodies = [task for task, _ in kept], [body for _, body in kept]
            if kept:
                made.append(replace(commit, tasks=tasks, bodies=bodies, keys=keys))
        return made

    return change


def traded(one: int, other: int) -> Change:
    """The bodies of two events in each other's place."""
    first, second = body_at(one), body_at(other)
    return lambda commits: with_body(with_body(commits, one, second), other, first)


# What is done, the position a rule names (None where no rule can see it), and the commit it is in.
CHANGES: list[tuple[str, Change, int | None, int]] = [
    ("id", edited(3, id="other"), None, 3),
    ("at", edited(3, at=1_201), None, 3),
    ("at-back", edited(3, at=1_099), 7, 3),
    ("task", edited(2, tasks=[2]), 6, 2),
    ("task-unborn", edited(2, tasks=[9]), 6, 2),
    ("task-none", edited(2, tasks=[0]), 6, 2),
    ("task-of-created", edited(0, tasks=[1, 3, 3]), 2, 0),
    ("keys", edited(0, keys={"order:1": 1, "order:2": 2}), 1, 0),
    ("keys-more", edited(2, keys={"mine": 6}), 6, 2),
    ("reordered-failure", turned(3), 7, 3),
    ("reordered-leases", turned(1), 4, 1),
    ("traded-leases", traded(13, 14), 13, 7),
    ("traded-payloads", traded(2, 22), 1, 0),
    ("traded-errors", traded(7, 16), 7, 3),
    ("without-created", cut_out(1), 4, 0),
    ("without-leased", cut_out(4), 4, 1),
    ("without-retried", cut_out(8), 7, 3),
    ("without-completed", cut_out(6), 11, 2),
    ("without-refused", cut_out(18), None, 9),
    ("without-cancelled", cut_out(20), 23, 11),
    ("without-last", cut_out(24), None, 14),
]


@pytest.mark.parametrize(
    "what, change, seen_at, index", CHANGES, ids=[what for what, *_ in CHANGES]
)
def test_a_changed_commit_is_found_though_the_seals_are_right(
    tmp_path: Path, what: str, change: Change, seen_at: int | None, index: int
) -> None:
    """Order, holes, and what a commit says beside its bodies."""
    url = write_sqlite(tmp_path / "log.db", resealed(change(COMMITS)))

    alone, anchored = verdict_of(url), verdict_of(url, *ANCHORS)

    assert all(finding.rule != "seal" for finding in alone.findings), what
    assert [finding.seq for finding in alone.findings[:1]] == ([seen_at] if seen_at else [])
    assert anchored.findings[0].seq <= COMMITS[index].last
    assert not anchored.ok


def test_an_anchor_before_the_change_still_holds(tmp_path: Path) -> None:
    """Anchors say between which positions something was changed."""
    url = write_sqlite(tmp_path / "log.db", resealed(edited(7, id="other")(COMMITS)))

    verdict = verdict_of(url, ANCHORS[2], ANCHORS[4], ANCHORS[10])

    [finding] = verdict.findings
    assert (finding.seq, verdict.anchors) == (ANCHORS[10].seq, 2)
    assert finding.problem.endswith(f"behind {ANCHORS[4].seq}")
