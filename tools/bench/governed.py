"""What limits and turns cost: beside many full buckets, by many buckets, among many tenants."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from statistics import median

from msgspec import Raw

from eventq import Queue, TaskSpec
from eventq.core.command import NEW, NO_PAST, Draft
from eventq.core.commits import Commit
from eventq.core.events import Completed, Created, Leased
from eventq.core.places import Vacancy
from eventq.core.projection import Projection
from eventq.core.queue_events import Limited
from eventq.core.settle import Outcome, SettleAndLease
from eventq.core.values import Bucket, Policy
from tools.bench.bench import Bench, held_against, in_turns
from tools.bench.report import Figure, Floor
from tools.bench.work import no_op

POLICY = Policy("linear", 1)
SEAL = b"1" * 32
LISTS = 10_000
TENANTS = 100

Buckets = tuple[Bucket, ...]


def parked(bench: Bench) -> Iterator[Figure]:
    """One lease, and the end of the one before, in the pure core."""
    count = bench.pick(1_000_000, 10_000)
    nothing = _projection(1_000, lambda _: ())
    beside = _projection(count, lambda n: () if n % 100 == 0 else (Bucket("one"),))
    _lease_one(beside)
    # In turns: on a busy machine, one after the other are two machines.
    rounds = bench.pick(20, 1)
    alone, ours = in_turns(lambda: _step_us(nothing, 20), lambda: _step_us(beside, 20), rounds)
    yield Figure("lease beside nothing", median(alone), "us")
    measure = f"lease beside {count:,} tasks behind a full bucket"
    ratio = held_against(alone, ours)
    yield Figure(measure, ratio, "of one beside nothing", Floor(1.2, at_most=True))
    shared = _projection(2 * LISTS, lambda n: (Bucket("one"), Bucket("each", str(n % LISTS))))
    _steps(shared, 1)
    measure = f"lease and release among {LISTS:,} lists that share a bucket"
    yield Figure(measure, _step_us(shared) / 1_000, "ms", Floor(2, at_most=True))


def first(bench: Bench) -> Iterator[Figure]:
    """The first decision after loading 100,000 buckets of which all but ten are full."""
    count = bench.pick(100_000, 1_000)
    full = _projection(2 * count, lambda n: (Bucket("each", str(n % count)),))
    numbers = list(full.tasks)[: count - 10]
    for start in range(0, len(numbers), 1_000):
        _apply(full, [(n, Leased(1, "other", 30)) for n in numbers[start : start + 1_000]])
    began_s = time.perf_counter()
    full.rebuild_indexes()
    yield Figure(f"loading {count:,} buckets", time.perf_counter() - began_s, "s")
    [first_s] = _steps(full, 1)
    measure = f"the first decision beside {count - 10:,} full buckets"
    yield Figure(measure, 1_000 * first_s, "ms", Floor(5, at_most=True))
    yield Figure(f"each further one beside {count - 10:,}", _step_us(full, 5), "us")


def limited_drain(bench: Bench) -> Iterator[Figure]:
    """No-op tasks of 10,000 buckets, against tasks that are not leased ahead for another reason."""
    count = bench.pick(20_000, 1_000)
    plain, limited = [], []
    for _ in range(bench.pick(3, 1)):
        plain.append(_drain(bench, count, TaskSpec({"host": "1"}, max_retries=0)))
        specs = [TaskSpec({"host": str(n % LISTS)}, limits=["one"]) for n in range(count)]
        limited.append(_drain(bench, count, *specs))
    yield Figure("drain of tasks that are not leased ahead", median(plain), "tasks/s")
    measure = f"drain by {min(LISTS, count):,} buckets"
    yield Figure(measure, median(limited) / median(plain), "of that", Floor(0.5))


def tenants(bench: Bench) -> Iterator[Figure]:
    """100 tenants, one with 100 times the backlog, while all of them have work."""
    each = bench.pick(20, 2)
    served: list[str] = []
    with Queue("memory://", workers=2) as queue:
        queue.fair(per="tenant")
        queue.new_many([{"tenant": "huge"}] * (each * TENANTS))
        queue.new_many([{"tenant": str(n)} for n in range(1, TENANTS) for _ in range(each)])
        queue.run(lambda _, task: served.append(task.tags["tenant"]), until="idle")
        leased = [event.task for event in queue.events() if event.kind == "leased"]
        made = {e.task: e.body.tags for e in queue.events() if isinstance(e.body, Created)}
    turns = Counter(bytes(made[number]) for number in leased[: each * TENANTS])
    furthest = max(abs(count / each - 1) for count in turns.values())
    measure = "tenants: furthest from its share"
    yield Figure(measure, 100 * furthest, "% off the mean", Floor(10, at_most=True))


def _drain(bench: Bench, count: int, *specs: TaskSpec) -> float:
    path = bench.path()
    with Queue(f"sqlite:///{path}", workers=4) as queue:
        queue.limit("one", running=1, per="host")
        queue.new_many(specs if len(specs) == count else specs * count)
        queue.stats()
        began_s = time.perf_counter()
        report = queue.run(no_op, until="idle")
        took_s = time.perf_counter() - began_s
    assert report.completed == count, "every task is completed once"
    path.unlink()
    return count / took_s


def _projection(count: int, buckets_of: Callable[[int], Buckets]) -> Projection:
    projection = Projection("default")
    limits = [Limited(limit="one", running=1), Limited(limit="each", running=1, per="x")]
    _apply(projection, [(0, body) for body in limits])
    projection.suspend_indexes()
    for first in range(0, count, 1_000):
        bodies = [
            Created(POLICY, tags=Raw(b'{"x":"1"}'), limits=buckets_of(number))
            for number in range(first, min(count, first + 1_000))
        ]
        _apply(projection, [(NEW, body) for body in bodies])
    projection.rebuild_indexes()
    return projection


def _apply(projection: Projection, drafts: list[Draft]) -> int:
    first = projection.seq + 1
    tasks = [seq if number == NEW else number for seq, (number, _) in enumerate(drafts, first)]
    bodies = [body for _, body in drafts]
    # The texts are not read where the bodies are given.
    commit = Commit("bench", first, 1_000, projection.seal, SEAL, tasks, {}, [""] * len(bodies))
    projection.apply(commit, bodies=list(bodies))
    return first


def _lease_one(projection: Projection) -> None:
    """Another node takes the place in the bucket."""
    number = next(n for n, task in projection.tasks.items() if task.buckets)
    _apply(projection, [(number, Leased(1, "other", 30))])


def _steps(projection: Projection, count: int) -> list[float]:
    times: list[float] = []
    held: list[tuple[int, int]] = []
    for _ in range(count):
        began_s = time.perf_counter()
        ended = [Outcome(number, fence, "completed") for number, fence in held]
        command = SettleAndLease("bench", ended, 30, Vacancy(1))
        drafts = command.decide(projection, NO_PAST, 2_000).events
        first = _apply(projection, drafts)
        times.append(time.perf_counter() - began_s)
        leased = enumerate(drafts, first)
        held = [(number, seq) for seq, (number, body) in leased if type(body) is Leased]
    # What is still held ends with the next one's lease.
    _apply(projection, [(number, Completed(fence)) for number, fence in held])
    return times


def _step_us(projection: Projection, count: int = 200) -> float:
    return median(_steps(projection, count)) * 1_000_000
