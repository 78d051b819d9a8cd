"""Seals: every part of a commit counts, and so does all that came before."""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from eventq.core.commits import Commit
from eventq.core.seal import SEAL_BYTES, check_seal, genesis, is_sealed, seal_commit
from eventq.errors import LogCorruptError

GOLDEN = "e37a36507ef6260872de1b07fcc2102093dfef7daeb832cfd73226014329d188"
BODY = '{"kind":"renewed","worker":"w","ttl_us":1}'


def commit_of(**changes: Any) -> Commit:  # noqa: ANN401 - any field
    """A sealed commit of two events."""
    fields: dict[str, Any] = {
        "commit_id": "c1",
        "first": 1,
        "at": 5,
        "prev": genesis("a"),
        "tasks": [1, 0],
        "keys": {"k": 1},
        "bodies": [BODY, BODY],
    }
    return seal_commit(**{**fields, **changes})


def test_genesis_differs_by_namespace() -> None:
    """A chain belongs to its namespace."""
    assert genesis("a") != genesis("b")
    assert len(genesis("a")) == SEAL_BYTES


def test_seal_never_changes_by_accident() -> None:
    """A golden seal: another algorithm or layout would make every log unreadable."""
    header = '["c1",1,5,[1,0],{"k":1}]'
    text = f"{header}\n{BODY}\n{BODY}\n".encode()

    assert genesis("a") == blake2b(b"eventq:a", digest_size=32).digest()
    assert commit_of().seal == blake2b(genesis("a") + text, digest_size=32).digest()
    assert commit_of().seal.hex() == GOLDEN


@pytest.mark.parametrize(
    "change",
    [
        {"commit_id": "c2"},
        {"first": 2},
        {"at": 6},
        {"prev": genesis("b")},
        {"tasks": [0, 1]},
        {"tasks": [1, 1]},
        {"keys": {}},
        {"keys": {"k": 2}},
        {"keys": {"l": 1}},
        {"bodies": [BODY, BODY.replace("1", "2")]},
        {"bodies": [BODY]},
        {"bodies": [BODY, BODY, BODY]},
        {"bodies": [BODY + " ", BODY]},
        {"bodies": [BODY + "\\n" + BODY]},
    ],
    ids=repr,
)
def test_every_field_changes_the_seal(change: dict[str, Any]) -> None:
    """Nothing of a commit can be changed unseen."""
    assert commit_of(**change).seal != commit_of().seal


@pytest.mark.parametrize(
    "change",
    [
        {"id": "c2"},
        {"first": 2},
        {"at": 6},
        {"prev": bytes(32)},
        {"seal": bytes(32)},
        {"tasks": [1, 2]},
        {"keys": {}},
        {"bodies": [BODY, "{}"]},
    ],
    ids=repr,
)
def test_is_sealed_sees_every_change(change: dict[str, Any]) -> None:
    """A stored commit is believed only when its seal recomputes."""
    commit = commit_of()

    assert is_sealed(commit)
    assert not is_sealed(replace(commit, **change))


@given(
    one=st.lists(st.text(alphabet="ab{}\\n", max_size=4), max_size=4),
    two=st.lists(st.text(alphabet="ab{}\\n", max_size=4), max_size=4),
)
def test_equal_seals_mean_equal_bodies(one: list[str], two: list[str]) -> None:
    """Where one body ends and the next begins cannot be moved unseen."""
    seals = [commit_of(bodies=bodies, tasks=[]).seal for bodies in (one, two)]

    # No bodies and one empty body look alike; logs refuse an empty commit.
    if one and two:
        assert (seals[0] == seals[1]) == (one == two)
    assert (seals[0] == seals[1]) or one != two


def test_what_is_wrong_with_a_seal_is_told() -> None:
    """A commit of another chain, and one that was changed, by its position."""
    commit = commit_of()

    check_seal(commit, prev=genesis("a"))
    with pytest.raises(LogCorruptError, match="position 1: its seal does not follow"):
        check_seal(commit, prev=genesis("b"))
    with pytest.raises(LogCorruptError, match="position 1: its seal does not match"):
        check_seal(replace(commit, at=6), prev=genesis("a"))
