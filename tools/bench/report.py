"""Figures of single samples, rows of many, how rows are judged and shown; nothing is measured."""

from __future__ import annotations

from statistics import median
from typing import Any

import msgspec
from msgspec import Struct
from rich.console import Console
from rich.table import Table

# How the names of measures on MongoDB begin; the others are on SQLite.
ON_MONGO = "mongo_"


class Floor(Struct, frozen=True):
    """What a figure must reach: at least, or at most, this much of its unit."""

    bound: float
    at_most: bool = False

    def reached_by(self, value: float) -> bool:
        """Whether the value is good enough."""
        return value <= self.bound if self.at_most else value >= self.bound

    def share(self, value: float) -> float:
        """How much of the bound the value reaches: 1 and more is good enough."""
        return self.bound / value if self.at_most else value / self.bound


class Figure(Struct, frozen=True):
    """One number of one sample. Without a floor it is for information."""

    measure: str
    value: float
    unit: str
    floor: Floor | None = None


class Row(Struct, kw_only=True, omit_defaults=True):
    """One figure of a measure: all its samples, judged by their median.

    ``before`` are those of the other checkout; sample for sample, taken right before or after.
    """

    name: str
    measure: str
    unit: str = ""
    floor: Floor | None = None
    samples: list[float] = []
    before: list[float] = []
    skipped: str | None = None
    """Why it was not measured."""
    failures: list[str] = []
    """Errors that must not happen; with any, the row is short whatever it measured."""

    @property
    def verdict(self) -> str:
        """``pass``, ``short``, ``skipped``, or ``info`` without a floor."""
        if self.failures:
            return "short"
        if self.skipped is not None:
            return "skipped"
        if self.floor is None:
            return "info"
        return "pass" if self.floor.reached_by(median(self.samples)) else "short"

    @property
    def ratios(self) -> list[float]:
        """Each sample over the one before it; empty without a checkout to compare with."""
        pairs = zip(self.samples, self.before, strict=False)
        return [sample / before if before else float("inf") for sample, before in pairs]


class Report(Struct, frozen=True):
    """All rows of one run, and what they were measured on."""

    machine: dict[str, str]
    rows: list[Row]

    def to_json(self) -> bytes:
        """The report as one JSON object, each row with its medians and its verdict."""
        content: dict[str, Any] = msgspec.to_builtins(self)
        for shown, row in zip(content["rows"], self.rows, strict=True):
            shown["verdict"] = row.verdict
            for name, values in (
                ("median", row.samples),
                ("median_before", row.before),
                ("ratio", row.ratios),
            ):
                if values:
                    shown[name] = median(values)
        return msgspec.json.format(msgspec.json.encode(content), indent=2)

    def show(self) -> None:
        """Prints the table, and under it why a measure was skipped or failed."""
        # A pipe has no width of its own, and a folded table is hard to read there.
        console = Console() if Console().is_terminal else Console(width=170)
        console.print("  ".join(f"{name} {value}" for name, value in self.machine.items()))
        table = Table()
        table.add_column("name")
        table.add_column("measure")
        for title in ("before", "now", "spread", "ratio", "spread", "wanted"):
            table.add_column(title, justify="right")
        table.add_column("")
        for row in self.rows:
            table.add_row(*_cells(row))
        console.print(table)
        for row in self.rows:
            for problem in (*filter(None, [row.skipped]), *row.failures):
                console.print(f"{row.name}: {problem}", markup=False)


def shown(value: float) -> str:
    """Three digits of a small number, all of a large one."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _cells(row: Row) -> list[str]:
    sign = "" if row.floor is None else "<= " if row.floor.at_most else ">= "
    style = {"pass": "[green]pass", "short": "[bold red]short"}.get(row.verdict, row.verdict)
    return [
        row.name,
        row.measure,
        _median(row.before, row.unit),
        _median(row.samples, row.unit),
        _spread(row.samples),
        _median(row.ratios),
        _spread(row.ratios),
        "" if row.floor is None else f"{sign}{shown(row.floor.bound)}",
        style,
    ]


def _median(values: list[float], unit: str = "") -> str:
    return f"{shown(median(values))} {unit}".strip() if values else ""


def _spread(values: list[float]) -> str:
    return f"{shown(min(values))} to {shown(max(values))}" if len(values) > 1 else ""
