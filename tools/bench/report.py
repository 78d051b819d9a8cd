"""Rows of the table, how they are judged and shown; nothing is measured here."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Any

import msgspec
from msgspec import Struct
from rich.console import Console
from rich.table import Table


class Floor(Struct, frozen=True):
    """What a measure must reach: at least, or at most, this much of its unit or of its base."""

    bound: float
    at_most: bool = False

    def reached_by(self, value: float) -> bool:
        """Whether the value is good enough."""
        return value <= self.bound if self.at_most else value >= self.bound


class Row(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One measure: medians of its samples, judged by its floor.

    With a ``base``, the floor is about ``ratio``, the measured value over the base's, and
    ``spread`` is the smallest and largest ratio; else both are about the measured value itself.
    A row without a floor is for information.
    """

    name: str
    measure: str
    measured: float
    unit: str
    spread: tuple[float, float]
    base: str | None = None
    ratio: float | None = None
    floor: Floor | None = None
    failures: list[str] = []
    """Errors that must not happen; with any, the row is short whatever it measured."""

    @property
    def verdict(self) -> str:
        """``pass``, ``short``, or ``info`` without a floor."""
        if self.failures:
            return "short"
        if self.floor is None:
            return "info"
        judged = self.measured if self.ratio is None else self.ratio
        return "pass" if self.floor.reached_by(judged) else "short"


class Report(Struct, frozen=True):
    """All rows of one run, and what they were measured on."""

    machine: dict[str, str]
    rows: list[Row]

    def to_json(self) -> str:
        """The report as one JSON object, each row with its verdict."""
        content: dict[str, Any] = msgspec.to_builtins(self)
        for shown, row in zip(content["rows"], self.rows, strict=True):
            shown["verdict"] = row.verdict
        return msgspec.json.format(msgspec.json.encode(content), indent=2).decode()

    def show(self) -> None:
        """Prints the table, and under it every error that must not happen."""
        # A pipe has no width of its own, and a folded table is hard to read there.
        console = Console() if Console().is_terminal else Console(width=140)
        console.print("  ".join(f"{name} {value}" for name, value in self.machine.items()))
        table = Table()
        table.add_column("measure")
        for title in ("measured", "floor", "ratio", "spread"):
            table.add_column(title, justify="right")
        table.add_column("")
        for row in self.rows:
            table.add_row(*_cells(row))
        console.print(table)
        for row in self.rows:
            for failure in row.failures:
                console.print(f"{row.name}: {failure}", markup=False)


def plain_row(
    name: str,
    measure: str,
    samples: Sequence[float],
    *,
    unit: str,
    floor: Floor | None = None,
    failures: Sequence[str] = (),
) -> Row:
    """A row of a measure that is judged by itself."""
    return Row(
        name=name,
        measure=measure,
        measured=median(samples),
        unit=unit,
        spread=(min(samples), max(samples)),
        floor=floor,
        failures=list(failures),
    )


def _cells(row: Row) -> list[str]:
    ratio = "" if row.ratio is None else f"{row.ratio:.3g} {row.base}"
    low, high = (_shown(value) for value in row.spread)
    style = {"pass": "[green]pass", "short": "[bold red]short", "info": "info"}[row.verdict]
    return [
        row.measure,
        f"{_shown(row.measured)} {row.unit}",
        _floor_shown(row),
        ratio,
        f"{low} to {high}",
        style,
    ]


def _floor_shown(row: Row) -> str:
    if row.floor is None:
        return ""
    sign = "<=" if row.floor.at_most else ">="
    return f"{sign} {_shown(row.floor.bound)} {row.base or row.unit}"


def _shown(value: float) -> str:
    """Three digits of a small number, all of a large one."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
