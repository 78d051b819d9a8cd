"""What a planted fault is, and how it gets into a copy of the package, which alone is changed."""

from __future__ import annotations

import ast
import shutil
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
# What hunters need of the checkout: the package, and themselves.
COPIED = ("eventq", "tools")


class NotApplicableError(Exception):
    """The source is not what a fault was written for: its old text is gone, or there twice."""


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """One fault: one text of one file replaced by another.

    ``breaks`` says what it breaks: numbers are those of the invariants in the design's list.
    """

    name: str
    breaks: str
    file: str
    """Below the package's folder."""
    old: str
    new: str


def source_of(mutant: Mutant, *, root: Path = ROOT) -> str:
    """The file's text with the fault. Raises NotApplicableError."""
    text = (root / "eventq" / mutant.file).read_text(encoding="utf-8")
    count = text.count(mutant.old)
    if count != 1:
        raise NotApplicableError(f"{mutant.name}: its old text is {count} times in {mutant.file}")
    changed = text.replace(mutant.old, mutant.new)
    try:
        ast.parse(changed)
    except SyntaxError as error:
        raise NotApplicableError(f"{mutant.name}: what it leaves is no Python: {error}") from error
    return changed


def plant(mutant: Mutant | None, folder: Path) -> None:
    """Makes a copy of the package in an empty folder, with the fault in it; None: without any."""
    for name in COPIED:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    if mutant is not None:
        (folder / "eventq" / mutant.file).write_text(source_of(mutant), encoding="utf-8")
