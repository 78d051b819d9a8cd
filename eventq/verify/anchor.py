"""Anchors: a position and its seal, kept where the log's owner cannot change them.

The secret key comes in as an argument and is neither kept nor shown.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Sequence
from hashlib import sha256

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from eventq.errors import ArgumentError, LogCorruptError, shown
from eventq.eventlog.contract import EventLog
from eventq.replay.points import Point, find_end
from eventq.verify.seals import SEAL_BYTES
from eventq.verify.terms import Report

EXPECTED = "an anchor: an object with namespace, seq, at, seal and hmac, as `anchor export` makes"
HEX_SEAL = re.compile(f"[0-9a-f]{{{2 * SEAL_BYTES}}}")


class Anchor(Struct, frozen=True, forbid_unknown_fields=True):
    """What a log's commit at a position was. ``seal`` and ``hmac`` are hexadecimal."""

    namespace: str
    seq: int
    at: int
    seal: str
    hmac: str | None = None
    """HMAC-SHA256 of the other fields; None when it was made without a key."""


_decoder = msgspec.json.Decoder(Anchor)


def make_anchor(log: EventLog, point: Point, *, key: bytes | None) -> Anchor:
    """The anchor of the last commit that ends at or before the point.

    Raises ArgumentError when there is none, LogCorruptError where the log cannot be read.
    """
    end = find_end(log, point)
    if not end.seq:
        raise ArgumentError("point", point.seq, "one at which a first commit has ended")
    anchor = Anchor(log.namespace, end.seq, end.at, end.seal.hex())
    return anchor if key is None else replace(anchor, hmac=mac(anchor, key))


def parse_anchor(text: bytes, name: str) -> Anchor:
    """An anchor from its JSON. Raises ArgumentError naming where the text is from."""
    try:
        anchor = _decoder.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ArgumentError(name, str(error), EXPECTED) from None
    if anchor.seq < 0 or not HEX_SEAL.fullmatch(anchor.seal):
        raise ArgumentError(
            name, anchor.seal, f"{EXPECTED}, with a seal of {2 * SEAL_BYTES} digits"
        )
    return anchor


def mac(anchor: Anchor, key: bytes) -> str:
    """The keyed hash of the anchor: over the JSON array [namespace, seq, at, seal]."""
    text = msgspec.json.encode([anchor.namespace, anchor.seq, anchor.at, anchor.seal])
    return hmac.new(key, text, sha256).hexdigest()


def check_mac(anchor: Anchor, key: bytes | None) -> str | None:
    """What is wrong with who made the anchor; None when it was made with the key.

    Without a key nothing can be said, so an anchor that has a hash is then refused as well.
    """
    if anchor.hmac is None:
        return None if key is None else "the anchor has no hmac, so anybody may have made it"
    if key is None:
        return "the anchor has an hmac, and there is no key to check it with"
    # Compared in constant time, and as bytes, since the file may hold any text.
    if not hmac.compare_digest(mac(anchor, key).encode(), anchor.hmac.encode()):
        return "the hmac does not fit: another key made the anchor, or the anchor was changed"
    return None


def check_anchor(log: EventLog, anchor: Anchor) -> tuple[int, str] | None:
    """The position and problem where the log does not hold what the anchor says; else None.

    It looks at that one commit: `verify` proves that the seal is that of what comes before.
    """
    found: list[tuple[int, str]] = []
    start = log.start()
    watch = AnchorWatch(
        log.namespace,
        start.seq,
        start.seal,
        lambda seq, _, problem: found.append((seq, problem)),
    )
    watch.expect([anchor])
    head = log.head()
    if not found and start.seq < anchor.seq <= head.seq:
        try:
            commits = log.read(after=anchor.seq - 1, limit=1)
        except LogCorruptError as error:
            return max(error.position, 1), error.problem
        for commit in commits:
            watch.take(commit.last, commit.at, commit.seal)
    watch.finish(head.seq)
    return found[0] if found else None


class AnchorWatch:
    """Compares anchors with the commits that go by, in order."""

    def __init__(self, namespace: str, seq: int, seal: bytes, report: Report) -> None:
        self.held = 0
        self._namespace = namespace
        self._begin = seq
        self._seal = seal.hex()
        self._report = report
        self._last_held: int | None = None
        # The last one first, so that the next is taken from the end.
        self._wanted: list[Anchor] = []

    def expect(self, anchors: Sequence[Anchor]) -> None:
        """Takes anchors in; one of another log or from before the beginning is told at once."""
        for anchor in sorted(anchors, key=lambda anchor: anchor.seq):
            if anchor.namespace != self._namespace:
                problem = (
                    f"the anchor is of namespace {shown(anchor.namespace)}, "
                    f"the log of {shown(self._namespace)}"
                )
                self._report(anchor.seq, "anchor", problem)
            elif anchor.seq < self._begin:
                problem = f"it is of what came before {self._begin + 1}, which is not looked at"
                self._report(anchor.seq, "anchor", problem)
            elif anchor.seq == self._begin:
                self._compare(anchor, anchor.at, self._seal)
            else:
                self._wanted.append(anchor)
        self._wanted.sort(key=lambda anchor: -anchor.seq)

    def take(self, seq: int, at: int, seal: bytes) -> None:
        """A commit that ends at this position, with its instant and seal."""
        wanted = self._wanted
        while wanted and wanted[-1].seq <= seq:
            anchor = wanted.pop()
            if anchor.seq == seq:
                self._compare(anchor, at, seal.hex())
            else:
                self._miss(anchor)

    def finish(self, end: int) -> None:
        """Reports the anchors that no commit has answered, of a log that ends at the position."""
        for anchor in reversed(self._wanted):
            seq = anchor.seq
            if seq > end:
                problem = f"the log ends at {end}, before the anchor's {seq}: its tail was cut off"
                self._report(end + 1, "anchor", problem)
            else:
                self._miss(anchor)

    def _compare(self, anchor: Anchor, at: int, seal: str) -> None:
        if (seal, at) == (anchor.seal, anchor.at):
            self.held += 1
            self._last_held = anchor.seq
            return
        what = "seal" if seal != anchor.seal else "instant"
        problem = f"the anchor has another {what}: something was changed{self._since()}"
        self._report(anchor.seq, "anchor", problem)

    def _miss(self, anchor: Anchor) -> None:
        problem = (
            f"no commit ends at the anchor's {anchor.seq}: something was changed{self._since()}"
        )
        self._report(anchor.seq, "anchor", problem)

    def _since(self) -> str:
        """Between which positions something was changed, as far as the anchors tell."""
        return " here or before" if self._last_held is None else f" behind {self._last_held}"
