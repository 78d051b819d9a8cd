"""The log's catalog as the console asks it: kept open, one question at a time, each in its time.

Nothing here builds one, and pages say how that is done; one that is there is kept up to date.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from typing import TYPE_CHECKING, TypeVar

from eventq.catalog.place import catalog_path
from eventq.catalog.search import SOON_EVENTS
from eventq.errors import ArgumentError, CatalogError, EventqError, LogArchivedError
from eventq.eventlog.contract import EventLog
from eventq.host.logger import SafeLogger
from eventq.replay.points import Point

if TYPE_CHECKING:
    from eventq.catalog.catalog import Catalog

T = TypeVar("T")

# One question takes no longer than this: it holds up whoever else asks.
ANSWER_S = 10.0
# The time is looked at once in so many steps of SQLite.
STEPS = 50_000

NONE = "There is no catalog of this log yet."
IN_MEMORY = "A log in memory has no catalog."

logger = SafeLogger("eventq.web")


class CatalogLackingError(Exception):
    """No catalog can answer for this point; the text says why, for people."""


class SlowQuestionError(Exception):
    """A question took longer than any may."""


class KeptCatalog:
    """A log's catalog, for any number of askers. All methods may be called from any thread."""

    def __init__(self, log: EventLog, *, answer_s: float = ANSWER_S) -> None:
        self._log = log
        self._answer_s = answer_s
        self._lock = threading.Lock()
        self._catalog: Catalog | None = None
        self._inode = 0
        self._follower: threading.Thread | None = None
        self._closed = False

    def ask(self, point: Point, question: Callable[[Catalog, Point], T]) -> T:
        """The answer of the catalog, exactly as of a point.

        Raises CatalogLackingError where none reaches there, SlowQuestionError, ArgumentError.
        """
        with self._lock:
            try:
                return self._timed(self._ready(point), point, question)
            except LogArchivedError as error:
                words = f"The catalog begins behind position {error.start:,}."
                raise CatalogLackingError(words) from error
            except CatalogError as error:
                logger.warning("a catalog cannot be used", extra={"error": str(error)})
                self._give_up()
                raise CatalogLackingError(f"T{str(error)[1:]}.") from error

    def close(self) -> None:
        """Gives up what it holds; may come twice."""
        self._closed = True
        follower = self._follower
        if follower is not None:
            follower.join()
        with self._lock:
            self._give_up()

    def _ready(self, point: Point) -> Catalog:
        """The catalog, which reaches to the point."""
        catalog = self._opened()
        if catalog.seq < point.seq:
            catalog.refresh()
        if 0 < point.seq - catalog.seq <= SOON_EVENTS:
            catalog.catch_up(waits=False)
        if catalog.seq < point.seq:
            self._follow()
            raise CatalogLackingError(
                f"The catalog holds all up to position {catalog.seq:,}, and this page is as of "
                f"{point.seq:,}. It is being brought up to date."
            )
        return catalog

    def _opened(self) -> Catalog:
        try:
            path = catalog_path(self._log)
        except ArgumentError as error:
            raise CatalogLackingError(IN_MEMORY) from error
        try:
            inode = os.stat(path).st_ino  # noqa: PTH116 - plain text
        except OSError:
            self._give_up()
            raise CatalogLackingError(NONE) from None
        if self._catalog is None or inode != self._inode:
            self._give_up()
            # Imported here: who has no catalog needs no SQLite.
            from eventq.catalog.catalog import Catalog  # noqa: PLC0415

            catalog = Catalog.open(self._log, path)
            if not catalog.is_there:
                raise CatalogLackingError(
                    f"The catalog is to be built anew, since {catalog.rebuilt}."
                )
            self._catalog, self._inode = catalog, inode
        return self._catalog

    def _timed(self, catalog: Catalog, point: Point, question: Callable[[Catalog, Point], T]) -> T:
        connection = catalog.store.connection
        until_s = time.monotonic() + self._answer_s
        connection.set_progress_handler(lambda: time.monotonic() > until_s, STEPS)
        try:
            return question(catalog, point)
        except CatalogError as error:
            if time.monotonic() > until_s:
                raise SlowQuestionError from error
            raise
        finally:
            if catalog.is_there:
                # Another file's, where this one turned out to be damaged.
                catalog.store.connection.set_progress_handler(None)

    def _follow(self) -> None:
        """Begins to bring the catalog to the log's end, beside what is asked meanwhile."""
        if self._follower is not None and self._follower.is_alive():
            return
        self._follower = threading.Thread(
            target=self._catch_up, name="eventq-console-catalog", daemon=True
        )
        self._follower.start()

    def _catch_up(self) -> None:
        from eventq.catalog.catalog import Catalog  # noqa: PLC0415 - as above

        with suppress(_ClosedError):
            try:
                with closing(Catalog.open(self._log)) as catalog:
                    if catalog.is_there:
                        catalog.catch_up(self._check_open, waits=False)
            except EventqError as error:
                logger.warning("a catalog cannot be used", extra={"error": str(error)})

    def _check_open(self, _done: int, _of: int) -> None:
        if self._closed:
            raise _ClosedError

    def _give_up(self) -> None:
        if self._catalog is not None:
            self._catalog.close()
        self._catalog = None


class _ClosedError(Exception):
    """Nobody asks any more."""
