"""Anchors: what they say, who can have made them, and what they show of a log."""

from __future__ import annotations

import json

import pytest
from msgspec.structs import replace

from eventq.errors import ArgumentError
from eventq.eventlog.memory import MemoryLog
from eventq.replay import Point
from eventq.verify import check_anchor, make_anchor, parse_anchor, verify
from tests.driver import memory_log
from tests.verify.tampering import COMMITS, LAST, append_all


@pytest.fixture
def log() -> MemoryLog:
    """The story, in memory."""
    log = memory_log()
    append_all(log)
    return log


@pytest.mark.parametrize("seq, end", [(LAST, 24), (23, 23), (22, 22), (21, 20), (14, 14), (5, 5)])
def test_an_anchor_is_of_the_last_commit_before_a_point(log: MemoryLog, seq: int, end: int) -> None:
    """A commit has one seal, so a point inside of it gets the anchor before."""
    anchor = make_anchor(log, Point(seq, 0))

    [commit] = [commit for commit in COMMITS if commit.last == end]
    assert (anchor.namespace, anchor.seq, anchor.at) == ("default", end, commit.at)
    assert (anchor.seal, anchor.hmac) == (commit.seal.hex(), None)


@pytest.mark.parametrize("seq", [0, 1, 2])
def test_there_is_no_anchor_before_the_first_commit_ends(log: MemoryLog, seq: int) -> None:
    """What nothing has sealed cannot be kept."""
    with pytest.raises(ArgumentError, match="point"):
        make_anchor(log, Point(seq, 0))


@pytest.mark.parametrize("seq", [commit.last for commit in COMMITS])
def test_a_log_holds_its_anchors(log: MemoryLog, seq: int) -> None:
    """At the end of each commit."""
    anchor = make_anchor(log, Point(seq, 0))

    assert check_anchor(log, anchor) is None
    assert verify(log, anchors=[anchor]).anchors == 1


def test_what_an_anchor_shows(log: MemoryLog) -> None:
    """Another seal, another instant, another log, a position in a commit, one behind the end."""
    anchor = make_anchor(log, Point(17, 0))
    wrong = {
        replace(anchor, seal="00" * 32): (17, "another seal"),
        replace(anchor, at=1): (17, "another instant"),
        replace(anchor, namespace="x"): (17, "of namespace 'x', the log of 'default'"),
        replace(anchor, seq=16): (16, "no commit ends at the anchor's 16"),
        replace(anchor, seq=99): (25, "the log ends at 24, before the anchor's 99"),
        replace(anchor, seq=0): (0, "another seal"),
    }

    for other, (seq, problem) in wrong.items():
        found = check_anchor(log, other)
        assert found is not None
        assert found[0] == seq
        assert problem in found[1]
        [finding] = verify(log, anchors=[other]).findings
        assert (finding.seq, finding.rule) == (seq, "anchor")
        assert problem in finding.problem


def test_an_anchor_is_read_back(log: MemoryLog) -> None:
    """From the JSON it is kept as."""
    anchor = make_anchor(log, Point(LAST, 0), by="ada")
    text = json.dumps({name: getattr(anchor, name) for name in anchor.__struct_fields__})

    assert parse_anchor(text.encode(), "a.json") == anchor


GOOD = {"namespace": "default", "seq": 3, "at": 1, "seal": "0f" * 32}
BAD = [
    b"",
    b"null",
    b"[]",
    b"{}",
    b"\xff",
    json.dumps({**GOOD, "seq": -1}).encode(),
    json.dumps({**GOOD, "seq": "3"}).encode(),
    json.dumps({**GOOD, "seal": "0f"}).encode(),
    json.dumps({**GOOD, "seal": "zz" * 32}).encode(),
    json.dumps({**GOOD, "more": 1}).encode(),
]


@pytest.mark.parametrize("text", BAD, ids=[repr(text[:60]) for text in BAD])
def test_what_is_no_anchor_is_refused(text: bytes) -> None:
    """The error names the file."""
    with pytest.raises(ArgumentError, match=r"^a\.json: expected an anchor"):
        parse_anchor(text, "a.json")
