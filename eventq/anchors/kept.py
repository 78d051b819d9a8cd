"""Anchors where they are kept: files of one anchor a line, also in a git repository.

Here they are read; `targets.py` adds to them. A line that is none is told, and the others count.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from msgspec import Struct

from eventq.errors import AnchorError, ArgumentError
from eventq.verify.anchor import EXPECTED, Anchor, parse_anchor

# The last line of a file is looked for in so much of its end; an anchor with a stamp has 10 KB.
TAIL_BYTES = 64 * 1024
# How each line begins that `anchor keep` writes.
LINE_START = b'{"namespace":"'
GIT_S = 60.0


class FoundAnchor(Struct, frozen=True):
    """An anchor, and where it was found."""

    anchor: Anchor
    file: str
    line: int

    @property
    def place(self) -> str:
        """The file and the line, as an editor opens them."""
        return f"{self.file}:{self.line}"


class KeptAnchors(Struct, frozen=True):
    """What was found in files of anchors, and what is wrong with these."""

    found: tuple[FoundAnchor, ...] = ()
    broken: tuple[tuple[str, str], ...] = ()
    """Places and problems."""

    def plus(self, other: KeptAnchors) -> KeptAnchors:
        """Both together."""
        return KeptAnchors(self.found + other.found, self.broken + other.broken)


def read_anchors(path: Path, namespace: str) -> KeptAnchors:
    """The anchors of a file, or those that `anchor keep --to-git` keeps in a folder.

    Raises ArgumentError where there is no such file, or none of its lines is an anchor.
    """
    file = path / git_file(namespace) if path.is_dir() else path
    try:
        data = file.read_bytes()
    except OSError as error:
        if file is not path:
            raise _no_file_in(path, file.name) from None
        raise ArgumentError(str(file), error.strerror, "a file of anchors") from None
    found = []
    broken = []
    problem = ArgumentError(str(file), "an empty file", EXPECTED)
    for number, line in enumerate(data.splitlines(), 1):
        if not line.strip():
            continue
        try:
            anchor = parse_anchor(line, f"{file}:{number}")
        except ArgumentError as error:
            problem = error
            broken.append((f"{file}:{number}", f"the line is no anchor: {error.value}"))
        else:
            found.append(FoundAnchor(anchor, str(file), number))
    if not found:
        raise problem
    if path.is_dir() and (taken := taken_away(path, file)):
        broken.append((str(file), taken))
    return KeptAnchors(tuple(found), tuple(broken))


def _no_file_in(folder: Path, name: str) -> ArgumentError:
    there = ", ".join(sorted(str(each) for each in folder.glob("*.anchors"))) or "none there"
    return ArgumentError(str(folder), there, f"{name} in it, or the name of a file of anchors")


def last_anchor(path: Path) -> Anchor | None:
    """The anchor on the last line of a file; None where there is no file, or no anchor there."""
    try:
        with path.open("rb") as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(max(0, end - TAIL_BYTES))
            lines = file.read().splitlines()
        return parse_anchor(lines[-1], str(path)) if lines else None
    except (OSError, ArgumentError):
        return None


def holds_anchors(path: Path) -> bool:
    """Whether a file is empty or begins as one of anchors does, or its last line is one."""
    with path.open("rb") as file:
        head = file.read(len(LINE_START))
    return LINE_START.startswith(head) or last_anchor(path) is not None


def git_file(namespace: str) -> str:
    """The name of the file of a namespace's anchors in a git repository."""
    return f"{namespace}.anchors"


def taken_away(folder: Path, file: Path) -> str | None:
    """What the repository says of lines that were taken out of its file; None if none ever was."""
    try:
        told = git(folder, "log", "--format=commit %h", "--numstat", "--", file.name)
    except AnchorError as error:
        return f"its history cannot be read: {error.problem}"
    commit = ""
    for line in told.splitlines():
        if line.startswith("commit "):
            commit = line
        elif line.strip() and line.split("\t")[1] != "0":
            return f"lines were taken out of it in {commit}"
    if git(folder, "diff", "--numstat", "HEAD", "--", file.name):
        return "it is not what was committed last"
    return None


def git(folder: Path, *words: str) -> str:
    """What a git command answers in a folder. Raises AnchorError with what it complains of."""
    environment = {**os.environ, "GIT_TERMINAL_PROMPT": "0"}
    try:
        done = subprocess.run(  # noqa: S603 - an argument list, no shell
            ["git", "-C", str(folder), *words],  # noqa: S607 - as the user has it
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=GIT_S,
            check=True,
        )
    except subprocess.CalledProcessError as error:
        complaint = error.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        raise AnchorError(f"git {words[0]} in {folder}: {complaint}") from None
    except (OSError, subprocess.SubprocessError) as error:
        raise AnchorError(f"git {words[0]} in {folder}: {error}") from None
    return done.stdout.decode(errors="replace")
