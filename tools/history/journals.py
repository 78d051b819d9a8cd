"""What clients and workers wrote down beside the log, one JSON object a line.

A client writes a line before each call, and one when it has an answer:

- ``{"call": ID, "state": "invoked", "op": "new", "key": KEY, "tags": {...}, "clock": US}``
- ``{"call": ID, "state": "ok", "task": NUMBER, "clock": US}``, or ``"failed"``, which means that
  nothing has happened, or ``"unknown"``.

Other calls: an ``op`` of ``cancel``, ``retry``, ``update``, ``pause``, ``resume`` or ``limit`` asks
with ``by`` the call's ID (``"changed": false``: ok, though there was nothing to do); ``read`` is
answered with ``seq`` and ``seal`` (hexadecimal) of the log's end, ``wait`` with ``task`` and
``ended``, the kind of its end. ``"unique": true`` in a call of ``new`` says that others may be
given its task. ``clock`` may be left out.

A worker writes, each with its ``node`` and ``clock`` (microseconds since boot, in every process the
same):

- ``{"what": "start", "task": NUMBER, "fence": FENCE}`` before it does anything, and
  ``{"what": "end", ..., "outcome": "completed"}`` when it has done it (or ``"failed"``, ...);
- ``{"what": "called", "follower": NAME, "seq": SEQ}`` when a follower has dealt with an event;
- ``{"what": "append", "first": SEQ, "last": SEQ, "began": US}`` for a commit of its own, where
  ``clock`` is when that had returned.

Nothing here judges them; a line that a killed process has torn is left out.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Line = dict[str, Any]


@dataclass
class Call:
    """One call of a client, from its invocation to the answer, if there was one."""

    asked: Line
    answer: Line = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Its ID."""
        return str(self.asked["call"])

    @property
    def state(self) -> str:
        """ok, failed or unknown; without an answer it is unknown."""
        return str(self.answer.get("state", "unknown"))


def read_folder(folder: Path) -> list[Line]:
    """All lines of the files ``*.jsonl`` in a folder, file by file."""
    found: list[Line] = []
    for path in sorted(folder.glob("*.jsonl")):
        found += lines_of(path.read_text(encoding="utf-8").split("\n"))
    return found


def lines_of(texts: Iterable[str]) -> list[Line]:
    """The lines that are whole."""
    found: list[Line] = []
    for text in texts:
        try:
            line = json.loads(text)
        except ValueError:
            continue
        if isinstance(line, dict):
            found.append(line)
    return found


def calls_of(lines: Iterable[Line]) -> list[Call]:
    """The calls of clients' lines, in the order in which they were invoked in their files."""
    calls: dict[str, Call] = {}
    for line in lines:
        if line["state"] == "invoked":
            calls[line["call"]] = Call(line)
        elif line["call"] in calls:
            calls[line["call"]].answer = line
    return list(calls.values())
