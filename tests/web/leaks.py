"""A queue full of a secret: in tags, and wherever else users can put the value of one."""

from __future__ import annotations

import re
from urllib.parse import quote, quote_plus

import pytest

import eventq
from eventq.core.task import TaskState
from eventq.web.pages.tasks import COLUMNS, ORDERS
from eventq.web.routes import PAGES
from tests.web.desk import Desk

CANARY = "c4n4ry+<ada>@example.org"
OLD = "0ld-canary"
FORMS = {CANARY, OLD, quote(CANARY), quote(CANARY, safe=""), quote_plus(CANARY)}
FORMS |= {CANARY.replace("<", "&lt;").replace(">", "&gt;"), "c4n4ry"}
LINK = re.compile(r'href="(/[^"#]*)"')
LEAST_PAGES = 300
PATIENT_S = 60.0


def leak(queue: eventq.Queue, own: list[str], name: str = CANARY, old: str = OLD) -> None:
    """A secret wherever users can put one beside its tag, in tasks of all kinds.

    ``own`` are the tags that the tasks themselves call secret; ``name`` and ``old`` stand in keys.
    """
    queue.limit("smtp", running=1, per="email")
    queue.limit("host", running=1)
    queue.fair(per="email", weights={CANARY: 3})

    def work(ctx: eventq.Context, task: eventq.Task) -> object:
        ctx.log.info("to %s", task.tags["email"])
        ctx.progress(1, 2, f"writes to {task.tags['email']}")
        ctx.save({"to": task.tags["email"]})
        if task.tags.get("fails"):
            raise ConnectionError(f"{task.tags['email']} is not there")
        return {"sent": [task.tags["email"]]}

    secret = {"email": CANARY, "copy": f"cc {CANARY}", "deep": {"to": [CANARY]}}
    queue.new(secret, key=f"sent/{name}", limits=["smtp"], secret=own)
    queue.new({**secret, "fails": 1}, key=f"failed/{name}", max_retries=0, secret=own)
    queue.new({"email": OLD}, key=f"moved/{old}", delay="1h", secret=own)
    queue.update(f"moved/{old}", tags={"email": CANARY}, by="ada", reason=f"not {OLD}, {CANARY}")
    with queue.flow(f"flow/{name}") as flow:
        first = flow.new(secret, key=f"first/{name}", secret=own)
        flow.new(secret, after=[first], secret=own)
    queue.run(work, until="idle", signals=False)
    host = {"host": CANARY}
    queue.new(secret, name="nobody", key=f"held/{name}", limits=host, unique=CANARY, secret=own)
    queue.new(secret, name="nobody", key=f"next/{name}", limits=host, secret=own)
    queue.new({"n": 1}, name="nobody", key="behind", after=[f"held/{name}"])
    mail = {"email": CANARY}
    queue.new(mail, name="paused", key=f"paused/{name}", share=CANARY, secret=own)
    queue.new(secret, delay="2h", key=f"off/{name}", secret=own)
    queue.cancel(f"off/{name}", by="ada", reason=f"{CANARY} has asked for it")
    queue.pause(name="paused", tags={"email": CANARY}, by="ada", reason=f"{CANARY} bounces")
    queue.pause(limit="host", value=CANARY, by="ada")
    tags = {"fails": 1} if own else mail
    queue.select(tags=tags, state="expired").retry().apply(by="ada", reason="bulk")


def numbers_of(desk: Desk) -> list[int]:
    """All tasks of the queue."""
    return [event.seq for event in desk.queue.events() if event.kind == "created"]


def asked_of(desk: Desk) -> list[str]:
    """Every page and file, each task and flow by its number, and lists in every order."""
    return paths_to(numbers_of(desk), desk.queue.log.head().seq)


def paths_to(numbers: list[int], last: int) -> list[str]:
    """The same of these tasks in a log that ends there."""
    paths = [page.path for page in PAGES if "{" not in page.path]
    paths += [f"/tasks/{n}{end}" for n in numbers for end in ("", "/why")]
    paths += [f"/flows/{n}" for n in numbers]
    paths += [f"/tasks?order={order}&columns={','.join(COLUMNS)}" for order in ORDERS]
    paths += [f"/tasks?state={state}&limit=500" for state in sorted(map(str, TaskState))]
    paths += [f"/compare?a={n}&b={last}" for n in range(1, last, 5)]
    paths += [f"/compare?task={one}&other={two}" for one in numbers for two in numbers[:2]]
    paths += [f"/changes?parts=true&task={n}" for n in numbers]
    return paths


def logged(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What the console has logged, with all fields."""
    found = [str(vars(each)) for each in caplog.records if each.name == "eventq.web"]
    assert found
    return found
