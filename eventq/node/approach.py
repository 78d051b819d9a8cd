"""How a commit comes to the end of a log behind a network: it waits for its turn, and guesses.

Nothing here decides what is appended, or reads a log but to fold it.
"""

from __future__ import annotations

import enum
from time import sleep

from eventq.core.commits import Commit
from eventq.eventlog.contract import Decide, EventLog
from eventq.node.folded_log import FoldedLog, Now
from eventq.node.turns import turn_of
from eventq.node.waiting_line import WaitingLine

# How soon to look again, in appends: for the one node that goes first, and for each one more.
LOOK_APPENDS = 1.0
LOOK_APPENDS_EACH = 1.5


class Guess(enum.Enum):
    """What a commit does with the head that the node remembers, on a log behind a network."""

    NONE = enum.auto()
    """It asks the log for its head."""
    SAVES_A_QUESTION = enum.auto()
    """It reads what the log holds behind the remembered head, and so learns the true head."""
    TRUSTED = enum.auto()
    """It decides by the remembered head, unread: a wrong one meets a conflict."""


class Approach:
    """The way of one node's commits to the end of its log."""

    def __init__(
        self, log: EventLog, line: WaitingLine, folded: FoldedLog, *, name: str, now: Now
    ) -> None:
        """``name`` is what the node leases by."""
        self._log = log
        self._line = line
        self._folded = folded
        self._name = name
        self._now = now
        # All who leased longer ago have appended: no other pacing is needed.
        self._is_in_turn = False

    def choose(self) -> Guess:
        """Waits for the node's turn, where there are turns, and says what to do with the head."""
        return self._guess(is_fresh=self._await_turn())

    def append_next(self, guess: Guess, decide: Decide) -> Commit | None:
        """Appends through the log; a guess saves asking where it ends."""
        if guess is Guess.NONE:
            return self._log.append_next(decide)
        remote, end = self._log.remote, self._folded.end
        assert remote is not None, "only a log behind a network is guessed about"
        assert end is not None, "a guess is an end that was seen"
        return remote.append_next(decide, guess=end, waits=not self._is_in_turn)

    def _await_turn(self) -> bool:
        """Folds what others append until it is this node's turn; see `turn_of`.

        Returns whether it has just read the log.
        """
        remote, folded, is_fresh = self._log.remote, self._folded, False
        self._is_in_turn = False
        leases = any(pending.command.leasing for pending in self._line.batch)
        if remote is None or not leases or folded.is_alone:
            return False
        while (projection := folded.projection) is not None:
            turn = turn_of(projection, self._name, now=self._now(), append_s=remote.append_s)
            self._is_in_turn = turn is not None and not turn.before_count
            if turn is None or not turn.pause_s:
                break
            appends = LOOK_APPENDS_EACH * (turn.before_count - 1) or LOOK_APPENDS
            sleep(min(turn.pause_s, appends * remote.append_s))
            folded.catch_up(briefly=True)
            is_fresh = True
        return is_fresh

    def _guess(self, *, is_fresh: bool) -> Guess:
        """What to do with the head that the node remembers.

        Only leases, outcomes and what needs no projection are decided by a trusted guess: they meet
        a conflict if it is wrong. For others it saves a question, since the log is read anyway.
        """
        if self._log.remote is None or self._folded.end is None:
            return Guess.NONE
        is_unconditional = self._line.is_unconditional()
        if (is_fresh or self._folded.is_alone) and (
            is_unconditional or all(each.command.leasing for each in self._line.batch)
        ):
            return Guess.TRUSTED
        if is_unconditional or self._folded.projection is None:
            return Guess.NONE
        return Guess.SAVES_A_QUESTION
