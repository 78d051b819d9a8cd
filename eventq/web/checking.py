"""Verifying the log in the background, for the page of integrity: one at a time, with progress."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime

from msgspec import Struct

from eventq.core.task import instant
from eventq.errors import EventqError
from eventq.eventlog.contract import EventLog
from eventq.host.logger import SafeLogger
from eventq.verify.base import base_at_start
from eventq.verify.verifier import MOST_FINDINGS, Finding, Verdict, verify

logger = SafeLogger("eventq.web")


class StoppedError(Exception):
    """The console closes."""


class Check(Struct, frozen=True):
    """How the last verification stands."""

    by: str
    began_at: datetime
    done: int
    until: int
    runs: bool
    ok: bool | None
    """None while it runs, or where it could not be made."""
    begin: int
    seq: int
    seal: str
    findings: list[Finding]
    problem: str | None

    @property
    def share(self) -> int:
        """In per cent."""
        return min(100, 100 * self.done // self.until) if self.until else 0


class Checking:
    """Verifies a log when it is asked to. May be used from any thread."""

    def __init__(self, log: EventLog, *, now: Callable[[], int]) -> None:
        self._log = log
        self._now = now
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closed = False
        self._last: Check | None = None

    @property
    def last(self) -> Check | None:
        """The verification that runs, or the last one; None before the first."""
        return self._last

    def start(self, by: str) -> bool:
        """Begins one, unless one runs; returns whether it did."""
        with self._lock:
            if self._closed or (self._last is not None and self._last.runs):
                return False
            self._last = _check(by, self._now(), runs=True)
            self._thread = threading.Thread(
                target=self._run, args=(self._last,), name="eventq-console-verify", daemon=True
            )
            self._thread.start()
        return True

    def close(self) -> None:
        """Ends it, and waits until it has ended; may come twice."""
        self._closed = True
        thread = self._thread
        if thread is not None:
            thread.join()

    def _run(self, check: Check) -> None:
        began_at = int(check.began_at.timestamp() * 1_000_000)

        def tell(done: int, until: int) -> None:
            if self._closed:
                raise StoppedError
            self._last = _check(check.by, began_at, runs=True, done=done, until=until)

        try:
            base = base_at_start(self._log)
            verdict = verify(self._log, base=base, limit=MOST_FINDINGS, progress=tell)
            self._last = _check(check.by, began_at, runs=False, verdict=verdict)
        except StoppedError:
            return
        except EventqError as error:
            self._last = _check(check.by, began_at, runs=False, problem=str(error))
        except Exception as error:
            logger.exception("verifying failed", extra={"error": str(error)})
            problem = "it could not be verified; the console's log says why"
            self._last = _check(check.by, began_at, runs=False, problem=problem)


def _check(
    by: str,
    began_at: int,
    *,
    runs: bool,
    done: int = 0,
    until: int = 0,
    verdict: Verdict | None = None,
    problem: str | None = None,
) -> Check:
    return Check(
        by=by,
        began_at=instant(began_at),
        done=done,
        until=until,
        runs=runs,
        ok=None if verdict is None else verdict.ok,
        begin=0 if verdict is None else verdict.begin,
        seq=0 if verdict is None else verdict.seq,
        seal="" if verdict is None else verdict.seal,
        findings=[] if verdict is None else list(verdict.findings),
        problem=problem,
    )
