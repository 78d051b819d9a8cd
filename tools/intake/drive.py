"""Plays the intake of documents: processes that are killed, a pause by hand, a page that is mended.

It judges by the log and by the rows that were written, never by what processes say.
"""

from __future__ import annotations

import sqlite3
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from itertools import pairwise
from pathlib import Path

from msgspec import Struct

from eventq import Queue, Task
from eventq.audit import why
from eventq.core.events import Failed
from eventq.core.queue_events import Ticked
from eventq.core.values import LAPSED
from eventq.replay.points import find_point
from eventq.verify import verify
from tools.intake.moments import Moment, moments
from tools.intake.processes import Processes

PROGRAM = "tools.intake.pipeline"
SCHEDULE = "sweep"
RUNNING = 2
# How many pages of the big tenant there are for one of the small one.
TIMES = 10
CRASHING, BROKEN = "a-crash.txt", "b-broken.txt"
# Work that has not ended so long after the last due never will.
REST_S = 120.0
POLL_S = 0.1


class Plan(Struct, frozen=True, kw_only=True):
    """How much is played, and for how long. Times in seconds."""

    seconds: float = 300
    kill_every: float = 30
    processes: int = 3
    pages: int = 30
    """Of the small tenant."""
    every: str | None = None
    """Between two sweeps; None: by the cron of each minute."""
    ocr_ms: int = 250


class Answer(Struct, frozen=True):
    """What `why` said of a moment."""

    moment: Moment
    verdict: str


class Played(Struct, frozen=True):
    """What came of it."""

    kills: int
    events: int
    tasks: int
    attempts: int
    lapsed: int
    refused: int
    dues: Counter[str]
    """How many there were, by what became of them."""
    flows: int
    rows: int
    rows_twice: int
    answers: list[Answer]


def play(url: str, folder: Path, plan: Plan) -> Played:
    """Plays it on an empty log. Raises AssertionError where anything is not as it must be."""
    fill(folder, plan)
    environment = {"EVENTQ_URL": url, "INTAKE_FOLDER": str(folder)}
    environment |= {"INTAKE_OCR_MS": str(plan.ocr_ms), "INTAKE_EVERY": plan.every or ""}
    with Queue(url) as queue, Processes(PROGRAM, environment, count=plan.processes) as processes:
        go_on(queue, processes, plan)
        queue.schedules[SCHEDULE].pause(by="ada", reason="the day is over")
        wait_until(lambda: queue.stats().open == 0, "all tasks to end")
        mend(queue, folder)
        processes.stop()
        return judge(queue, folder, plan, kills=processes.kills)


def fill(folder: Path, plan: Plan) -> None:
    """Writes the pages of both tenants, one on which a process dies, and one that nobody reads."""
    for tenant, count in (("big", plan.pages * TIMES), ("small", plan.pages)):
        (folder / tenant).mkdir(parents=True)
        for number in range(count):
            text = "total 12" if number % 2 else "dear sir"
            (folder / tenant / f"page-{number:04}.txt").write_text(text, encoding="ascii")
    (folder / "big" / CRASHING).write_text("dear sir", encoding="ascii")
    (folder / "small" / BROKEN).write_bytes(b"\x89PNG")


def go_on(queue: Queue, processes: Processes, plan: Plan) -> None:
    """Kills one process after the other, and pauses the lane for a tenth of the time."""
    wait_until(lambda: queue.stats().waiting > 0, "the first flow")
    steps: list[tuple[float, Callable[[], object]]] = [
        (plan.seconds * 0.5, lambda: queue.pause(lane="heavy", by="ada", reason="scanner is hot")),
        (plan.seconds * 0.6, lambda: queue.resume(lane="heavy", by="ada")),
        (plan.seconds, lambda: None),
    ]
    count = int(plan.seconds / plan.kill_every)
    steps += [(plan.kill_every * (n + 1), processes.kill_one) for n in range(count)]
    begun = time.monotonic()
    for at_s, step in sorted(steps, key=lambda step: step[0]):
        time.sleep(max(0.0, begun + at_s - time.monotonic()))
        step()


def mend(queue: Queue, folder: Path) -> None:
    """Makes the broken page readable, and retries it in one flow: what that cancelled is back."""
    (folder / "small" / BROKEN).write_text("dear sir", encoding="ascii")
    broken = queue.tasks(state="expired", name="intake.ocr", limit=1)[0]
    queue.retry(broken.key, by="ada")
    wait_until(lambda: queue.stats().open == 0, "what came back to end")
    states = Counter((task.name, str(task.state)) for task in members(queue, broken.flow))
    pages = states["intake.index", "completed"]
    assert states["intake.ocr", "completed"] == pages, f"not all came back: {states}"


