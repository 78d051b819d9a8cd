"""Verifying a log from its commits alone: seals, positions, legal moves, leases, order, keys.

Nothing here, nor in the ``verify_`` modules beside it, uses the code that folds, moves, decides or
seals: a mistake there would hide itself. Nothing is changed, repaired or trusted unseen.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence

from msgspec import Struct

from eventq.core.commits import KIND_OF, Commit, Unknown
from eventq.core.queue_events import Followed, Joined, Planned
from eventq.errors import ArgumentError, LogCorruptError
from eventq.eventlog.contract import EventLog, Head
from eventq.verify.anchor import Anchor, AnchorWatch
from eventq.verify.bodies import ReadBody, read_bodies
from eventq.verify.bounds import BoundsBase
from eventq.verify.indexes import Indexes, IndexMode, Keys
from eventq.verify.links import SeenFlow
from eventq.verify.past import LogPast
from eventq.verify.rules import Rules
from eventq.verify.seals import SEAL_BYTES, Chain, first_seal
from eventq.verify.seen import Seen
from eventq.verify.terms import Unreadable

# The most findings that are told: who wants more has a log to restore, not to read.
MOST_FINDINGS = 1_000


# Bodies of which nothing is known.
NOT_READ = (Unknown, Unreadable)


class Finding(Struct, frozen=True):
    """One thing that is wrong: at which position, against which rule, and what."""

    seq: int
    rule: str
    """One word; the table in how-to/verify.md says what each covers."""
    problem: str


class VerifyBase(Struct, frozen=True):
    """Where to begin when the beginning is known to be good: right behind a commit.

    ``tasks`` are all that were open there, of those that can be judged; ``joined`` is what nodes
    had last said they can run; ``followed`` what was last said of followers, and when; ``planned``
    schedules, each with its next due and the last one that was ticked; ``flows`` which flows go on;
    ``bounds`` what had been said of limits, pauses and turns. See `base_of`.
    """

    seq: int
    at: int
    seal: bytes
    tasks: tuple[Seen, ...] = ()
    joined: tuple[Joined, ...] = ()
    followed: tuple[tuple[Followed, int], ...] = ()
    planned: tuple[tuple[Planned, int | None, int | None], ...] = ()
    flows: tuple[tuple[int, SeenFlow], ...] = ()
    bounds: BoundsBase = BoundsBase()


class Verdict(Struct, frozen=True):
    """What was verified, and what is wrong with it: no findings means nothing."""

    namespace: str
    begin: int
    """The position behind which verifying began: 0, or that of the base."""
    seq: int
    """The position up to which the log was verified."""
    at: int
    seal: str
    """The seal there, in hexadecimal."""
    events: int
    commits: int
    counts: dict[str, int]
    """Events by kind."""
    open: int
    """Tasks not in a final state."""
    complete: bool
    """Whether the end was reached; False when it stopped at a finding."""
    anchors: int
    """Anchors found to hold."""
    findings: tuple[Finding, ...]
    """The first position first."""

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.findings


def verify(
    log: EventLog,
    *,
    anchors: Sequence[Anchor] = (),
    base: VerifyBase | None = None,
    indexes: IndexMode = "sample",
    limit: int = 1,
    progress: Callable[[int, int], None] | None = None,
    names: Mapping[Anchor, str] | None = None,
    on_held: Callable[[Anchor], None] | None = None,
) -> Verdict:
    """Verifies the log up to its present end, and against the anchors.

    It stops behind the commit in which the number of findings reaches ``limit`` (at most 1,000).
    Kinds that are not known are a finding each, but do not stop it. The memory it takes is for the
    open tasks, 16 bytes for each caller's key, and a sample of tasks whose history and key are
    compared with what the log's indexes say; ``indexes="full"`` does that with all tasks, and
    takes 150 bytes for each. ``progress`` is called with the position reached and the last one,
    ``on_held`` with each anchor that holds; ``names`` are said of those that do not.
    Raises ArgumentError for a wrong limit, LogUnavailableError when the log cannot be read.
    """
    if not 1 <= limit <= MOST_FINDINGS:
        raise ArgumentError("limit", limit, f"from 1 to {MOST_FINDINGS} findings")
    verification = Verification(log, base=base, indexes=indexes, limit=limit, on_held=on_held)
    return verification.run(anchors, progress, names)


class Verification:
    """One pass over a log. ``on_final`` is told of each task that comes to its end."""

    def __init__(
        self,
        log: EventLog,
        *,
        base: VerifyBase | None = None,
        indexes: IndexMode = "sample",
        limit: int = 1,
        batch: int = 10_000,
        on_final: Callable[[Seen], None] | None = None,
        on_held: Callable[[Anchor], None] | None = None,
    ) -> None:
        base = base or VerifyBase(0, 0, first_seal(log.namespace))
        self.findings: list[Finding] = []
        self.counts: Counter[type] = Counter()
        self.commits = 0
        self.base = base
        self._log = log
        self._mode: IndexMode = indexes
        self._limit = limit
        self._batch = batch
        self._found = 0
        self._past = LogPast(log, trusted=base.seq)
        self.rules = Rules(self._past, self._report, on_final=on_final)
        self._chain = Chain(base.seq, base.at, base.seal, self._report)
        self._keys = Keys()
        self._anchors = AnchorWatch(log.namespace, base.seq, base.seal, self._report, on_held)
        self._lost = False
        self._over = False
        self.rules.bounds.begin(base.bounds)
        for task in base.tasks:
            self.rules.add(task, base.at)
            if task.key is not None:
                self._keys.add(task.key, task.number)
        self.rules.links.flows.update(base.flows)
        self.rules.nodes.is_partial = base.seq > 0
        for body in base.joined:
            self.rules.nodes.join(body)
        self.rules.followers.is_partial = base.seq > 0
        for followed, at in base.followed:
            self.rules.followers.add(followed, at)
        for planned, next_at, last_due in base.planned:
            self.rules.schedules.add(planned, next_at, last_due)

    def run(
        self,
        anchors: Sequence[Anchor],
        progress: Callable[[int, int], None] | None = None,
        names: Mapping[Anchor, str] | None = None,
    ) -> Verdict:
        """The whole of it, once."""
        head = self._head()
        indexes = Indexes(self._log, self._mode, begin=self.base.seq, end=head)
        self._anchors.expect(anchors, names)
        for commits in self._read(head.seq):
            self._take_all(commits, indexes)
            if self._over or self._enough():
                break
            self.rules.tidy()
            indexes.tidy(self._report)
            if progress is not None:
                progress(self._chain.seq, head.seq)
        # A key is told last, but where it was given twice may come before all the rest.
        self._keys.finish(self._past, self._report)
        complete = self._chain.seq == head.seq and not self._lost
        if complete or not self.findings:
            self._check_end(head)
            self._anchors.finish(head.seq)
        if complete and not self._enough():
            indexes.finish(self._report, enough=self._enough)
        return self._verdict(complete=complete)

    def _head(self) -> Head:
        """Where the log ends, or right before where it can no longer be read."""
        try:
            return self._log.head()
        except LogCorruptError as error:
            self._lose(max(error.position, 1), "unreadable", error.problem)
            return Head(max(error.position - 1, 0), 0, bytes(SEAL_BYTES))

    def _read(self, end: int) -> Iterator[list[Commit]]:
        """The commits up to the end, many at a time; where that fails, one by one up to there."""
        limit = self._batch
        while self._chain.seq < end:
            after = self._chain.seq
            try:
                commits = self._log.read(after=after, limit=limit)
            except LogCorruptError as error:
                if limit > 1:
                    limit = 1
                    continue
                self._lose(max(error.position, after + 1), "unreadable", error.problem)
                return
            if not commits:
                return
            # What was appended since the head was read is left for the next time.
            yield [commit for commit in commits if commit.first <= end]

    def _take_all(self, commits: list[Commit], indexes: Indexes) -> None:
        """Verifies commits in order, until there are enough findings or the chain is lost."""
        bodies = read_bodies([body for commit in commits for body in commit.bodies])
        begin = 0
        for commit in commits:
            end = begin + len(commit.bodies)
            if not self._chain.take(commit):
                self._lost = self._over = True
                break
            self._take(commit, bodies[begin:end])
            indexes.take(commit)
            begin = end
            if self._enough():
                break
        self.counts.update(map(type, bodies[:begin]))

    def _take(self, commit: Commit, bodies: list[ReadBody]) -> None:
        self.commits += 1
        self._anchors.take(commit.last, commit.at, commit.seal)
        rules = self.rules
        rules.take(commit.first, commit.at, commit.tasks, bodies)
        keyed = rules.keyed
        if keyed or commit.keys:
            # Their order is sealed, too. A kind that is not known may have brought one.
            told = [
                (key, seq)
                for key, seq in commit.keys.items()
                if not commit.first <= seq <= commit.last
                or type(bodies[seq - commit.first]) not in NOT_READ
            ]
            if keyed != told:
                problem = "the commit's keys are not those that its events have"
                self._report(commit.first, "key", problem)
            for key, seq in keyed:
                self._keys.add(key, seq)
            keyed.clear()

    def _check_end(self, head: Head) -> None:
        """Whether what the log says of its end is so."""
        chain = self._chain
        if chain.seq != head.seq:
            problem = f"the log ends at {chain.seq}, but says that it ends at {head.seq}"
            self._report(min(chain.seq, head.seq) + 1, "head", problem)
        elif chain.seal != head.seal:
            self._report(head.seq, "head", "the head has another seal than the last commit")
        elif chain.at != head.at:
            self._report(head.seq, "head", "the head has another instant than the last commit")
        stray = self._log.find_stray()
        if stray is not None:
            self._report(stray, "position", "something is stored here, outside of all commits")

    def _enough(self) -> bool:
        return self._found >= self._limit

    def _lose(self, seq: int, rule: str, problem: str) -> None:
        if not (self._lost and self.findings[-1].seq == seq):
            self._report(seq, rule, problem)
        self._lost = True

    def _report(self, seq: int, rule: str, problem: str) -> None:
        # Bounded also within one commit; the last places are not for the first position.
        if len(self.findings) < MOST_FINDINGS:
            self.findings.append(Finding(seq, rule, problem))
        # A kind of a newer eventq is reported, but does not end the verification.
        self._found += rule != "unknown"

    def _verdict(self, *, complete: bool) -> Verdict:
        chain = self._chain
        counts = {KIND_OF[kind]: count for kind, count in self.counts.items() if kind in KIND_OF}
        counts |= self.rules.unknown
        return Verdict(
            namespace=self._log.namespace,
            begin=self.base.seq,
            seq=chain.seq,
            at=chain.at,
            seal=chain.seal.hex(),
            events=chain.seq - self.base.seq,
            commits=self.commits,
            counts=dict(sorted(counts.items())),
            open=len(self.rules.tasks),
            complete=complete,
            anchors=self._anchors.held,
            findings=tuple(sorted(self.findings, key=lambda finding: finding.seq)),
        )
