"""A queue in FastAPI and in Starlette: open while the application lives, given, run, shown."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

import pytest
from fastapi import Depends, FastAPI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route
from starlette.testclient import TestClient

import eventq
from eventq.contrib.asgi import get_outbox, get_queue, lifespan, running
from eventq.contrib.console import MountedConsole
from eventq.contrib.outbox import Outbox

shop = eventq.Handlers()
paid = threading.Event()


@shop.task("pay")
def pay(order: int) -> int:
    """Pays."""
    paid.set()
    return order


@shop.task("mail")
async def mail(order: int) -> str:
    """Mails."""
    return f"order {order}"


def everybody(_request: Request) -> tuple[str, list[str]]:
    """Who asks."""
    return "ada", ["view"]


def made(path: Path, **options: Any) -> FastAPI:  # noqa: ANN401
    """An application of FastAPI's."""

    def opened() -> eventq.Queue:
        return eventq.Queue(f"sqlite:///{path}/tasks.db", handlers=[shop], workers=2)

    app = FastAPI(lifespan=lifespan(opened, **options))

    @app.post("/orders/{order}")
    async def order(
        order: int, queue: Annotated[eventq.AsyncQueue, Depends(get_queue)]
    ) -> dict[str, str]:
        task = await queue.new(pay.spec(order))
        return {"key": task.key}

    @app.get("/orders/{key}")
    def look(key: str, queue: Annotated[eventq.AsyncQueue, Depends(get_queue)]) -> dict[str, Any]:
        task = queue.queue.wait(key, timeout="10s")
        return {"result": task.result}

    app.mount("/queue", MountedConsole(everybody))
    return app


def test_fastapi_is_given_the_queue_and_runs_it(tmp_path: Path) -> None:
    """A route makes a task, which the same process runs; the console shows it."""
    app = made(tmp_path, run=True, grace="5s")

    for order in (1, 2):
        # Twice, as tests start an application again and again.
        with TestClient(app) as client:
            key = client.post(f"/orders/{order}").json()["key"]
            assert client.get(f"/orders/{key}").json() == {"result": order}
            page = client.get(f"/queue/tasks/{key}")
            assert page.status_code == 200
            assert "completed" in page.text


def test_without_run_tasks_wait_for_others(tmp_path: Path) -> None:
    """The queue is open, and closed at the end."""
    app = made(tmp_path)

    with TestClient(app) as client:
        key = client.post("/orders/7").json()["key"]
    with eventq.Queue(f"sqlite:///{tmp_path}/tasks.db", handlers=[shop]) as queue:
        task = queue.get(key)

        assert task is not None
        assert task.state == "ready"


def test_starlette_is_given_the_queue(tmp_path: Path) -> None:
    """By the request; in a mounted application, too."""

    async def order(request: Request) -> JSONResponse:
        task = await get_queue(request).new(mail.spec(7))
        done = await get_queue(request).wait(task.key, timeout="10s")
        return JSONResponse(done.result)

    queue = eventq.Queue(f"sqlite:///{tmp_path}/tasks.db", handlers=[shop])
    routes = [Mount("/shop", routes=[Route("/orders", order, methods=["POST"])])]
    app = Starlette(routes=routes, lifespan=lifespan(queue, run=True))

    with TestClient(app) as client:
        assert client.post("/shop/orders").json() == "order 7"
    with pytest.raises(eventq.QueueClosedError):
        queue.new({})


def test_outboxes_are_made_of_the_queue_and_closed(tmp_path: Path) -> None:
    """Each time that the application starts; a route is given the first one."""
    made: list[Outbox] = []

    def outboxes(queue: eventq.Queue) -> list[Outbox]:
        made.append(Outbox(queue, at=f"sqlite:///{tmp_path}/shop.db"))
        made[-1].create()
        return made[-1:]

    def order(request: Request) -> JSONResponse:
        with closing(sqlite3.connect(tmp_path / "shop.db")) as session, session:
            return JSONResponse(get_outbox(request).new(pay, 7, on=session))

    def opened() -> eventq.Queue:
        return eventq.Queue(f"sqlite:///{tmp_path}/tasks.db", handlers=[shop])

    routes = [Route("/orders", order, methods=["POST"])]
    app = Starlette(routes=routes, lifespan=lifespan(opened, run=True, outboxes=outboxes))
    for _ in range(2):
        paid.clear()
        with TestClient(app) as client:
            client.post("/orders")
            assert paid.wait(60)
        assert all(each.name != "eventq-relay" for each in threading.enumerate())

    assert len(made) == 2
    with (
        TestClient(Starlette(routes=routes, lifespan=lifespan(opened))) as client,
        pytest.raises(eventq.ArgumentError, match="outboxes"),
    ):
        client.post("/orders")


def test_an_attempt_has_its_grace_at_the_end(tmp_path: Path) -> None:
    """The application ends while a task runs: it completes."""
    paid.clear()
    goes_on = threading.Event()
    slow = eventq.Handlers()

    @slow.task("slow")
    def work() -> str:
        paid.set()
        goes_on.wait(60)
        return "done"

    url = f"sqlite:///{tmp_path}/tasks.db"
    app = Starlette(lifespan=lifespan(lambda: eventq.Queue(url, handlers=[slow]), run=True))
    with eventq.Queue(url) as queue:
        key = queue.new(name="slow").key
        with TestClient(app):
            assert paid.wait(60)
            threading.Timer(0.2, goes_on.set).start()
        task = queue.get(key)

    assert task is not None
    assert task.result == "done"
    assert work is not None


def test_a_run_that_breaks_off_is_begun_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged, and the site does not go on without its workers."""
    monkeypatch.setattr("eventq.contrib.asgi.AGAIN_S", 0.01)
    queue = eventq.AsyncQueue(f"sqlite:///{tmp_path}/tasks.db", handlers=[shop])
    usual, broken = queue.run, [True]

    async def run(**options: Any) -> Any:  # noqa: ANN401
        await asyncio.sleep(0)
        if broken:
            broken.pop()
            raise eventq.LogUnavailableError("away")
        return await usual(**options)

    monkeypatch.setattr(queue, "run", run)

    async def go() -> object:
        async with queue, running(queue):
            task = await queue.new(pay.spec(3))
            return (await queue.wait(task.key, timeout="10s")).result

    assert asyncio.run(go()) == 3
    assert "the run has broken off: away" in caplog.text


def test_wrong_use_is_said_at_once(tmp_path: Path) -> None:
    """Options without a run, what is no queue, a run without handlers, a route without lifespan."""
    url = f"sqlite:///{tmp_path}/tasks.db"
    with pytest.raises(eventq.ArgumentError, match="True beside options of a run: grace"):
        lifespan(lambda: eventq.Queue(url), grace="1s")
    with (
        pytest.raises(eventq.ArgumentError, match="a function that opens one"),
        TestClient(Starlette(lifespan=lifespan(lambda: url))),  # type: ignore[arg-type, return-value]
    ):
        pass
    with (
        pytest.raises(eventq.ArgumentError, match="this queue has no handlers"),
        TestClient(Starlette(lifespan=lifespan(lambda: eventq.Queue(url), run=True))),
    ):
        pass
    with pytest.raises(eventq.ArgumentError, match="a function that says who asks"):
        MountedConsole(None)  # type: ignore[arg-type]
    app = FastAPI()
    app.mount("/queue", MountedConsole(everybody))
    with TestClient(app) as client, pytest.raises(eventq.ArgumentError, match="no queue is open"):
        client.get("/queue/")
