"""The history checker: commits go in one after the other, findings come out."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Collection

from tools.history.bounds import Bounds
from tools.history.bulks import Bulks
from tools.history.chain import Chain
from tools.history.dispatch import Dispatch
from tools.history.drained import judge_drained
from tools.history.facts import Body, Event, Finding, RawCommit
from tools.history.followers import Followers
from tools.history.links import FLOW_MARK, Links
from tools.history.moves import Moves
from tools.history.nodes import Nodes
from tools.history.ready import Ready
from tools.history.retries import Retries
from tools.history.schedules import Schedules
from tools.history.world import BrokenError, World

__all__ = ["Checker", "Finding", "RawCommit"]

# What is found behind this is most likely a consequence.
MOST_FINDINGS = 100
# So far the log's time must be ahead of a clock before that goes by itself.
AHEAD_US = 60 * 1_000_000


class Checker:
    """One pass over the commits of a namespace, from the first on.

    ``newer`` are versions of eventq whose nodes know more than this checker does. ``lapse_slack``
    is the share of a lease time by which clocks may run too fast. With ``retries_by_policy``,
    workers raise no `Retry` with a delay from another error, so that waits can be told exactly.
    """

    def __init__(
        self,
        namespace: str,
        *,
        newer: Collection[str] = (),
        lapse_slack: float = 0.0,
        retries_by_policy: bool = False,
    ) -> None:
        self.findings: list[Finding] = []
        self.events: list[Event] = []
        """All events so far; that of position 1 first."""
        self.kinds: Counter[str] = Counter()
        self.world = World(self._report)
        self.chain = Chain(namespace, self._report)
        ready = Ready(self.world.tasks)
        self.nodes = Nodes(self.world, newer, lapse_slack)
        self.bounds = Bounds(self.world)
        self.links = Links(self.world, ready)
        self.schedules = Schedules(self.world)
        self.followers = Followers(self.world)
        self._dispatch = Dispatch(self.world, ready, self.nodes, self.bounds)
        self._bulks = Bulks(self.world)
        self.moves = Moves(
            self.world,
            ready=ready,
            nodes=self.nodes,
            bounds=self.bounds,
            links=self.links,
            dispatch=self._dispatch,
            retries=Retries(by_policy=retries_by_policy),
            bulks=self._bulks,
        )
        self._flow_keys: dict[str, int] = {}
        self._is_lost = False
        self._of_tasks: dict[str, Callable[[int, int, Body], None]] = {
            "created": self.moves.created,
            "leased": self.moves.leased,
            "completed": self.moves.completed,
            "failed": self.moves.failed_attempt,
            "released": self.moves.released,
            "retried": self.moves.retried,
            "expired": self.moves.expired,
            "cancelled": self.moves.cancelled,
            "updated": self.moves.updated,
            "refused": self.moves.refused,
            "progressed": self.moves.told,
            "saved": self.moves.told,
            "noted": self.moves.told,
            "revived": self.moves.revived,
        }
        self._of_queue: dict[str, Callable[[int, Body], None]] = {
            "renewed": lambda _, body: self.nodes.renew(body),
            "joined": lambda _, body: self.nodes.join(body),
            "left": lambda _, body: self.nodes.leave(body),
            "followed": self.followers.follow,
            "unfollowed": lambda _, body: self.followers.forget(body),
            "planned": lambda _, body: self.schedules.plan(body),
            "unplanned": lambda _, body: self.schedules.forget(body),
            "ticked": self.schedules.tick,
            "limited": lambda _, body: self.bounds.limit(body),
            "shared": lambda _, body: self.bounds.share(body),
            "paused": lambda _, body: self.bounds.pause(body),
            "resumed": lambda _, body: self.bounds.resume(body),
            "bulk": self._bulks.begin,
            "bulk_ended": self._bulks.end,
        }

    def add(self, commit: RawCommit, *, true_at: int | None = None) -> None:
        """Judges one commit by those before it.

        ``true_at`` is when it was really appended, in microseconds of a clock that is right; by it
        lapses are judged.
        """
        stamp = self.chain.at
        if self._is_lost or not self.chain.take(commit):
            self._is_lost = True
            return
        world, seq = self.world, commit.first - 1
        bodies = self._decoded(commit)
        world.now = self._decided_at(commit, bodies, stamp)
        # A clock that is behind the stamp before takes that for the time, up to a minute.
        is_own = commit.at > stamp or world.now < commit.at
        world.least_now = world.now if is_own else world.now - AHEAD_US
        world.last, world.true_at = seq + len(bodies), true_at
        for number, body in zip(commit.tasks, bodies, strict=True):
            seq += 1
            self.events.append(Event(seq, world.now, number, body))
            self._take(seq, number, body)
        self.moves.finish(seq)
        self.links.finish(seq)
        self.schedules.finish(seq)
        self._judge_keys(commit, bodies)

    def finish(self, *, drained_at: int | None = None) -> list[Finding]:
        """What was found, in the order of positions; at most a hundred.

        With ``drained_at`` all faults were off for long at that instant of the log's time, and
        nodes ran that handle everything: then what is still open must have a good reason.
        """
        if drained_at is not None and not self._is_lost:
            judge_drained(
                self.world, self.links, self.bounds, self.schedules, drained_at=drained_at
            )
        return self.findings

    def _take(self, seq: int, number: int, body: Body) -> None:
        try:
            self._judge(seq, number, body)
        except BrokenError as broken:
            self._report(broken.invariant, seq, broken.text)
            self.moves.lose(number)
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            self._report(4, seq, f"the body cannot be understood: {error!r}")
            self.moves.lose(number)

    def _judge(self, seq: int, number: int, body: Body) -> None:
        kind = body["kind"]
        self.kinds[kind] += 1
        self.links.pass_by(seq, kind)
        self.schedules.pass_by(seq, kind, body)
        if (of_task := self._of_tasks.get(kind)) is not None:
            task = self.world.tasks.get(number)
            if task is None or not task.is_lost:
                of_task(seq, number, body)
            else:
                self.moves.move_lost(seq, number, body)
        elif (of_queue := self._of_queue.get(kind)) is None:
            self._take_unknown(number, body)
        elif number == 0:
            of_queue(seq, body)
        else:
            raise BrokenError(4, f"{kind} names a task, {number}")

    def _take_unknown(self, number: int, body: Body) -> None:
        """Takes what a newer eventq has written, unless it says that nothing depends on it."""
        if body.get("skip") is True:
            return
        if number == 0:
            self._dispatch.is_blind = True
        self.moves.meet_lost(number)

    def _decoded(self, commit: RawCommit) -> list[Body]:
        try:
            bodies = json.loads(f"[{','.join(commit.bodies)}]")
            if len(bodies) == len(commit.bodies):
                return [body if type(body) is dict else {} for body in bodies]
        except ValueError:
            pass
        self._report(1, commit.first, "a body is not the JSON of one object")
        return [{}] * len(commit.bodies)

    def _decided_at(self, commit: RawCommit, bodies: list[Body], stamp: int) -> int:
        """The instant a commit was decided by: its stamp, but where that was ahead of the clock."""
        found = bodies[0].get("decided_at")
        for body in bodies:
            if body.get("decided_at") != found:
                self._report("clock", commit.first, "a commit decided by several instants")
                break
        if found is None:
            return commit.at
        # A stamp is ahead of a clock only since the one before it is.
        if commit.at - found <= AHEAD_US or stamp not in {0, commit.at}:
            text = f"decided {commit.at - found} us before its stamp"
            self._report("clock", commit.first, text)
        return int(found)

    def _judge_keys(self, commit: RawCommit, bodies: list[Body]) -> None:
        """The keys that a commit lists are those of its events, and nobody had them before."""
        found: dict[str, int] = {}
        for seq, body in enumerate(bodies, commit.first):
            if "key" in body and body.get("kind") == "created":
                found[body["key"]] = seq
            elif "flow_key" in body:
                key = FLOW_MARK + body["flow_key"]
                found[key] = seq
                if key in self._flow_keys:
                    self._report(10, seq, f"flow {body['flow_key']!r} was made before")
                self._flow_keys[key] = seq
        if found != commit.keys:
            self._report(10, commit.first, f"the commit lists keys {commit.keys}, not {found}")

    def _report(self, invariant: int | str, seq: int | None, text: str) -> None:
        if len(self.findings) < MOST_FINDINGS:
            self.findings.append(Finding(invariant, seq, text))
