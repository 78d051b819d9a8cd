"""A disk in memory: what a record has left on it, and what a cut of the power may leave of that."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from tools.powercut.steps import (
    FolderSynced,
    Made,
    Renamed,
    Step,
    Synced,
    Truncated,
    Unlinked,
    Wrote,
)

SECTOR_BYTES = 512
# What may be left of the steps that no sync has followed: nothing; all; a beginning, the last
# sector torn; any sectors; or any sectors of a file that has its size already.
FATES = ("none", "all", "beginning", "some", "sized")
# One sector in so many is torn within.
TORN = 12

Change = Wrote | Truncated


class DiskFile:
    """One file: what is sure to be there, and what was done to it since."""

    def __init__(self) -> None:
        self.synced = bytearray()
        self.pending: list[Change] = []

    def sync(self) -> None:
        """All is on the disk."""
        for step in self.pending:
            _apply(self.synced, step)
        self.pending.clear()

    def seen(self) -> bytes:
        """What processes see, be it on the disk or not."""
        content = bytearray(self.synced)
        for step in self.pending:
            _apply(content, step)
        return bytes(content)

    def after_cut(self, chance: Random) -> bytes:
        """What may be there after a cut of the power."""
        content = bytearray(self.synced)
        fate = chance.choice(FATES)
        if fate == "all":
            kept = self.pending
        elif fate == "none":
            kept = []
        elif fate == "beginning":
            kept = list(_beginning(self.pending, chance))
        else:
            kept = list(_some(self.pending, chance))
        if fate == "sized":
            _apply(content, Truncated(0, len(self.seen())))
        for step in kept:
            _apply(content, step)
        return bytes(content)


class Disk:
    """One folder on a disk, as far as a record has come."""

    def __init__(self) -> None:
        self.told = 0
        """The last position that somebody knows of."""
        self._files: dict[int, DiskFile] = {}
        self._names: dict[str, int] = {}
        self._pending: list[Made | Renamed | Unlinked] = []

    def take(self, step: Step) -> None:
        """Takes the next step of the record."""
        if isinstance(step, Wrote | Truncated):
            self._files[step.file].pending.append(step)
        elif isinstance(step, Synced):
            self._files[step.file].sync()
        elif isinstance(step, FolderSynced):
            for change in self._pending:
                _apply_to_names(self._names, change)
            self._pending.clear()
        elif isinstance(step, Made | Renamed | Unlinked):
            if isinstance(step, Made):
                self._files[step.file] = DiskFile()
            self._pending.append(step)
        else:
            self.told = max(self.told, step.seq)

    def names(self) -> dict[str, int]:
        """The number of each file by its name, as processes see them now."""
        names = self._names.copy()
        for change in self._pending:
            _apply_to_names(names, change)
        return names

    def seen(self) -> dict[str, bytes]:
        """The files by name, as processes see them now."""
        return {name: self._files[file].seen() for name, file in self.names().items()}

    def after_cut(self, chance: Random) -> dict[str, bytes]:
        """The files by name, as they may be after a cut of the power right now."""
        names = self._names.copy()
        kept = self._pending[: chance.randint(0, len(self._pending))]
        for change in kept:
            _apply_to_names(names, change)
        return {name: self._files[file].after_cut(chance) for name, file in names.items()}


def _apply_to_names(names: dict[str, int], change: Made | Renamed | Unlinked) -> None:
    if isinstance(change, Made):
        names[change.name] = change.file
    elif isinstance(change, Unlinked):
        names.pop(change.name, None)
    elif (file := names.pop(change.name, None)) is not None:
        names[change.to] = file


def _apply(content: bytearray, step: Change) -> None:
    if isinstance(step, Truncated):
        del content[step.size :]
        content.extend(bytes(step.size - len(content)))
        return
    if len(content) < step.offset:
        content.extend(bytes(step.offset - len(content)))
    content[step.offset : step.offset + len(step.data)] = step.data


def _sectors(step: Change) -> Iterator[Change]:
    """The parts of a write that a disk writes all or nothing of, or nearly so."""
    if isinstance(step, Truncated):
        yield step
        return
    start, end = 0, len(step.data)
    while start < end:
        stop = min(end, start + SECTOR_BYTES - (step.offset + start) % SECTOR_BYTES)
        yield Wrote(step.file, step.offset + start, step.data[start:stop])
        start = stop


def _torn(step: Change, chance: Random) -> Change:
    if isinstance(step, Truncated):
        return step
    return step._replace(data=step.data[: chance.randrange(len(step.data))])


def _beginning(steps: list[Change], chance: Random) -> Iterator[Change]:
    if not steps:
        return
    last = chance.randrange(len(steps))
    yield from steps[:last]
    parts = list(_sectors(steps[last]))
    torn = chance.randrange(len(parts))
    yield from parts[:torn]
    yield _torn(parts[torn], chance)


def _some(steps: list[Change], chance: Random) -> Iterator[Change]:
    share = chance.choice((0.1, 0.5, 0.9))
    for step in steps:
        for part in _sectors(step):
            if chance.random() < share:
                yield part if chance.randrange(TORN) else _torn(part, chance)
