"""Fuzzing: a few hundred inputs for each decoder, and that a find would be seen."""

from __future__ import annotations

from pathlib import Path

import pytest

from eventq.core import durations
from tools.fuzz import DECODERS
from tools.fuzz.guided import drawn

RUNS = 200


@pytest.mark.parametrize("name", DECODERS)
def test_what_nobody_wrote_is_refused_by_an_error_of_eventq(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Good inputs are read; changed ones, and bytes from nothing, never raise anything else."""
    monkeypatch.chdir(tmp_path)
    decoder = DECODERS[name]
    # An empty folder has none of the logs that URLs name.
    read = sum(map(decoder.reads, decoder.seeds()))

    assert drawn(decoder, RUNS, 0) == RUNS
    assert read > 0


def test_an_error_of_another_kind_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the reader of durations refused in Python's own words."""
    monkeypatch.setattr(durations, "ArgumentError", ZeroDivisionError)

    with pytest.raises(ZeroDivisionError):
        drawn(DECODERS["duration"], RUNS, 0)
