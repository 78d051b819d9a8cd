"""The console and the admin's pages under Django: who sees what, and what acts."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.core.handlers.asgi import ASGIHandler
from django.db import connections, transaction
from django.test import AsyncClient, Client, override_settings
from django.utils.crypto import salted_hmac

from eventq.contrib.django import Backend
from eventq.contrib.django.models import RIGHTS, OutboxRecord
from eventq.web import Person, Right
from eventq.web.session import FormKeys
from tests.contrib.django.site.shop import tasks


@pytest.fixture
def ada(backend: Backend) -> Iterator[User]:
    """Somebody without any permission."""
    del backend
    user = User.objects.create_user("ada", is_staff=True)
    yield user
    user.delete()


def permit(user: User, *rights: str) -> Client:
    """Somebody who is logged in, with these rights."""
    names = [f"console_{right}" for right in rights]
    user.user_permissions.set(Permission.objects.filter(codename__in=names))
    client = Client()
    client.force_login(user)
    return client


def test_rights_are_those_of_the_console() -> None:
    """Each right of the console is a permission, and no other is."""
    assert set(RIGHTS) == {str(right) for right in Right}


def test_nobody_is_sent_to_the_login(backend: Backend) -> None:
    """Without a login there is no page; with one, it takes the permission."""
    del backend
    answer = Client().get("/queue/default/")

    assert answer.status_code == 302
    assert answer.headers["location"].startswith("/accounts/login/?next=/queue/default/")


def test_permissions_are_rights(ada: User) -> None:
    """Nothing without `console_view`; values are hidden without `console_values`."""
    result = tasks.give.enqueue("a-word-of-users")
    page = f"/queue/default/tasks/{result.id}"

    assert permit(ada).get(page).status_code == 403
    hidden = permit(ada, "view").get(page)
    shown = permit(ada, "view", "values").get(page)
    assert (hidden.status_code, shown.status_code) == (200, 200)
    assert b"a-word-of-users" not in hidden.content
    assert b"a-word-of-users" in shown.content
    assert hidden.headers["content-security-policy"].startswith("default-src 'none'")


def test_superusers_may_all(ada: User) -> None:
    """As anywhere under Django."""
    ada.is_superuser = True
    ada.save()

    assert permit(ada).get("/queue/default/").status_code == 200


@pytest.mark.parametrize(
    "path, status, kind",
    [
        ("", 200, "text/html"),
        ("limits", 200, "text/html"),
        ("api/now", 200, "application/json"),
        ("static/console.css", 200, "text/css"),
        ("events", 200, "text/event-stream"),
        ("nowhere", 404, "text/html"),
    ],
)
def test_pages_are_served(ada: User, path: str, status: int, kind: str) -> None:
    """Pages, data, files, and under WSGI the first beat of the stream."""
    answer = permit(ada, "view").get(f"/queue/default/{path}")

    assert answer.status_code == status
    assert answer.headers["content-type"].startswith(kind)
    if path == "events":
        assert b"event: beat" in answer.content


def test_other_queues_are_not_there(ada: User) -> None:
    """What is no backend of eventq's has no console."""
    client = permit(ada, "view")

    assert client.get("/queue/plain/").status_code == 200
    assert client.get("/queue/missing/").status_code == 404
    assert client.get("/queue/").headers["location"] == "default/"


def test_acts_are_the_users(ada: User, backend: Backend) -> None:
    """A form of the console acts once it has the right, and the event says who it was."""
    result = tasks.add.enqueue(1)
    client = permit(ada, "view", "cancel")
    page = client.get(f"/queue/default/tasks/{result.id}")
    fields = dict(
        re.findall(r'name="(form_key|form_id|seq)" value="([^"]*)"', page.content.decode())
    )
    action = re.search(r'action="([^"]*/cancel)"', page.content.decode())
    assert action is not None
    sent = {**fields, "reason": "a mistake"}
    body = "&".join(f"{name}={value}" for name, value in sent.items())
    form = "application/x-www-form-urlencoded"
    origin = {"origin": "http://testserver"}
    answer = client.post(action[1], body, content_type=form, headers=origin)

    assert answer.status_code in {302, 303}
    [event] = [each for each in backend.queue.history(result.id) if each.kind == "cancelled"]
    assert (event.body.by, event.body.via) == ("ada", "login")  # type: ignore[union-attr]
    assert client.post(action[1], body, content_type=form).status_code >= 400


