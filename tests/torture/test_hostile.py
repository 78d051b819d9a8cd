"""Hostile values: a part of `tools.hostile`, in which each argument and each value has its turn."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from eventq.errors import ArgumentError
from tools.hostile import TEXTS, VALUES, Api, Commands, Pages

LEAST_VALUES = 80
Matrix = Api | Commands | Pages


@pytest.fixture(params=[Api, Commands, Pages], ids=["api", "commands", "pages"])
def matrix(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Matrix]:
    """All cases of one kind, over a queue with a past; the log is verified at the end."""
    monkeypatch.chdir(tmp_path)
    made: Matrix = request.param(tmp_path)
    yield made
    made.close()


def some(matrix: Matrix) -> list[int]:
    """One case for each place, each time with the next value."""
    values = len(VALUES if isinstance(matrix, Api) else TEXTS)
    return list(range(0, len(matrix.cases), values + 1))


def test_a_hostile_value_is_refused_or_taken(matrix: Matrix) -> None:
    """An error of eventq, one line and an exit code, or an answer; never anything else."""
    numbers = some(matrix)

    outcomes: Counter[str] = sum((matrix.play(number) for number in numbers), Counter())

    assert outcomes.total() == len(numbers)
    # Most are refused, and each of them with words.
    assert len(outcomes) > 1


def test_there_are_many_values() -> None:
    """No two of them are the same text."""
    assert len(set(TEXTS.values())) == len(TEXTS) >= LEAST_VALUES
    assert len(VALUES) > len(TEXTS)


def test_an_error_of_another_kind_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the check of priorities let a raw error through, or forgot to name the argument."""
    monkeypatch.chdir(tmp_path)
    matrix = Api(tmp_path)
    number = next(
        number
        for number, (target, argument, value) in enumerate(matrix.cases)
        if (target.name, argument, value) == ("queue.new", "priority", "empty dict")
    )
    refused = matrix.play(number)
    monkeypatch.setattr(ArgumentError, "__init__", KeyError.__init__)

    with pytest.raises(AssertionError, match=r"queue.new\(priority=empty dict\)"):
        matrix.play(number)
    monkeypatch.undo()
    matrix.close()

    assert refused == Counter(["an error of eventq"])
