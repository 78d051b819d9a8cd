"""The program that is run: intake of documents, as a flow for each tenant, made by a schedule.

``python -m tools.intake.pipeline`` works until SIGTERM. The environment says where and how much:
`EVENTQ_URL`; `INTAKE_FOLDER`, with a folder for each tenant; `INTAKE_EVERY`, instead of the cron of
each minute; `INTAKE_OCR_MS`, how long a page takes.
"""

from __future__ import annotations

import ctypes
import os
import sqlite3
from contextlib import closing
from pathlib import Path

import eventq

TENANTS = ("big", "small")
FOLDER = Path(os.environ.get("INTAKE_FOLDER", "intake"))
OCR_S = int(os.environ.get("INTAKE_OCR_MS", "100")) / 1_000
# Short, so that what a killed process held is soon taken over.
LEASE_TTL = "3s"

queue = eventq.Queue(os.environ["EVENTQ_URL"], max_retries=5, backoff="200ms")
queue.limit("ocr", running=2)
queue.fair(per="tenant")


@queue.task("intake.sweep")
def sweep(ctx: eventq.Context) -> int:
    """Makes a flow of each tenant's folder; those that are there already are told by their keys."""
    assert ctx.task.due is not None, "a schedule makes it"
    batch = f"{ctx.task.due:%H:%M:%S}"
    made = 0
    for tenant in TENANTS:
        try:
            made += make_flow(tenant, batch)
        except eventq.FlowExistsError:
            # An attempt before this one made it, and died.
            continue
    return made


def make_flow(tenant: str, batch: str) -> int:
    """Three steps a page, and what comes at the end."""
    with queue.flow(f"{tenant}:{batch}") as flow:
        for path in sorted((FOLDER / tenant).iterdir()):
            words = flow.new(ocr, tenant, str(path))
            kind = flow.new(classify, tenant, words.result)
            flow.new(index, tenant, batch, path.name, kind.result)
        flow.on_failure(complain, tenant, batch)
        flow.finally_(close, tenant, batch)
    return len(flow.tasks)


@queue.task(
    "intake.ocr",
    lane="heavy",
    limits=["ocr"],
    isolate=True,
    retry={eventq.ProcessDiedError: "100ms", ValueError: eventq.Fail},
)
def ocr(ctx: eventq.Context, tenant: str, path: str) -> list[str]:  # noqa: ARG001 - its share
    """Stands in for what reads scanned pages: it takes its time, and crashes now and then."""
    if path.endswith("crash.txt") and ctx.task.attempt == 1:
        ctypes.string_at(0)
    words = Path(path).read_text(encoding="ascii").split()
    ctx.sleep(OCR_S)
    return words


@queue.task("intake.classify")
def classify(tenant: str, words: list[str]) -> str:  # noqa: ARG001 - its share
    """Says what a page is."""
    return "invoice" if "total" in words else "letter"


@queue.task("intake.index", lane="index")
def index(ctx: eventq.Context, tenant: str, batch: str, page: str, kind: str) -> None:
    """Adds a row; there may be two, since there may be two attempts."""
    assert [kind] == list(ctx.results.values()), "it came after what said so"
    write((tenant, batch, page, kind))


@queue.task("intake.complain", lane="index")
def complain(tenant: str, batch: str) -> None:
    """Comes once in each flow of which a member has failed."""
    write((tenant, batch, "", "failed"))


@queue.task("intake.close", lane="index")
def close(tenant: str, batch: str) -> None:
    """Comes last in each flow."""
    write((tenant, batch, "", "closed"))


def write(row: tuple[str, ...]) -> None:
    """Adds a row to a database that is not the queue's."""
    with closing(sqlite3.connect(FOLDER / "index.db", timeout=30)) as db, db:
        db.execute("CREATE TABLE IF NOT EXISTS done (tenant, batch, page, what)")
        db.execute("INSERT INTO done VALUES (?, ?, ?, ?)", row)


if every := os.environ.get("INTAKE_EVERY"):
    queue.every(every, sweep, schedule="sweep")
else:
    queue.cron("* * * * *", schedule="sweep")(sweep)

if __name__ == "__main__":
    lanes = {"default": 2, "heavy": 2, "index": 1}
    print(queue.run(lanes=lanes, lease_ttl=LEASE_TTL))