def test_forms_of_one_process_are_those_of_another(ada: User) -> None:
    """What signs them comes of SECRET_KEY, so that any process of a server takes them."""
    person = Person(ada.get_username())
    secret = salted_hmac("eventq.console", "default", algorithm="sha256").digest()
    key = FormKeys(secret).key_of("cookie", person)

    assert FormKeys(secret).fits(key, "cookie", person)
    assert not FormKeys().fits(key, "cookie", person)


def test_under_asgi_streams_go_on(ada: User) -> None:
    """An asynchronous server holds the stream open without a worker."""
    client = permit(ada, "view")

    async def listen() -> bytes:
        visitor = AsyncClient()
        visitor.cookies = client.cookies
        answer: Any = await visitor.get("/queue/default/events")
        found = b""
        async for part in answer.streaming_content:
            found += part
            if b"event: beat" in found:
                break
        answer.close()
        return found

    assert b"event: beat" in asyncio.run(listen())
    assert ASGIHandler is not None


def test_admin_shows_the_queues(ada: User) -> None:
    """Their numbers, and the way to their consoles, for who may see those."""
    tasks.add.enqueue(1)
    page = permit(ada, "view").get("/admin/eventq/consoleright/")

    assert page.status_code == 200
    assert 'href="/queue/default/"' in page.content.decode()
    assert re.search(r"<th>default</th>\s*<td>1</td>", page.content.decode())
    assert permit(ada).get("/admin/eventq/consoleright/").status_code == 403


def test_admin_shows_rows_of_any_database_and_damage(ada: User, backend: Backend) -> None:
    """The filter names an outbox's database; what is no instant is shown as it stands."""
    ada.is_superuser = True
    ada.save()
    client = permit(ada)
    given = {"BACKEND": f"{Backend.__module__}.Backend"}
    both = {
        "default": {**given, "OPTIONS": {**backend.options, "outbox": "default"}},
        "plain": {**given, "OPTIONS": {**backend.options, "namespace": "p", "outbox": "other"}},
    }
    row = {"namespace": "p", "version": 1, "made_at": 0, "body": "{"}
    OutboxRecord.objects.create(key="here", **row)
    away = OutboxRecord.objects.using("other").create(key="away", **row)
    with connections["other"].cursor() as cursor:
        cursor.execute("UPDATE eventq_outbox SET made_at = 'soon'")
    try:
        with override_settings(TASKS=both):
            first, other, one = (
                client.get(f"/admin/eventq/outboxrecord/{path}", follow=True).content.decode()
                for path in (
                    "",
                    "?using=other",
                    f"{away.pk}/change/?_changelist_filters=using%3Dother",
                )
            )
    finally:
        OutboxRecord.objects.using("other").all().delete()

    assert ">here<" in first
    assert ">away<" in other
    assert "soon" in other
    assert "away" in one


def test_admin_has_rows_relayed_again(ada: User, backend: Backend) -> None:
    """A row that was damaged is set aside, shown with its problem, and relayed when it is whole."""
    outbox = backend.outbox
    assert outbox is not None
    outbox.close()
    with transaction.atomic():
        result = tasks.add.enqueue(1)
        row = OutboxRecord.objects.get(key=result.id)
        whole, row.body = row.body, "{"
        row.save()
    outbox.relay()
    ada.is_superuser = True
    ada.save()
    client = permit(ada)
    page = client.get("/admin/eventq/outboxrecord/").content.decode()
    OutboxRecord.objects.filter(pk=row.pk).update(body=whole)
    sent = {"action": "relay_again", "_selected_action": [row.pk]}
    answer = client.post("/admin/eventq/outboxrecord/", sent)
    outbox.relay()

    assert "its body is damaged" in page
    assert answer.status_code == 302
    assert backend.queue.get(result.id) is not None
    assert not OutboxRecord.objects.exists()
