"""Durations: everything that is one is read exactly, everything else is refused by name."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventq.core.durations import LONGEST_US, UNITS_US, parse_duration, show_duration
from eventq.errors import ArgumentError, shown


@given(st.integers(0, LONGEST_US))
def test_shown_text_reads_back(duration_us: int) -> None:
    """What is shown means exactly the same duration."""
    text = show_duration(duration_us)

    assert parse_duration(text) == duration_us


@given(st.integers(0, LONGEST_US))
def test_timedelta_is_exact(duration_us: int) -> None:
    """A timedelta keeps every microsecond, whatever its length."""
    assert parse_duration(timedelta(microseconds=duration_us)) == duration_us


@given(st.integers(0, LONGEST_US // 1_000_000))
def test_whole_numbers_are_seconds(seconds: int) -> None:
    """An int and the equal float are seconds."""
    assert parse_duration(seconds) == seconds * 1_000_000
    assert parse_duration(float(seconds)) == seconds * 1_000_000


@given(st.lists(st.integers(0, 100), min_size=6, max_size=6))
def test_parts_add_up(counts: list[int]) -> None:
    """Parts from the largest unit to the smallest are added."""
    text = "".join(f"{n}{unit}" for n, unit in zip(counts, UNITS_US, strict=True))

    assert parse_duration(text) == sum(
        n * size for n, size in zip(counts, UNITS_US.values(), strict=True)
    )


@pytest.mark.parametrize(
    "value, duration_us",
    [
        ("0s", 0),
        ("7d", 604_800_000_000),
        ("2h30m", 9_000_000_000),
        ("90s", 90_000_000),
        ("500ms", 500_000),
        ("250us", 250),
        ("1.5h", 5_400_000_000),
        ("0.5ms", 500),
        ("1h0.25s", 3_600_250_000),
        (0, 0),
        (0.0, 0),
        (-0.0, 0),
        (0.0000014, 1),
        (1.5, 1_500_000),
        (timedelta(hours=1), 3_600_000_000),
        ("36525d", LONGEST_US),
        (LONGEST_US // 1_000_000, LONGEST_US),
    ],
)
def test_good_values(value: object, duration_us: int) -> None:
    """These are durations."""
    assert parse_duration(value) == duration_us


@pytest.mark.parametrize(
    "value",
    [
        "",
        " ",
        "5",
        "s",
        "5 s",
        " 5s",
        "5s ",
        "5s\n",
        "5S",
        "5sec",
        "5w",
        "-5s",
        "+5s",
        "1e3s",
        ".5s",
        "5.s",
        "1_000s",
        "5s5s",
        "5s1h",
        "1ms1s",
        "\u0665s",
        "1,5s",
        "infs",
        "nan",
        "\ud800",
        "9" * 10_000 + "s",
        "8" * 10_000 + ".5s",
        "36525d1us",
        True,
        False,
        None,
        b"5s",
        [],
        {},
        1j,
        float("nan"),
        float("inf"),
        float("-inf"),
        -1,
        -0.5,
        -0.0000001,
        10**30,
        -(10**30),
        10**5_000,
        1e300,
        LONGEST_US / 1_000_000 + 1,
        timedelta(microseconds=-1),
        timedelta.max,
        timedelta.min,
    ],
    ids=shown,
)
def test_bad_values_are_refused_by_name(value: object) -> None:
    """Anything else is refused, with the argument's name and the value kept."""
    with pytest.raises(ArgumentError) as caught:
        parse_duration(value, "deadline")

    assert caught.value.argument == "deadline"
    assert caught.value.value is value
    assert str(caught.value).startswith("deadline: expected a")


@given(st.text(alphabet="0123456789.dhmsu ", max_size=12) | st.text(max_size=8))
def test_any_text_is_read_or_refused(text: str) -> None:
    """No text raises another error or gives a duration out of range."""
    try:
        duration_us = parse_duration(text)
    except ArgumentError:
        duration_us = 0

    assert 0 <= duration_us <= LONGEST_US


@pytest.mark.parametrize(
    "duration_us, text", [(0, "0s"), (-1_500_000, "-1s500ms"), (86_400_000_001, "1d1us")]
)
def test_show(duration_us: int, text: str) -> None:
    """The text is the shortest exact one; a negative difference shows its sign."""
    assert show_duration(duration_us) == text
