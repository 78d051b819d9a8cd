"""``flow``: a flow as a tree, for people and for programs."""

from __future__ import annotations

from eventq import Queue
from tests.cli.harness import Cli


def test_a_flow_is_drawn(cli: Cli) -> None:
    """As a list whose tasks are indented; finalisers are named so."""
    with Queue(cli.url) as queue:
        with queue.flow("doc") as flow:
            one = flow.new({"n": 1})
            flow.new({"n": 2}, key="two", after=one)
            flow.on_failure({"n": 3})
        queue.run(lambda _ctx, _task: None, until="idle")
    lines = cli.ok("flow", "two").splitlines()
    rows = [line.split("\t")[0] for line in lines[-3:]]

    assert lines[:3] == ["flow\t1", "key\tdoc", "tasks\t3"]
    assert lines[3:6] == ["completed\t2", "cancelled\t1", "closed\tTrue"]
    assert rows == ["1", "  two", "3 (on failure)"]


def test_a_flow_in_json(cli: Cli) -> None:
    """Each task with its fields, what it comes after, how deep it stands; as it stood, too."""
    with Queue(cli.url) as queue:
        with queue.flow("doc") as flow:
            one = flow.new({"n": 1})
            flow.new({"n": 2}, key="two", after=one)
            flow.finally_({"n": 3})
        queue.run(lambda _ctx, _task: None, until="idle")
    row, then = cli.row("flow", "doc"), cli.row("flow", "doc", "--at", "3")

    assert (row["flow"], row["key"], row["closed"], then["closed"]) == (1, "doc", True, False)
    told = [(t["key"], t["state"], t["role"], t["depth"]) for t in row["tasks"]]
    assert told == [
        ("1", "completed", "member", 0),
        ("two", "completed", "member", 1),
        ("3", "completed", "finally", 0),
    ]
    assert [t["state"] for t in then["tasks"]] == ["ready", "waiting", "waiting"]
    assert [t["took_us"] is None for t in row["tasks"]] == [False] * 3
    assert row["tasks"][1]["after"] == [{"task": 1, "verdict": None}]
    assert cli.row("flow", "2")["key"] == "doc"
    assert "doc2" in cli.one_error("flow", "doc2", code=1)
