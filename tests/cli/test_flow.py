"""``flow``: a flow as a tree, for people and for programs."""

from __future__ import annotations

import pytest

from eventq import Queue
from tests.cli.harness import Cli


@pytest.fixture
def flow(cli: Cli) -> Cli:
    """Two members, of which one comes after the other, and both finalisers; all has run."""
    with Queue(cli.url) as queue:
        with queue.flow("doc") as flow:
            one = flow.new({"n": 1})
            flow.new({"n": 2}, key="two", after=one)
            flow.on_failure({"n": 3})
            flow.finally_({"n": 4})
        queue.run(lambda _ctx, _task: None, until="idle")
    return cli


def test_a_flow_is_drawn(flow: Cli) -> None:
    """As a list whose tasks are indented; finalisers are named so."""
    lines = flow.ok("flow", "two").splitlines()
    rows = [line.split("\t")[0] for line in lines[-4:]]

    assert lines[:3] == ["flow\t1", "key\tdoc", "tasks\t4"]
    assert lines[3:6] == ["completed\t3", "cancelled\t1", "closed\tTrue"]
    assert rows == ["1", "  two", "3 (on failure)", "4 (finally)"]


def test_a_flow_in_json(flow: Cli) -> None:
    """Each task with its fields, what it comes after, how deep it stands; as it stood, too."""
    row, then = flow.row("flow", "doc"), flow.row("flow", "doc", "--at", "4")

    assert (row["flow"], row["key"], row["closed"], then["closed"]) == (1, "doc", True, False)
    told = [(t["key"], t["state"], t["role"], t["depth"]) for t in row["tasks"]]
    assert told == [
        ("1", "completed", "member", 0),
        ("two", "completed", "member", 1),
        ("3", "cancelled", "on_failure", 0),
        ("4", "completed", "finally", 0),
    ]
    assert [t["state"] for t in then["tasks"]] == ["ready", "waiting", "waiting", "waiting"]
    assert [t["took_us"] is None for t in row["tasks"]] == [False, False, True, False]
    assert row["tasks"][1]["after"] == [{"task": 1, "verdict": None}]
    assert flow.row("flow", "2")["key"] == "doc"
    assert "doc2" in flow.one_error("flow", "doc2", code=1)
