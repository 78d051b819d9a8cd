"""The events around a position, read in pieces and kept while they are looked at; never all.

Bodies that cannot be understood are shown as they are stored: judging them is the fold's business.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from eventq.core.commits import Commit, Event, Unknown, decode_at, events_of
from eventq.errors import LogCorruptError
from eventq.eventlog.contract import EventLog
from eventq.replay.fold import commits_back, commits_of

# Events of one piece, and pieces kept: enough for some pages on both sides of a screen.
PIECE_EVENTS = 1_000
PIECES_KEPT = 6

# How a body is called that is no JSON, or lacks what its kind must have.
DAMAGED = "damaged"


class Window:
    """A log's commits and events by position."""

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self._pieces: deque[dict[int, tuple[Commit, Event]]] = deque(maxlen=PIECES_KEPT)

    def find(self, seq: int) -> tuple[Commit, Event] | None:
        """The event at the position, and its commit; None behind the log's end, and at its start.

        Raises LogCorruptError where the log cannot give it, and LogArchivedError before its start.
        """
        for piece in reversed(self._pieces):
            if seq in piece:
                return piece[seq]
        commits = self._read(seq) if seq > 0 else []
        piece = {
            event.seq: (commit, event) for commit in commits for event in readable_events(commit)
        }
        if seq in piece:
            self._pieces.append(piece)
        return piece.get(seq)

    def commit(self, seq: int) -> Commit | None:
        """The commit that holds the position; as `find`."""
        found = self.find(seq)
        return found and found[0]

    def event(self, seq: int) -> Event | None:
        """The event at the position; as `find`."""
        found = self.find(seq)
        return found and found[1]

    def events(self, first: int, last: int) -> list[Event]:
        """The events from one position to another, as far as the log has and can give them."""
        found: list[Event] = []
        try:
            for seq in range(max(first, self._log.start().seq + 1), last + 1):
                event = self.event(seq)
                if event is None:
                    break
                found.append(event)
        except LogCorruptError:
            # Told by whoever steps there.
            pass
        return found

    def backward(self, seq: int) -> Iterator[Event]:
        """The events before the position, the last one first; near ones are kept."""
        near = max(1, seq - PIECE_EVENTS)
        yield from reversed(self.events(near, seq - 1))
        yield from read_backward(self._log, near)

    def _read(self, seq: int) -> list[Commit]:
        start = self._log.start().seq
        if seq == start:
            return []
        # With as many before it as behind it, since people go both ways.
        after = min(max(start, seq - 1 - PIECE_EVENTS // 2), seq - 1)
        try:
            commits = self._log.read(after=after, limit=PIECE_EVENTS)
        except LogCorruptError:
            # The damage may be a neighbour's.
            commits = self._log.read(after=seq - 1, limit=1)
        if commits and commits[-1].last < seq:
            # Commits are large here.
            commits = self._log.read(after=seq - 1, limit=1)
        return commits


def read_forward(log: EventLog, after: int) -> Iterator[Event]:
    """The events behind a position, to the present end. Raises LogCorruptError where it must."""
    for commit in commits_of(log, after=after):
        yield from (event for event in readable_events(commit) if event.seq > after)


def read_backward(log: EventLog, before: int) -> Iterator[Event]:
    """The events before a position, the last one first. Raises LogCorruptError where it must."""
    for commit in commits_back(log, until=before - 1):
        yield from (event for event in reversed(readable_events(commit)) if event.seq < before)


def readable_events(commit: Commit) -> list[Event]:
    """The commit's events; one whose body cannot be understood is an Unknown called DAMAGED."""
    try:
        return events_of(commit)
    except LogCorruptError:
        return [_readable(commit, index) for index in range(len(commit.bodies))]


def _readable(commit: Commit, index: int) -> Event:
    text = commit.bodies[index]
    try:
        [body] = decode_at(commit.first + index, [text])
    except LogCorruptError:
        body = Unknown(DAMAGED, text)
    return Event(commit.first + index, commit.at, commit.tasks[index], body)
