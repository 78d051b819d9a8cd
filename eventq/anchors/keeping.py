"""Keeping anchors again and again: when one is due, where it goes, and what is tried again.

It reads the head of the log and one commit, and appends nothing to it.
"""

from __future__ import annotations

import os
import re
import shlex
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from msgspec.structs import replace

from eventq.anchors.keys import AnchorKey, parse_key
from eventq.anchors.stamps import ask_stamp, check_stamp_url
from eventq.anchors.targets import AnchorTarget, CommandTarget, FileTarget, GitTarget
from eventq.core.durations import SECOND_US, Duration, parse_duration
from eventq.core.validation import check_text
from eventq.errors import AnchorError, ArgumentError, EventqError, LogError
from eventq.eventlog import EventLog
from eventq.host.bell import Bell
from eventq.host.clock import Clock, SystemClock
from eventq.host.logger import SafeLogger
from eventq.verify.anchor import Anchor, check_anchor

logger = SafeLogger("eventq.anchors")

KEY_ENV = "EVENTQ_ANCHOR_KEY"
# The log's end is looked at this often; it costs one look at its last row.
LOOK_S = 1.0
# What could not be kept or stamped is tried again after so long.
AGAIN_S = 30.0
# Anchors that wait for a place that is away. Each covers all before it, so the first may go.
MOST_WAITING = 1_000
EVENTS = re.compile(r"([1-9][0-9]{0,17}) ?events?", re.ASCII)
EVERY = "a duration of at least 1s, or a number of events, like '1h' or '10000events'"

NOT_KEPT = "an anchor could not be kept, and is tried again: %(problem)s"
NOT_STAMPED = "an anchor could not be stamped, and is tried again: %(problem)s"
NEVER_STAMPED = "an anchor stays without a time stamp: %(problem)s"
KEPT_AGAIN = "anchors are kept again: %(place)s"
LOST = "anchors could not be kept: %(place)s, %(count)d"
CONTRADICTED = "the log does not hold the last anchor, of %(seq)d: %(problem)s"
UNREADABLE = "no anchor could be made: %(problem)s"


class KeepAnchors:
    """How anchors are kept: how often, where, with which key. For `Queue` and `AnchorKeeper`."""

    def __init__(
        self,
        every: Duration = "1h",
        *,
        to_file: str | os.PathLike[str] | None = None,
        to_command: Sequence[str] | str | None = None,
        to_git: str | os.PathLike[str] | None = None,
        key_file: str | os.PathLike[str] | None = None,
        key_env: str = KEY_ENV,
        by: str = "",
        stamp_url: str | None = None,
    ) -> None:
        """Anchors ``every`` so long, or every so many events ("10000events"), if the log has grown.

        ``to_file``: a file that each is added to; ``to_command``: a program and its arguments that
        is given each on standard input (``{seq}`` and ``{namespace}`` in them are filled in; no
        shell); ``to_git``: a repository in which each is committed, and pushed where it has a
        remote. ``key_file``, else the environment variable ``key_env``: a secret, or an Ed25519
        key in PEM, that signs them. ``by``: who holds the key. ``stamp_url``: a
        time stamp server (RFC 3161). Raises ArgumentError, also without any place.
        """
        self.every_us, self.every_events = _parse_every(every)
        words = shlex.split(to_command) if isinstance(to_command, str) else to_command
        if to_command is not None and not words:
            raise ArgumentError("to_command", to_command, "a program and its arguments")
        self.command = None if words is None else tuple(words)
        self.file = None if to_file is None else Path(to_file)
        self.git = None if to_git is None else Path(to_git)
        if self.command is None and self.file is None and self.git is None:
            raise ArgumentError("to_file", None, "a place: to_file, to_command or to_git")
        self.key = find_key(key_file, key_env)
        if self.key is not None and not self.key.can_sign:
            raise ArgumentError("key_file", "a public key", "the private key, which signs")
        self.by = check_text(by, "by")
        self.stamp_url = None if stamp_url is None else check_stamp_url(stamp_url)

    def targets(self, namespace: str) -> list[AnchorTarget]:
        """The places, looked at. Raises ArgumentError where nothing could be kept at one."""
        found: list[AnchorTarget] = []
        if self.file is not None:
            found.append(FileTarget(self.file))
        if self.command is not None:
            found.append(CommandTarget(self.command))
        if self.git is not None:
            found.append(GitTarget(self.git, namespace))
        for target in found:
            target.check()
        return found

    def keeper(self, log: EventLog) -> AnchorKeeper:
        """What keeps the anchors of this log. Raises as `targets`."""
        return AnchorKeeper(log, self)


