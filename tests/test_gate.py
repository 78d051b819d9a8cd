"""The gate, `.ci/run`: its parts hold every test once, and it names them."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parent.parent
GATE = ROOT / ".ci" / "run"


def parts() -> dict[str, list[str]]:
    """What pytest runs in each part, as the script says it."""
    script = GATE.read_text(encoding="utf-8")
    variables = dict(re.findall(r'^(\w+)="([^"]*)"$', script, re.MULTILINE))
    return {part: variables[part].split() for part in variables["parts"].split()}


def test_every_test_file_belongs_to_one_part() -> None:
    """Who runs the parts one by one runs every test once, and the doctests of the package."""
    tests = sorted((ROOT / "tests").rglob("test_*.py"))
    names = ["eventq", *(str(path.relative_to(ROOT)) for path in tests)]
    found = {
        name: [part for part, paths in parts().items() if is_in(name, paths)] for name in names
    }

    wrong = {name: owners for name, owners in found.items() if len(owners) != 1}

    assert wrong == {}, "name each in one part of .ci/run, by itself or by its folder"


def test_every_part_names_what_there_is() -> None:
    """A file that has moved takes its name in the script along."""
    gone = [path for paths in parts().values() for path in paths if not (ROOT / path).exists()]

    assert gone == []


def test_an_unknown_part_is_refused() -> None:
    """The error lists those that there are, and nothing is installed."""
    done = subprocess.run([GATE, "lnit"], capture_output=True, text=True, check=False)

    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == f"there is no part 'lnit'; the parts are: {' '.join(parts())}\n"


def is_in(name: str, paths: list[str]) -> bool:
    """Whether a file is one of the paths, or below one of them."""
    return any(name == path or name.startswith(f"{path}/") for path in paths)
