"""Where anchors are kept: each target only ever adds, and says what went wrong.

A target that fails has kept nothing, or all that it was given; it is given the same again.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import msgspec

from eventq.anchors.kept import git, git_file, holds_anchors, last_anchor
from eventq.errors import AnchorError, ArgumentError
from eventq.verify.anchor import Anchor

COMMAND_S = 60.0
# What a git repository without an author of its own is told.
AUTHOR = ("-c", "user.name=eventq", "-c", "user.email=eventq@localhost")


class AnchorTarget(Protocol):
    """A place that anchors are added to."""

    name: str

    def check(self) -> None:
        """Raises ArgumentError where nothing could be kept here."""

    def add(self, anchor: Anchor) -> None:
        """Keeps the anchor; durable when this returns. Raises AnchorError where it cannot."""

    def last(self) -> Anchor | None:
        """What was added last, where that can be told."""


class FileTarget:
    """A file of one anchor a line."""

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        self._path = path

    def check(self) -> None:
        """See AnchorTarget."""
        is_there = self._path.exists()
        place = self._path if is_there else self._path.parent
        if self._path.is_dir() or not place.exists() or not os.access(place, os.W_OK):
            raise ArgumentError("to_file", self.name, "a file that can be written to")
        if is_there and self._path.is_file() and not holds_anchors(self._path):
            raise ArgumentError("to_file", self.name, "a file of anchors, an empty one, or none")

    def add(self, anchor: Anchor) -> None:
        """See AnchorTarget: one write at the end, then synced."""
        line = anchor_line(anchor)
        try:
            place = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
            try:
                end = os.lseek(place, 0, os.SEEK_END)
                # What broke off in the middle of a line must not swallow this one.
                torn = end > 0 and os.pread(place, 1, end - 1) != b"\n"
                os.write(place, b"\n" + line if torn else line)
                os.fsync(place)
            finally:
                os.close(place)
        except OSError as error:
            raise AnchorError(f"{self.name}: {error.strerror}") from error

    def last(self) -> Anchor | None:
        """See AnchorTarget."""
        return last_anchor(self._path)


class CommandTarget:
    """A program that is given the anchor, one line, on its standard input."""

    def __init__(self, words: Sequence[str]) -> None:
        self.name = words[0]
        self._words = tuple(words)

    def check(self) -> None:
        """See AnchorTarget: whether the program is there, it says when it is called."""

    def add(self, anchor: Anchor) -> None:
        """See AnchorTarget: the program has kept it when it ends with 0."""
        values = {"{seq}": str(anchor.seq), "{namespace}": anchor.namespace}
        words = list(self._words)
        for name, value in values.items():
            words = [word.replace(name, value) for word in words]
        try:
            subprocess.run(  # noqa: S603 - an argument list, no shell
                words,
                input=anchor_line(anchor),
                capture_output=True,
                timeout=COMMAND_S,
                check=True,
            )
        except subprocess.CalledProcessError as error:
            complaint = error.stderr.decode(errors="replace").strip().rpartition("\n")[2]
            problem = f"{self.name} ended with {error.returncode}: {complaint or 'no words'}"
            raise AnchorError(problem) from None
        except (OSError, subprocess.SubprocessError) as error:
            raise AnchorError(f"{self.name}: {error}") from None

    def last(self) -> Anchor | None:
        """See AnchorTarget: nobody knows."""
        return None


class GitTarget:
    """A git repository with a file of anchors: each is a commit, pushed where there is a remote."""

    def __init__(self, folder: Path, namespace: str) -> None:
        self.name = str(folder)
        self._folder = folder
        self._path = folder / git_file(namespace)
        self._file = FileTarget(self._path)

    def check(self) -> None:
        """See AnchorTarget."""
        try:
            git(self._folder, "rev-parse", "--git-dir")
        except AnchorError as error:
            expected = f"a git repository ({error.problem})"
            raise ArgumentError("to_git", self.name, expected) from None
        self._file.check()

    def add(self, anchor: Anchor) -> None:
        """See AnchorTarget: what was not pushed is pushed when it is given again."""
        if self._file.last() != anchor:
            self._file.add(anchor)
        name = self._path.name
        git(self._folder, "add", "--", name)
        if git(self._folder, "status", "--porcelain", "--", name):
            author = () if self._has_author() else AUTHOR
            words = f"anchor: {anchor.namespace} {anchor.seq}"
            git(self._folder, *author, "commit", "--quiet", "--message", words, "--", name)
        remotes = git(self._folder, "remote").split()
        if remotes:
            git(self._folder, "push", "--quiet", remotes[0], "HEAD")

    def last(self) -> Anchor | None:
        """See AnchorTarget."""
        return self._file.last()

    def _has_author(self) -> bool:
        try:
            git(self._folder, "config", "user.email")
        except AnchorError:
            return False
        return True


def anchor_line(anchor: Anchor) -> bytes:
    """The anchor as one line of JSON."""
    return msgspec.json.encode(anchor) + b"\n"
