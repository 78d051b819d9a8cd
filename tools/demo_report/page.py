"""Runs the demo and its report as on a terminal; finds and replaces the block in the docs."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "how-to" / "find-and-report.md"
COMMAND = "$ eventq report --url sqlite:///eventq-demo.db --namespace demo"
WIDTH = 150
STYLES = re.compile(r"\x1b\[[0-9;]*m")
BLOCK = re.compile(rf"(?<=^```text\n){re.escape(COMMAND)}\n.*?(?=^```$)", re.MULTILINE | re.DOTALL)


def run_demo(files: int) -> str:
    """The command and the report of a demo of so many files, as a terminal shows it."""
    eventq = [sys.executable, "-m", "eventq"]
    with tempfile.TemporaryDirectory() as folder:
        surroundings = {
            name: value for name, value in os.environ.items() if not name.startswith("EVENTQ_")
        }
        surroundings |= {"PYTHONPATH": str(ROOT), "NO_COLOR": "1", "COLUMNS": str(WIDTH)}
        demo = [*eventq, "demo", "--limit-files", str(files), "--workers", "4", "--pace", "5ms"]
        subprocess.run(demo, cwd=folder, env=surroundings, check=True, capture_output=True)
        words = COMMAND.split()[2:]
        shown = _on_terminal([*eventq, *words], folder, surroundings)
    shown = shown.replace(f"{ROOT}/", "")
    lines = [line.rstrip() for line in STYLES.sub("", shown).splitlines()]
    return "\n".join([COMMAND, *lines, ""])


def block_of(page: str) -> str:
    """The block that the page shows, with its command."""
    found = BLOCK.search(page)
    assert found is not None, "the page shows the report of the demo"
    return found[0]


def replaced(page: str, block: str) -> str:
    """The page with this block."""
    return page.replace(block_of(page), block)


def _on_terminal(command: list[str], folder: str, surroundings: dict[str, str]) -> str:
    """What a command prints on a terminal."""
    ours, its = pty.openpty()
    try:
        process = subprocess.Popen(
            command, cwd=folder, env=surroundings, stdin=its, stdout=its, stderr=subprocess.DEVNULL
        )
        os.close(its)
        parts = []
        while part := _read(ours):
            parts.append(part)
        assert process.wait(60) == 0, command
    finally:
        os.close(ours)
    return b"".join(parts).decode().replace("\r\n", "\n")


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65_536)
    except OSError:
        # So a terminal ends, once who wrote to it has.
        return b""