def members(queue: Queue, flow: int | None) -> list[Task]:
    """All tasks of a flow, when none is open any more."""
    finals = queue.tasks(state=["completed", "expired", "cancelled"])
    return [task for task in finals if task.flow == flow]


def judge(queue: Queue, folder: Path, plan: Plan, *, kills: int) -> Played:
    """Judges a log at rest. Raises AssertionError whose message says what is wrong."""
    verdict = verify(queue.log, indexes="full")
    assert verdict.ok, verdict.findings
    dues = check_dues(queue)
    flows = check_flows(queue, plan)
    assert flows == 2 * dues["made"], f"{flows} flows of {dues}"
    rows = check_rows(folder, plan, flows)
    stats = queue.stats()
    failures = [each.body.error for each in queue.events() if isinstance(each.body, Failed)]
    return Played(
        kills=kills,
        events=stats.seq,
        tasks=stats.total,
        attempts=stats.attempts,
        lapsed=sum(error.type == LAPSED for error in failures),
        refused=stats.refused,
        dues=dues,
        flows=flows,
        rows=rows.total(),
        rows_twice=sum(count > 1 for count in rows.values()),
        answers=answers(queue),
    )


def check_dues(queue: Queue) -> Counter[str]:
    """Each due was dealt with once, and there is none between two of them."""
    ticks = [event.body for event in queue.events() if isinstance(event.body, Ticked)]
    steps = {after.due - before.due for before, after in pairwise(ticks)}
    assert len(steps) <= 1, f"dues are not evenly apart: {steps}"
    return Counter(tick.outcome for tick in ticks)


def check_flows(queue: Queue, plan: Plan) -> int:
    """Each flow has all its tasks, and each task the end that it must have; how many there are."""
    finals = queue.tasks(state=["completed", "expired", "cancelled"])
    flows: dict[int, Counter[tuple[str, str]]] = {}
    tenants: dict[int, str] = {}
    for task in finals:
        if task.flow is not None:
            flows.setdefault(task.flow, Counter())[task.name or "", str(task.state)] += 1
            tenants[task.flow] = str(task.tags["tenant"])
    mended = 0
    for number, found in flows.items():
        pages = plan.pages * (TIMES if tenants[number] == "big" else 1) + 1
        is_broken = ("intake.ocr", "expired") in found
        wanted = Counter({("intake.close", "completed"): 1})
        for name in ("intake.ocr", "intake.classify", "intake.index"):
            wanted[name, "completed"] = pages - is_broken
        complained = tenants[number] == "small"
        wanted["intake.complain", "completed" if complained else "cancelled"] = 1
        if is_broken:
            wanted["intake.ocr", "expired"] = 1
            wanted["intake.classify", "cancelled"] = wanted["intake.index", "cancelled"] = 1
        assert found == wanted, f"flow {number}: {found}"
        mended += complained and not is_broken
    assert mended == 1, f"{mended} flows were mended"
    return len(flows)


def check_rows(folder: Path, plan: Plan, flows: int) -> Counter[tuple[str, ...]]:
    """How often each row was written; none is missing, and there are no others."""
    with closing(sqlite3.connect(folder / "index.db")) as db:
        rows = Counter(db.execute("SELECT tenant, batch, page, what FROM done").fetchall())
    pages = plan.pages * TIMES + 1 + plan.pages
    # Of each flow its close, of each of the small tenant a complaint; and one page was mended.
    wanted = flows // 2 * (pages + 3) + 1
    assert len(rows) == wanted, f"{len(rows)} rows, not {wanted}"
    return rows


def answers(queue: Queue) -> list[Answer]:
    """What `why` says of one moment of each sort: of the last there is."""
    found = {each.held_by: each for each in moments(queue.events(), "intake.ocr", RUNNING)}
    given = []
    for moment in found.values():
        point = find_point(queue.log, str(moment.seq), now=0)
        given.append(Answer(moment, why(queue.log, str(moment.task), point).verdict))
    return given


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Waits for it. Raises TimeoutError."""
    ends_s = time.monotonic() + REST_S
    while not condition():
        if time.monotonic() > ends_s:
            raise TimeoutError(f"waited {REST_S:g} s for {what}")
        time.sleep(POLL_S)
