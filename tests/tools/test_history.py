"""The history checker finds nothing in what eventq makes, whatever the feature."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

import pytest

from eventq.core.commits import KINDS
from tests.driver import memory_log
from tests.stage import random_stage
from tests.tools.good_histories import STORIES
from tests.tools.histories import checked, invariants, raw_commits, sealed, told_of
from tests.tools.telling import AT_9, PLANNED, SECOND, TICKED, ago, created, said
from tools.generate import generate

TOOL = Path(__file__).parents[2] / "tools" / "history"
# What must occur in the stories of each feature, so that nothing passes for want of it.
OCCURS = {
    "retries": {"failed": 10, "retried": 9, "expired": 4},
    "outcomes": {"released": 2, "cancelled": 1, "saved": 1, "noted": 1, "created": 7},
    "lapses": {"failed": 5, "completed": 1},
    "hands": {"updated": 3, "cancelled": 1, "retried": 2, "expired": 2, "resumed": 1},
    "limits": {"limited": 4, "leased": 17},
    "turns": {"shared": 1, "leased": 32},
    "pauses": {"paused": 4, "resumed": 1, "leased": 12},
    "flows": {"cancelled": 5, "retried": 3, "revived": 1, "completed": 20},
    "uniques": {"updated": 1, "created": 5, "completed": 5},
    "schedules": {"ticked": 60, "created": 50, "planned": 6, "unplanned": 1},
    "followers": {"followed": 4, "unfollowed": 1, "expired": 3},
    "crowds": {"limited": 2, "shared": 1, "leased": 90},
    "lanes": {"joined": 2, "leased": 31, "updated": 4},
    "many": {"bulk": 9, "bulk_ended": 9, "retried": 15, "expired": 15, "updated": 4},
}


@pytest.mark.parametrize("name", STORIES)
def test_what_eventq_makes_is_good(name: str) -> None:
    """Each feature by itself, with all that is asked for of its story in it."""
    commits = STORIES[name]()

    assert checked(commits) == []
    kinds = Counter(body["kind"] for _, events in told_of(commits) for _, body in events)
    assert {kind: kinds[kind] for kind, least in OCCURS[name].items() if kinds[kind] < least} == {}


def test_all_kinds_of_events_are_in_the_stories() -> None:
    """A new kind needs a story, or nobody knows what the checker makes of it."""
    told = [each for story in STORIES.values() for each in told_of(story())]

    missing = KINDS - {body["kind"] for _, events in told for _, body in events}
    # It is of the random histories, below.
    assert missing == {"refused"}


@pytest.mark.parametrize("seed", range(12))
def test_random_histories_are_good(seed: int) -> None:
    """Ties, lapses, edits and expiries of several nodes."""
    commits = raw_commits(random_stage(seed).log)

    assert checked(commits, lapse_slack=1.0) == []


def test_long_histories_are_good() -> None:
    """A made log, in which nodes fall silent and people meddle."""
    log = memory_log()
    generate(log, tasks=2_000, seed=7, live=150)

    assert checked(raw_commits(log)) == []


def test_it_shares_nothing_with_eventq() -> None:
    """What it imports is Python's, a driver, or its own."""
    roots = set()
    for path in TOOL.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                roots |= {each.name.split(".")[0] for each in node.names}
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{path.name}: a relative import"
                roots.add(node.module or "")

    ours = {root for root in roots if root.split(".")[0] in {"eventq", "tests", "tools"}}
    assert {root for root in ours if not root.startswith("tools.history.")} == set()


def test_a_due_that_a_wrong_clock_has_passed_is_not_planned_again() -> None:
    """Ticked an hour ahead, it goes on from there when a right clock sets another timing."""
    hour = 3_600 * SECOND
    missed = {"due": 60 * SECOND, "outcome": "missed", "count": 59, "next_at": hour}
    skipped = {"due": hour, "outcome": "skipped", "next_at": 3_660 * SECOND}
    kept = {"timing": {"every_us": 45 * SECOND}, "next_at": 3_660 * SECOND, "decided_at": AT_9}
    told = [
        ago(9, said("planned", **PLANNED)),
        (hour, [said("ticked", **{**TICKED, **each}) for each in (missed, skipped)]),
        (hour, [said("planned", **{**PLANNED, **kept})]),
    ]

    assert checked(sealed(told)) == []

    # Where nothing has been ticked that far, it would begin too late.
    assert invariants(checked(sealed([told[0], (hour, [created()]), told[2]]))) == [17]
