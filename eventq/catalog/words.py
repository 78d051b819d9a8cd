"""Texts and errors that come again and again, each stored once and known by a number."""

from __future__ import annotations

from typing import Any

import apsw
import msgspec

from eventq.catalog import schema
from eventq.catalog.record import place_of
from eventq.core.values import ErrorInfo

# So many of a kind are remembered here; others are asked for.
REMEMBERED = 50_000


class Words:
    """The numbers of texts and of errors, new ones included."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self._known: dict[tuple[str, str], int] = {}
        self._errors: dict[ErrorInfo, int] = {}
        self._texts: dict[int, str] = {}
        self._sets: dict[tuple[str, int | None, str], int] = {}

    def forget(self) -> None:
        """Remembers nothing, and asks again."""
        self._known.clear()
        self._errors.clear()
        self._texts.clear()
        self._sets.clear()

    def id_of(self, kind: str, text: str) -> int:
        """The number of a text of this kind, given one if it has none."""
        known = self._known.get((kind, text))
        if known is not None:
            return known
        found = self.find(kind, text)
        if found is None:
            self._connection.execute(schema.ADD_WORD, (kind, text))
            found = self._connection.last_insert_rowid()
        if len(self._known) >= REMEMBERED:
            self._known.clear()
        self._known[kind, text] = found
        return found

    def find(self, kind: str, text: str) -> int | None:
        """The number of a text of this kind; None without one."""
        rows = rows_of(self._connection, schema.FIND_WORD, (kind, text))
        return rows[0][0] if rows else None

    def text_of(self, number: int) -> str:
        """The text that has a number."""
        known = self._texts.get(number)
        if known is None:
            if len(self._texts) >= REMEMBERED:
                self._texts.clear()
            [(text,)] = rows_of(self._connection, schema.GET_WORD, (number,))
            known = self._texts[number] = str(text)
        return known

    def with_one_more(self, kind: str, known: int | None, text: str) -> int:
        """The number of texts, each once, that are those of a number and this one."""
        found = self._sets.get((kind, known, text))
        if found is None:
            texts = [] if known is None else msgspec.json.decode(self.text_of(known))
            if text not in texts:
                texts.append(text)
            found = self.id_of(kind, msgspec.json.encode(texts).decode())
            if len(self._sets) >= REMEMBERED:
                self._sets.clear()
            self._sets[kind, known, text] = found
        return found

    def error_id(self, error: ErrorInfo, secret: int | None = None) -> int:
        """The number of an error's type, message and place together.

        Of a task with ``secret`` tags the message is left out: it may tell what they hold.
        """
        if secret is not None and error.message:
            error = ErrorInfo(error.type, "", error.traceback)
        known = self._errors.get(error)
        if known is not None:
            return known
        place = place_of(error.traceback)
        values = (error.message, self.id_of("error", error.type), place)
        rows = rows_of(self._connection, schema.FIND_ERROR, values)
        if rows:
            found: int = rows[0][0]
        else:
            self._connection.execute(schema.ADD_ERROR, values)
            found = self._connection.last_insert_rowid()
            words = (found, error.message.casefold())
            self._connection.execute(schema.ADD_ERROR_WORDS, words)
        if len(self._errors) >= REMEMBERED:
            self._errors.clear()
        self._errors[error] = found
        return found

    def error_of(self, number: int) -> tuple[str, str, str]:
        """Type, message and place of an error."""
        [row] = rows_of(self._connection, schema.GET_ERROR, (number,))
        return row[0], row[1], row[2]


def rows_of(
    connection: apsw.Connection, statement: str, values: tuple[Any, ...] = ()
) -> list[tuple[Any, ...]]:
    """All rows of a statement; who asks knows the types in them."""
    return connection.execute(statement, values).fetchall()
