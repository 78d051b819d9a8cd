"""What tests of the console share: a queue with a past, and a browser without a screen on it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from http import HTTPStatus
from pathlib import Path
from secrets import token_hex
from typing import Any

from httpx2 import Response
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.testclient import TestClient

import eventq
from eventq.web.access import Person, Right
from eventq.web.app import app

HOST = "http://testserver"
ASKED_AGAIN = 100
FORM_KEY = re.compile(r'name="form_key" value="([0-9a-f]+)"')
# Stands in tags and in an error.
SECRET = "hunter2-of-ada"  # noqa: S105 - nothing is behind it


class Desk:
    """A console over a queue. ``person`` is who comes next; None is nobody."""

    def __init__(self, queue: eventq.Queue, cache: Path, **options: Any) -> None:  # noqa: ANN401
        self.queue = queue
        self.person: Person | None = Person("ada")
        self.app: Starlette = app(queue, self._who, cache=cache, **options)
        self.client = TestClient(self.app, base_url=HOST, follow_redirects=False)

    def _who(self, request: Request) -> Person | None:
        del request
        return self.person

    def may(self, *rights: Right, lanes: Iterable[str] | None = None) -> None:
        """Who comes next may look, and this."""
        found = None if lanes is None else frozenset(lanes)
        self.person = Person("bob", frozenset({Right.VIEW, *rights}), lanes=found)

    def get(self, path: str, status: int = 200) -> str:
        """The text of a page, which must have this status."""
        answer = self.asked(path)
        assert answer.status_code == status, (path, answer.status_code, answer.text)
        return answer.text

    def json(self, path: str, status: int = 200) -> Any:  # noqa: ANN401
        """The same as JSON."""
        answer = self.asked(f"/api{path}")
        assert answer.status_code == status, (path, answer.text)
        return answer.json()

    def asked(self, path: str) -> Response:
        """The answer, however long the log is folded for it."""
        for _ in range(ASKED_AGAIN):
            answer = self.client.get(path)
            if answer.status_code != HTTPStatus.ACCEPTED:
                break
        return answer

    def form_key(self) -> str:
        """The key that a form of this browser carries."""
        found = FORM_KEY.search(self.client.get("/limits").text)
        return "" if found is None else found[1]

    def post(self, path: str, status: int = 303, **form: str) -> Response:
        """Sends a form; gives the answer, which must have this status."""
        answer = self.sent(path, **form)
        assert answer.status_code == status, (path, answer.status_code, answer.text)
        return answer

    def sent(self, path: str, **form: str) -> Response:
        """The same, whatever the answer is."""
        own = {"form_key": form.get("form_key") or self.form_key(), "form_id": token_hex(4)}
        return self.client.post(path, data={**own, **form}, headers={"origin": HOST})

    def done(self, path: str, **form: str) -> str:
        """Sends a form that acts; gives the page that tells of it."""
        return self.get(self.post(path, 303, **form).headers["location"])

    def close(self) -> None:
        """Ends the console's threads."""
        self.app.state.console.close()


MakeDesk = Callable[..., Desk]


def fill(queue: eventq.Queue) -> None:
    """A past with something of each: ends of all sorts, a flow, a limit, a pause, a schedule."""

    def work(_ctx: eventq.Context, task: eventq.Task) -> dict[str, int]:
        if task.tags["n"] % 2:
            raise ConnectionError(f"refused {task.tags['token']}")
        return {"n": task.tags["n"]}

    @queue.task("docs.ocr", lane="heavy")
    def ocr(path: str, *, dpi: int = 300) -> str:
        return f"{path} {dpi}"

    @queue.cron("*/10 * * * *", tz="Europe/Berlin")
    def check_mail() -> int:
        return 1

    del check_mail
    queue.limit("smtp", running=1, rate="5/1m")
    for number in range(4):
        queue.new({"n": number, "token": SECRET}, key=f"img/{number}", max_retries=0)
    with queue.flow("doc:1") as flow:
        text = flow.new(ocr, "a.pdf")
        flow.new(ocr, text.result)
    queue.run(work, until="idle", signals=False)
    queue.run(until="idle", signals=False)
    queue.new({"n": 9}, name="nobody", limits={"smtp": "smtp"}, priority=3)
    queue.new({"n": 10}, name="mail.send", lane="mail")
    first = queue.new({"n": 11}, name="nobody")
    queue.new({"n": 12}, name="nobody", after=[first], key="behind")
    queue.new({"n": 13}, delay="2h")
    queue.pause(lane="mail", by="ada", reason="the provider is down")
