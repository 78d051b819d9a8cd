"""Anchors: a position and its seal, kept where the log's owner cannot change them.

What an anchor says is compared with a log here; who signed it, and where it is kept, is for others.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

import msgspec
from msgspec import Struct

from eventq.errors import ArgumentError, LogCorruptError, shown
from eventq.eventlog.contract import EventLog
from eventq.replay.points import Point, find_end
from eventq.verify.seals import SEAL_BYTES
from eventq.verify.terms import Report

EXPECTED = "an anchor: an object with namespace, seq, at and seal, as `anchor export` makes"
HEX_SEAL = re.compile(f"[0-9a-f]{{{2 * SEAL_BYTES}}}")


class Anchor(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a log's commit at a position was. All that is binary is hexadecimal, but the stamp."""

    namespace: str
    seq: int
    at: int
    seal: str
    by: str = ""
    """Who made it, as they said: who held the key, where it is signed."""
    hmac: str | None = None
    """HMAC-SHA256 of `signed_text`."""
    ed25519: str | None = None
    """The Ed25519 signature of `signed_text`."""
    stamp: str | None = None
    """A time stamp server's answer (RFC 3161) about `signed_text`, in base64."""


_decoder = msgspec.json.Decoder(Anchor)


def make_anchor(log: EventLog, point: Point, *, by: str = "") -> Anchor:
    """The anchor of the last commit that ends at or before the point, not signed.

    Raises ArgumentError when there is none, LogCorruptError where the log cannot be read.
    """
    end = find_end(log, point)
    if not end.seq:
        raise ArgumentError("point", point.seq, "one at which a first commit has ended")
    return Anchor(log.namespace, end.seq, end.at, end.seal.hex(), by)


def parse_anchor(text: bytes, name: str) -> Anchor:
    """An anchor from its JSON. Raises ArgumentError naming where the text is from."""
    try:
        anchor = _decoder.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ArgumentError(name, str(error), EXPECTED) from None
    if anchor.seq < 0 or not HEX_SEAL.fullmatch(anchor.seal):
        raise ArgumentError(
            name, anchor.seal, f"{EXPECTED}, with a seal of {2 * SEAL_BYTES} digits"
        )
    return anchor


def signed_text(anchor: Anchor) -> bytes:
    """What is signed and stamped: the JSON array [namespace, seq, at, seal, by]."""
    return msgspec.json.encode(
        [anchor.namespace, anchor.seq, anchor.at, anchor.seal, anchor.by],
    )


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

    def __init__(
        self,
        namespace: str,
        seq: int,
        seal: bytes,
        report: Report,
        on_held: Callable[[Anchor], None] | None = None,
    ) -> None:
        """``on_held`` is told of each anchor that the log holds."""
        self.held = 0
        self._on_held = on_held
        self._names: Mapping[Anchor, str] = {}
        self._namespace = namespace
        self._begin = seq
        self._seal = seal.hex()
        self._report = report
        self._last_held: int | None = None
        # The last one first, so that the next is taken from the end.
        self._wanted: list[Anchor] = []

    def expect(self, anchors: Sequence[Anchor], names: Mapping[Anchor, str] | None = None) -> None:
        """Takes anchors in; one of another log or from before the beginning is told at once.

        Their ``names``, such as where each is kept, are told with what is wrong.
        """
        self._names = names or {}
        for anchor in sorted(anchors, key=lambda anchor: anchor.seq):
            if anchor.namespace != self._namespace:
                problem = (
                    f"the anchor is of namespace {shown(anchor.namespace)}, "
                    f"the log of {shown(self._namespace)}"
                )
                self._tell(anchor.seq, anchor, problem)
            elif anchor.seq < self._begin:
                problem = f"it is of what came before {self._begin + 1}, which is not looked at"
                self._tell(anchor.seq, anchor, problem)
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
                self._tell(end + 1, anchor, problem)
            else:
                self._miss(anchor)

    def _compare(self, anchor: Anchor, at: int, seal: str) -> None:
        if (seal, at) == (anchor.seal, anchor.at):
            self.held += 1
            self._last_held = anchor.seq
            if self._on_held is not None:
                self._on_held(anchor)
            return
        what = "seal" if seal != anchor.seal else "instant"
        problem = f"the anchor has another {what}: something was changed{self._since()}"
        self._tell(anchor.seq, anchor, problem)

    def _miss(self, anchor: Anchor) -> None:
        problem = (
            f"no commit ends at the anchor's {anchor.seq}: something was changed{self._since()}"
        )
        self._tell(anchor.seq, anchor, problem)

    def _tell(self, seq: int, anchor: Anchor, problem: str) -> None:
        name = self._names.get(anchor)
        self._report(seq, "anchor", problem if name is None else f"{name}: {problem}")

    def _since(self) -> str:
        """Between which positions something was changed, as far as the anchors tell."""
        return " here or before" if self._last_held is None else f" behind {self._last_held}"
