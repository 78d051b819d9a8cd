"""The file of a catalog: made, opened, filled, and errors made ours.

It may be lost at any time. One that is filled from nothing gets its name once it is whole.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import apsw

from eventq.catalog import schema
from eventq.catalog.checksums import add_checksums, connect, is_damage, lacks_checksums
from eventq.catalog.fold import Fold
from eventq.catalog.life import Life, life_of
from eventq.catalog.minutes import decode_counts, encode_counts
from eventq.catalog.words import Words, rows_of
from eventq.errors import CatalogError, CatalogTooNewError
from eventq.eventlog.durable import sync_directory
from eventq.eventlog.file_lock import FILE_MODE

Values = Sequence[Any] | Mapping[str, Any]
# How long to wait for another process that writes a block.
BUSY_TIMEOUT_MS = 10_000
# So much of the file is kept in memory while it is filled, in KiB; and while it is asked.
FILLING_CACHE, ASKING_CACHE = 200_000, 32_000
# The most that SQLite can hold; tests make a disk full by less.
MAX_PAGES = 4_294_967_294
# Files that belong to a catalog beside its own.
BESIDE = ("-wal", "-shm", "-journal", "-lock")


class StaleError(CatalogError):
    """This file is no catalog that can be used, whatever the problem: it is to be made anew."""


class Store:
    """An open catalog file. One thread at a time."""

    def __init__(self, path: str, connection: apsw.Connection) -> None:
        self.path = path
        self.named = path
        """The path in errors: of one that is not finished, what it is to be."""
        self.connection = connection
        self.words = Words(connection)
        self.about: dict[str, Any] = {}

    @classmethod
    def open(cls, path: str) -> Store:
        """The catalog at a path. Raises StaleError, CatalogTooNewError and CatalogError."""
        with translated(path):
            try:
                connection = connect(path)
                store = cls(path, connection)
                try:
                    store._check()
                except BaseException:
                    connection.close()
                    raise
            except apsw.CantOpenError:
                raise StaleError(path, "there is none") from None
            except apsw.SQLError as error:
                raise StaleError(path, f"it is damaged: {error}") from error
        return store

    @classmethod
    def make(cls, path: str, about: dict[str, Any]) -> Store:
        """A new, empty one, under a name that nobody opens; `finish` gives it its own."""
        unfinished = f"{path}.unfinished-{secrets.token_hex(8)}"
        with translated(path):
            try:
                flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
                os.close(os.open(unfinished, flags, FILE_MODE))
            except OSError as error:
                raise CatalogError(path, error.strerror or str(error)) from error
            connection = connect(unfinished)
            store = cls(unfinished, connection)
            store.named = path
            try:
                add_checksums(connection)
                for pragma in (
                    "journal_mode = OFF",
                    "synchronous = OFF",
                    "locking_mode = EXCLUSIVE",
                    "temp_store = MEMORY",
                    f"cache_size = -{FILLING_CACHE}",
                    f"application_id = {schema.APPLICATION_ID}",
                    f"user_version = {schema.VERSION}",
                ):
                    connection.execute(f"PRAGMA {pragma}")
                connection.execute(f"PRAGMA max_page_count = {MAX_PAGES}")
                connection.execute(f"BEGIN;{schema.TABLES}COMMIT;")
                store.note(about)
            except BaseException:
                store.discard()
                raise
        return store

    def finish(self, path: str) -> None:
        """Gives a new one its indexes and its name, and opens it for others to ask, too."""
        with translated(path):
            try:
                self.connection.execute(f"BEGIN;{schema.INDEXES}COMMIT;")
                self.connection.execute("PRAGMA analysis_limit = 1000")
                self.connection.execute("ANALYZE")
                self.connection.close()
                with open(self.path, "rb+") as file:  # noqa: PTH123 - a path of text all the way
                    os.fsync(file.fileno())
                for end in BESIDE[:-1]:
                    # Of the one before: they would be taken for the new one's.
                    Path(f"{path}{end}").unlink(missing_ok=True)
                Path(self.path).rename(path)
                sync_directory(Path(path).parent)
            except OSError as error:
                raise CatalogError(path, error.strerror or str(error)) from error
        self.path = path
        self.connection = connect(path)
        self.words = Words(self.connection)
        with translated(path):
            self._settle()

    def discard(self) -> None:
        """Gives up one that was not finished."""
        with suppress(apsw.Error):
            self.connection.close()
        delete(self.path)

    def close(self) -> None:
        """Gives up what it holds; may be called twice."""
        with suppress(apsw.Error):
            self.connection.close()

    def rows(self, statement: str, values: Values = ()) -> list[tuple[Any, ...]]:
        """All rows of a statement. Raises CatalogError and StaleError."""
        with translated(self.named):
            return self.connection.execute(statement, values).fetchall()

    def refresh(self) -> None:
        """Reads again how far the catalog has come: another process may have gone on."""
        self.about = dict(self.rows(schema.GET_ABOUT))

    def note(self, about: dict[str, Any]) -> None:
        """Keeps what is to be known of the catalog as a whole."""
        with translated(self.named):
            self.connection.executemany(schema.PUT_ABOUT, list(about.items()))
        self.about.update(about)

    def load(self, number: int) -> Life | None:
        """A task that is stored; None for another."""
        rows = self.connection.execute(schema.LOAD_TASK, (number,)).fetchall()
        return life_of(number, rows[0]) if rows else None

    def restore_links(self, fold: Fold) -> None:
        """Hands a new fold what is still waited for."""
        fold.links.restore(
            self.rows("SELECT number, link FROM links"), self.rows("SELECT number, flow FROM flows")
        )

    @contextmanager
    def writing(self) -> Iterator[None]:
        """One transaction for what a block's fold writes on its way, and for its rows."""
        with translated(self.named):
            self.connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self.connection.execute("COMMIT")
            except BaseException:
                with suppress(apsw.Error):
                    self.connection.execute("ROLLBACK")
                # Numbers that it has given to words are taken back.
                self.words.forget()
                raise

    def write(self, fold: Fold, about: dict[str, Any]) -> None:
        """Writes all that the fold has, and how far it has come; while `writing`."""
        self._write_tasks(fold)
        self._write_links(fold)
        self._write_minutes(fold)
        about = about | ({"odd": 1} if fold.is_odd else {})
        self.connection.executemany(schema.PUT_ABOUT, list(about.items()))
        self.about.update(about)

    def _write_tasks(self, fold: Fold) -> None:
        new: list[Life] = []
        changed: list[Life] = []
        for life in fold.dirty:
            (changed if life.is_stored else new).append(life)
            life.is_stored, life.is_dirty = True, False
        many = self.connection.executemany
        many(schema.ADD_TASK, [life.new_row() for life in new])
        many(schema.CHANGE_TASK, [life.changed_row() for life in changed])
        for statement, rows in (
            (schema.ADD_PAST, fold.past),
            (schema.ADD_TAGS, fold.tags),
            (schema.ADD_TAG_EDIT, fold.tag_edits),
            (schema.ADD_TAG_WORDS, fold.tag_words),
            (schema.ADD_CHANGE, fold.changes),
        ):
            many(statement, rows)
            rows.clear()
        fold.dirty.clear()

    def _write_links(self, fold: Fold) -> None:
        links, flows = fold.links.rows()
        for rows, put, drop in (
            (links, schema.PUT_LINK, schema.DROP_LINK),
            (flows, schema.PUT_FLOW, schema.DROP_FLOW),
        ):
            self.connection.executemany(put, [row for row in rows if row[1] is not None])
            self.connection.executemany(drop, [(n,) for n, data in rows if data is None])

    def _write_minutes(self, fold: Fold) -> None:
        rows = []
        for (minute, name), counts in fold.minutes.items():
            known = rows_of(self.connection, schema.GET_MINUTE, (minute, name))
            if known:
                counts.add(decode_counts(known[0][0]))
            rows.append((minute, name, encode_counts(counts)))
        self.connection.executemany(schema.PUT_MINUTE, rows)
        self.connection.executemany(schema.PUT_MOMENT, list(fold.moments.items()))
        fold.moments.clear()
        fold.minutes.clear()

    def _check(self) -> None:
        """Raises what `open` must unless this is a catalog of this version."""
        self.connection.set_busy_timeout(BUSY_TIMEOUT_MS)
        [(application_id,)] = rows_of(self.connection, "PRAGMA application_id")
        [(version,)] = rows_of(self.connection, "PRAGMA user_version")
        if application_id != schema.APPLICATION_ID:
            raise StaleError(self.path, "it is no catalog")
        if version > schema.VERSION:
            raise CatalogTooNewError(self.path)
        if version < schema.VERSION:
            raise StaleError(self.path, "it is of an older eventq")
        if lacks_checksums(self.connection):
            raise StaleError(self.path, "it is damaged: its pages have no checksums")
        self._settle()

    def _settle(self) -> None:
        self.connection.set_busy_timeout(BUSY_TIMEOUT_MS)
        self.connection.execute("PRAGMA journal_mode = WAL")
        self.connection.execute("PRAGMA synchronous = NORMAL")
        self.connection.execute(f"PRAGMA cache_size = -{ASKING_CACHE}")
        self.about = dict(rows_of(self.connection, schema.GET_ABOUT))


def discard(path: str) -> None:
    """Deletes a file that is no use, but not the lock that this process may hold."""
    with suppress(OSError):
        for end in ("", *BESIDE[:-1]):
            Path(f"{path}{end}").unlink(missing_ok=True)


def delete(path: str) -> bool:
    """Deletes a catalog and what belongs to it; returns whether there was one."""
    was_there = os.path.lexists(path)
    for name in (path, *(f"{path}{end}" for end in BESIDE)):
        try:
            Path(name).unlink(missing_ok=True)
        except OSError as error:
            raise CatalogError(path, error.strerror or str(error)) from error
    return was_there


@contextmanager
def translated(path: str) -> Iterator[None]:
    """Turns what the driver raises into what this room raises: nothing of it is the log's."""
    try:
        yield
    except apsw.Error as error:
        if is_damage(error):
            raise StaleError(path, f"it is damaged: {error}") from error
        raise CatalogError(path, str(error)) from error
