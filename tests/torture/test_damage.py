"""Damaged files: a short part of `tools.damage`, and that it would see what must not be."""

from __future__ import annotations

import struct
from collections import Counter

import pytest

from eventq.replay import fold
from eventq.snapshot import codec
from tools.damage import KINDS, Scene, play
from tools.rounds import Rounds

# Two flips and a cut of each kind make a turn.
TURN = 3 * len(KINDS)
TURNS = 4


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    """The log in all its forms, whole."""
    return Scene(tmp_path_factory.mktemp("scene"))


def of_kind(kind: str, turns: int) -> list[int]:
    """The rounds that harm this kind, in so many turns."""
    place = 3 * KINDS.index(kind)
    return [turn * TURN + place + step for turn in range(turns) for step in range(3)]


@pytest.mark.parametrize("kind", KINDS)
def test_a_harmed_file_is_whole_a_beginning_or_refused(scene: Scene, kind: str) -> None:
    """Each harm ends with words of eventq's own, and never with another log."""
    outcomes = Counter(play(scene, number) for number in of_kind(kind, TURNS))

    assert outcomes.total() == 3 * TURNS
    assert {outcome.split(": ")[0] for outcome in outcomes} == {f"{kind}, flip", f"{kind}, cut"}


def test_another_log_is_seen(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """If nobody asked for seals, a changed line would fold to another log."""
    monkeypatch.setattr(fold, "check_seal", lambda *_, **__: None)

    with pytest.raises(AssertionError, match=r"lines: log.jsonl has .* another log folds"):
        Counter(play(scene, number) for number in of_kind("lines", 40))


def test_an_error_of_another_kind_is_seen(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if what unpacks a snapshot let its own errors through; the campaign goes on and tells."""
    monkeypatch.setattr(codec, "SnapshotError", struct.error)
    first = of_kind("snapshot", 1)[0]
    rounds = Rounds("Damage", lambda number: Counter([play(scene, first + number)]))

    failed = rounds.run(2)

    assert failed == [0, 1]
