"""Every path, query and form of the console with every text: an answer, and never a server's error.

Routes and the names of queries come from the console's own table; those of forms from the pages.
"""

from __future__ import annotations

import re
from collections import Counter
from html.parser import HTMLParser
from itertools import product
from pathlib import Path
from secrets import token_hex
from typing import Any
from urllib.parse import quote, urlencode

from httpx2 import Response
from msgspec import Struct

from eventq import Queue
from eventq.core.task import FINAL
from eventq.core.validation import OPEN
from eventq.web.routes import ACTS, PAGES, SERVICES
from tests.checker import check_log
from tests.web.desk import HOST, Desk, fill
from tools.hostile.values import MARKUP, TEXTS

SERVER_ERROR = 500
ACCEPTED = 202
KEY = "img/0"
# More than any console takes, and no more than the client of the tests sends.
URL_BYTES = 20_000
# Good words for what stands in a path.
GOOD = {"key": KEY, "name": "check_mail", "file": "tasks.csv"}
# It streams until its reader hangs up.
LEFT_OUT = {"/events"}
PART = re.compile(r"{(\w+)}")


class Field(Struct, frozen=True):
    """Something that a request says: a part of its path, of its query or of its form."""

    method: str
    path: str
    name: str
    place: str


class Pages:
    """A console over a queue with a past."""

    def __init__(self, folder: Path) -> None:
        self.queue = Queue(f"sqlite:///{folder}/pages.db", workers=1, max_retries=0)
        fill(self.queue)
        self._desk = Desk(self.queue, folder / "cache")
        self._forms = self._read_forms()
        self.fields = self._fields()
        self.cases = list(product(self.fields, TEXTS))

    def play(self, number: int) -> Counter[str]:
        """Sends one text in one place. Raises AssertionError for an answer that must not be."""
        field, name = self.cases[number]
        before = self.queue.log.head()
        answer = self._sent(field, TEXTS[name])
        said = (
            f"{field.method} {field.path}, {field.place} {field.name}, {name}: {answer.status_code}"
        )
        assert answer.status_code < SERVER_ERROR, f"{said} {answer.text[:500]}"
        assert "Traceback (most" not in answer.text, said
        assert MARKUP not in answer.text or "html" not in answer.headers["content-type"], said
        text = re.sub(r"[\n\r\t]", "", answer.text)
        assert not re.search(r"[\x00-\x1f\x7f-\x9f]", text), f"{said}: a raw control character"
        if field.method == "GET":
            assert self.queue.log.head() == before, f"{said}: a page has appended"
        return Counter([f"{field.method} {answer.status_code}"])

    def check(self) -> None:
        """Raises AssertionError where the log is not good."""
        check_log(self.queue.log)

    def close(self) -> None:
        """Ends the console."""
        self.check()
        self._desk.close()
        self.queue.close()

    def _sent(self, field: Field, text: str) -> Response:
        raw = text.encode("utf-8", "surrogatepass")
        raw = raw if field.place == "form" else raw[:URL_BYTES]
        path = _filled(field.path, {field.name: raw} if field.place == "path" else {})
        client = self._desk.client
        if field.method == "GET":
            query = f"?{urlencode({field.name: raw})}" if field.place == "query" else ""
            return self._asked(path + query)
        own = {"form_key": self._desk.form_key(), "form_id": token_hex(4)}
        form: dict[str, Any] = {**self._forms.get(field.path, {}), **own}
        if field.place == "form":
            form[field.name] = raw
        return client.post(
            path,
            content=urlencode(form),
            headers={"origin": HOST, "content-type": "application/x-www-form-urlencoded"},
        )

    def _asked(self, path: str) -> Response:
        """The answer, however long the log is folded for it."""
        while (answer := self._desk.client.get(path)).status_code == ACCEPTED:
            pass
        return answer

    def _fields(self) -> list[Field]:
        found = []
        for page in PAGES:
            for path in (page.path, f"/api{page.path}"):
                found += [Field("GET", path, name, "path") for name in PART.findall(path)]
                names = [name for name in page.question.__struct_fields__ if name not in GOOD]
                found += [Field("GET", path, name, "query") for name in names]
        for service in SERVICES:
            if service.path in LEFT_OUT:
                continue
            found += [
                Field(service.method, service.path, n, "path") for n in PART.findall(service.path)
            ]
            place = "query" if service.method == "GET" else "form"
            found += [
                Field(service.method, service.path, n, place) for n in ("q", "key", "at", "to")
            ]
        for act in ACTS:
            found += [Field("POST", act.path, name, "path") for name in PART.findall(act.path)]
            said = {"by", "reason", "form_key", "form_id", *self._forms.get(act.path, {})}
            found += [Field("POST", act.path, name, "form") for name in sorted(said)]
        return found

    def _read_forms(self) -> dict[str, dict[str, str]]:
        """The fields of all forms on the pages, and what stands in them, by where they go to."""
        reader = _Forms()
        self.queue.schedules["check_mail"].pause()
        for page in PAGES:
            for key in [task.key for task in self.queue.tasks(state=list(OPEN | FINAL))]:
                reader.feed(self._asked(_filled(page.path, {"key": key.encode()})).text)
                if "{" not in page.path:
                    break
        forms: dict[str, dict[str, str]] = {}
        for action, fields in reader.forms:
            for act in ACTS:
                pattern = PART.sub("[^/]+", act.path)
                if re.fullmatch(pattern, action):
                    forms.setdefault(act.path, {}).update(fields)
        return forms


def _filled(path: str, parts: dict[str, bytes]) -> str:
    """The path of a request, whose parts are these, and else good ones."""

    def fill(found: re.Match[str]) -> str:
        return quote(parts.get(found[1], GOOD[found[1]].encode()), safe="")

    return PART.sub(fill, path)


class _Forms(HTMLParser):
    """Reads the forms of pages."""

    def __init__(self) -> None:
        super().__init__()
        self.forms: list[tuple[str, dict[str, str]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Notes a form, or a field of the form before it."""
        found = dict(attrs)
        if tag == "form":
            self.forms.append((found.get("action") or "", {}))
        elif tag in {"input", "select", "textarea", "button"} and self.forms:
            name = found.get("name")
            if name:
                self.forms[-1][1][name] = found.get("value") or ""
