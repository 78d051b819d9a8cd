"""The table of planted faults in a page of the docs, between its two marks."""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from tools.mutants.campaign import CONTROL, Result
from tools.mutants.faults import MUTANTS

BEGIN, END = "<!-- planted faults: begin -->", "<!-- planted faults: end -->"


def write_report(page: Path, results: Mapping[str, Result]) -> None:
    """Puts the table into the page in place of the one that is there."""
    text = page.read_text(encoding="utf-8")
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    page.write_text(f"{head}{BEGIN}\n{table_of(results)}{END}{tail}", encoding="utf-8")


def table_of(results: Mapping[str, Result]) -> str:
    """What was found, in Markdown: one row a fault, as they are listed."""
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    known = [results[name] for name in MUTANTS if name in results]
    found = [each for each in known if each.find is not None]
    by = Counter(each.find.hunter.split(",")[0] for each in found if each.find is not None)
    hunters = ", ".join(f"{count} by the {hunter}" for hunter, count in sorted(by.items()))
    lines = [
        f"On {today}, with Python {platform.python_version()}: {len(found)} of {len(known)} found.",
        f"{hunters[:1].upper()}{hunters[1:]}. {_control(results.get(CONTROL))}",
        "",
        "| Fault | What it breaks | Found by | As | After |",
        "|---|---|---|---|---|",
    ]
    for each in known:
        row = [f"`{each.name}`", MUTANTS[each.name].breaks]
        row += ["nothing", ""] if each.find is None else [each.find.hunter, each.find.invariant]
        lines.append(f"| {' | '.join(row)} | {each.seconds:.0f} s |")
    return "\n".join(lines) + "\n"


def _control(result: Result | None) -> str:
    if result is None:
        return "The control was left out."
    if result.find is None:
        return f"Without a fault, nothing was found in {result.seconds:.0f} s."
    return f"Without a fault, something was found: {result.find.text}."
