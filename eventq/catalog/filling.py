"""What brings a catalog's file to the end of its log: folds what is new, and writes it in blocks.

Whether the file belongs to the log, who calls must know; nothing here looks at that.
"""

from __future__ import annotations

from collections.abc import Callable

from eventq.catalog.fold import Fold
from eventq.catalog.store import Store
from eventq.core.commits import decode_at
from eventq.errors import LogCorruptError
from eventq.eventlog import EventLog, Head
from eventq.eventlog.contract import READ_EVENTS
from eventq.snapshot.starting import projection_at_start

# So many tasks at most are kept at hand from block to block.
AT_HAND = 200_000

Progress = Callable[[int, int], None]
"""Told how many events are done, and of how many."""


class Filling:
    """A file and the fold that goes with it; after an error it must not be used again."""

    def __init__(self, log: EventLog, store: Store, fold: Fold) -> None:
        self._log = log
        self._store = store
        self._fold = fold

    @classmethod
    def begin(cls, log: EventLog, store: Store, begin: Head) -> Filling:
        """For an empty file; it takes over what stood before the first event of the log."""
        fold = _new_fold(log, store, begin.at if begin.seq else _first_at(log, 0))
        if begin.seq:
            projection = projection_at_start(log, until=begin.seq)
            for task in projection.tasks.values():
                fold.take_over(begin.seq, task)
            fold.links.take_over(projection.tasks.values(), projection.waits, projection.flows)
        return cls(log, store, fold)

    @classmethod
    def resume(cls, log: EventLog, store: Store) -> Filling:
        """For a file that other programs, or this one, have filled so far."""
        base = int(store.about["base"]) or _first_at(log, int(store.about["seq"]))
        fold = _new_fold(log, store, base)
        store.restore_links(fold)
        return cls(log, store, fold)

    @property
    def has_base(self) -> bool:
        """Whether it knows an instant to count from; without, it was of a log without events."""
        return self._fold.base != 0

    def go_on(self, progress: Progress | None, block: int) -> None:
        """Folds and writes, so many events at a time, up to the log's present end.

        Raises LogError, LogCorruptError, and what writing raises.
        """
        store, fold = self._store, self._fold
        end = self._log.head().seq
        while int(store.about["seq"]) < end or fold.dirty:
            with store.writing():
                seq = self._write_block(progress, block, end)
            fold.forget(AT_HAND)
            if seq >= end:
                end = self._log.head().seq

    def _write_block(self, progress: Progress | None, block: int, end: int) -> int:
        """Folds and writes so many events, or what there is; returns how far it has come."""
        about = self._store.about
        seq, at, seal = int(about["seq"]), int(about["at"]), bytes(about["seal"])
        until = seq + block
        while seq < until:
            commits = self._log.read(after=seq, limit=min(block, READ_EVENTS))
            if not commits:
                break
            for commit in commits:
                if commit.prev != seal:
                    raise LogCorruptError(commit.first, "its seal does not follow the one before")
                self._fold.apply(commit, decode_at(commit.first, commit.bodies))
                seq, at, seal = commit.last, commit.at, commit.seal
            if progress is not None:
                progress(seq, max(end, seq))
        self._store.write(self._fold, {"seq": seq, "at": at, "seal": seal})
        return seq


def _new_fold(log: EventLog, store: Store, base: int) -> Fold:
    """A fold whose instants count from ``base``, as those in the file do from here on."""
    store.note({"base": base})
    return Fold(log.namespace, store.words, store.load, base)


def _first_at(log: EventLog, after: int) -> int:
    """The instant of the first commit behind a position; 0 without one."""
    commits = log.read(after=after, limit=1)
    return commits[0].at if commits else 0