def find_key(path: str | os.PathLike[str] | None, env: str) -> AnchorKey | None:
    """The key in a file, else in an environment variable; None where neither is given.

    Raises ArgumentError where the file cannot be read, or what is there is no key.
    """
    if path is not None:
        try:
            return parse_key(Path(path).read_bytes(), str(path))
        except OSError as error:
            raise ArgumentError("key_file", f"{path}: {error.strerror}", "a file") from None
    secret = os.environ.get(env, "").encode(errors="surrogateescape")
    return parse_key(secret, env) if secret else None


class AnchorKeeper:
    """Keeps a log's anchors from `start` to `stop`, in a thread; or step by step.

    ``problems`` are the log's contradictions of what was kept before: somebody changed it.
    """

    def __init__(
        self,
        log: EventLog,
        plan: KeepAnchors,
        *,
        clock: Clock | None = None,
        on_kept: Callable[[Anchor], None] | None = None,
    ) -> None:
        """``on_kept`` is told of each anchor that all places have got at once.

        Raises as `KeepAnchors.targets`.
        """
        self.problems: list[str] = []
        self._log = log
        self._plan = plan
        self._clock = clock or SystemClock()
        self._on_kept = on_kept
        self._deliveries = [_Delivery(target) for target in plan.targets(log.namespace)]
        self._last = self._newest()
        self._due_s = self._clock.monotonic()
        self._again_s = 0.0
        self._unstamped: list[Anchor] = []
        self._stamp_problem: str | None = None
        self._bell = Bell()
        self._thread: threading.Thread | None = None
        self._is_stopping = False

    @property
    def waiting(self) -> int:
        """Anchors that some place has not got yet, or that are not stamped yet."""
        left = max(len(each.waiting) for each in self._deliveries)
        return max(left, len(self._unstamped))

    def start(self) -> None:
        """Starts the thread; the first anchor is made at once."""
        self._is_stopping = False
        self._thread = threading.Thread(target=self._work, name="eventq-anchors", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Makes a last anchor, if the log has grown, and ends; may come twice."""
        if self._thread is None:
            return
        self._is_stopping = True
        self._bell.ring()
        self._thread.join()
        self._thread = None

    def step(self) -> float:
        """Makes an anchor if one is due, tries again what failed; gives seconds until the next."""
        now_s = self._clock.monotonic()
        if self._is_due(now_s):
            self.keep()
        elif self.waiting and now_s >= self._again_s:
            self._deliver()
        return LOOK_S

    def keep(self) -> Anchor | None:
        """Makes an anchor of the log's end now and hands it on; None if there is none since."""
        try:
            head = self._log.head()
            if self._plan.every_us is not None:
                self._due_s = self._clock.monotonic() + self._plan.every_us / SECOND_US
            self._check_last()
        except LogError as error:
            logger.warning(UNREADABLE, {"problem": str(error)})
            return None
        if not head.seq or (self._last is not None and head.seq == self._last.seq):
            self._deliver()
            return None
        anchor = Anchor(self._log.namespace, head.seq, head.at, head.seal.hex(), self._plan.by)
        if self._plan.key is not None:
            anchor = self._plan.key.sign(anchor)
        self._last = anchor
        self._deliver(self._stamped(anchor))
        if self._on_kept is not None and not any(each.waiting for each in self._deliveries):
            self._on_kept(anchor)
        return anchor

    def _is_due(self, now_s: float) -> bool:
        events = self._plan.every_events
        if events is None:
            return now_s >= self._due_s
        try:
            seq = self._log.head().seq
        except LogError:
            return False
        return seq - (0 if self._last is None else self._last.seq) >= events

    def _check_last(self) -> None:
        """Whether the log still holds what was kept last: if not, somebody changed it."""
        last = self._last
        if last is None or last.seq <= self._log.start().seq:
            return
        found = check_anchor(self._log, last)
        if found is not None and found[1] not in self.problems:
            self.problems.append(found[1])
            logger.error(CONTRADICTED, {"seq": last.seq, "problem": found[1]})

    def _stamped(self, anchor: Anchor) -> Anchor:
        """The anchor with its stamp; without one for now, if the server does not answer."""
        if self._plan.stamp_url is None:
            return anchor
        try:
            stamp = ask_stamp(self._plan.stamp_url, anchor)
        except AnchorError as error:
            if error.again:
                self._unstamped = [*self._unstamped, anchor][-MOST_WAITING:]
                self._again_s = self._clock.monotonic() + AGAIN_S
            if error.problem != self._stamp_problem:
                said = NOT_STAMPED if error.again else NEVER_STAMPED
                logger.warning(said, {"problem": error.problem})
            self._stamp_problem = error.problem
            return anchor
        self._stamp_problem = None
        return replace(anchor, stamp=stamp)

    def _deliver(self, *anchors: Anchor) -> None:
        """Hands on these, and what waits; what was kept without a stamp comes again with one."""
        late = []
        if not anchors and self._unstamped:
            waiting, self._unstamped = self._unstamped, []
            for place, anchor in enumerate(waiting):
                stamped = self._stamped(anchor)
                if self._unstamped:
                    # The server would not answer the others either.
                    self._unstamped = waiting[place:]
                    break
                late += [stamped] if stamped.stamp is not None else []
        for delivery in self._deliveries:
            if not delivery.take([*late, *anchors]):
                self._again_s = self._clock.monotonic() + AGAIN_S

    def _newest(self) -> Anchor | None:
        """What was kept last by an earlier keeper of this log, where a place can tell."""
        lasts = [each.target.last() for each in self._deliveries]
        own = [each for each in lasts if each and each.namespace == self._log.namespace]
        return max(own, key=lambda anchor: anchor.seq, default=None)

    def _work(self) -> None:
        try:
            while not self._is_stopping:
                self._bell.wait(self.step())
            self.keep()
        except EventqError as error:
            logger.warning(UNREADABLE, {"problem": str(error)})
        for each in self._deliveries:
            if each.waiting:
                logger.error(LOST, {"place": each.target.name, "count": len(each.waiting)})


class _Delivery:
    """One place, and the anchors that it has not got yet."""

    def __init__(self, target: AnchorTarget) -> None:
        self.target = target
        self.waiting: list[Anchor] = []
        self._problem: str | None = None

    def take(self, anchors: Sequence[Anchor]) -> bool:
        """Adds what waits and these, in order; whether all were kept."""
        self.waiting = [*self.waiting, *anchors][-MOST_WAITING:]
        while self.waiting:
            try:
                self.target.add(self.waiting[0])
            except AnchorError as error:
                if error.problem != self._problem:
                    logger.warning(NOT_KEPT, {"problem": error.problem})
                self._problem = error.problem
                return False
            del self.waiting[0]
        if self._problem is not None:
            self._problem = None
            logger.warning(KEPT_AGAIN, {"place": self.target.name})
        return True


def _parse_every(every: Duration) -> tuple[int | None, int | None]:
    """How long, or how many events, are between two anchors."""
    if isinstance(every, str) and (found := EVENTS.fullmatch(every)):
        return None, int(found[1])
    try:
        every_us = parse_duration(every, "every")
    except ArgumentError:
        raise ArgumentError("every", every, EVERY) from None
    if every_us < SECOND_US:
        raise ArgumentError("every", every, EVERY)
    return every_us, None
