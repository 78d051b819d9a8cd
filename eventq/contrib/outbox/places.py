"""Which outbox is meant: by what an application hands in as ``on=`` and as ``at=``."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib import import_module
from typing import Any, cast

from eventq.contrib.outbox.store import Enrolled, Site
from eventq.errors import ArgumentError
from eventq.host.urls import without_login
from eventq.queue import Queue

# By the package that a session's class is of; each module is imported where it is first used.
FORMS = {
    "django": "eventq.contrib.django.places",
    "psycopg": "eventq.contrib.outbox.dbapi",
    "sqlalchemy": "eventq.contrib.outbox.alchemy",
    "sqlite3": "eventq.contrib.outbox.dbapi",
}
ON_EXPECTED = (
    "a SQLAlchemy session or connection, a connection of Django, psycopg or sqlite3, or a pymongo "
    "session"
)
AT_EXPECTED = (
    "a URL (postgresql://, sqlite:/// or mongodb://), a SQLAlchemy engine, a connection of "
    "Django's, or a pymongo database"
)


def enroll(on: object, place: Site | None) -> Enrolled:
    """The open transaction of what an application calls its session. Raises ArgumentError."""
    package = _package_of(on)
    if package == "pymongo":
        from eventq.contrib.outbox.mongo import enrolled  # noqa: PLC0415 - loads pymongo

        return enrolled(on, place)
    if package not in FORMS:
        raise ArgumentError("on", on, ON_EXPECTED)
    form = cast("Callable[[object], Enrolled]", import_module(FORMS[package]).enrolled)
    return form(on)


def make_place(at: object) -> Site:
    """Where an outbox stands, by a URL or what else names a database. Raises ArgumentError."""
    if isinstance(at, str):
        return _place_at(at)
    package = _package_of(at)
    if package == "sqlalchemy":
        from sqlalchemy import Engine  # noqa: PLC0415 - an extra
        from sqlalchemy.ext.asyncio import AsyncEngine  # noqa: PLC0415 - an extra

        from eventq.contrib.outbox.alchemy import place_of  # noqa: PLC0415 - an extra

        if isinstance(at, Engine | AsyncEngine):
            return place_of(at)
    if package == "django":
        from eventq.contrib.django.places import place_of as django_place  # noqa: PLC0415 - an extra

        return django_place(at)
    if package == "pymongo":
        from pymongo.database import Database  # noqa: PLC0415 - slow to import

        from eventq.contrib.outbox.mongo import MongoPlace  # noqa: PLC0415 - loads pymongo

        if isinstance(at, Database):
            return MongoPlace(at)
    raise ArgumentError("at", at, AT_EXPECTED)


def check_not_log(queue: Queue, place: Site) -> None:
    """Raises ArgumentError where the outbox would stand in eventq's own file."""
    path = getattr(place, "path", None)
    own = queue.url.removeprefix("sqlite:///")
    if path is not None and own != queue.url and os.path.realpath(path) == os.path.realpath(own):
        expected = "a database of the application's; in eventq's own, `queue.transaction()` does it"
        raise ArgumentError("on", path, expected)


def check_same(known: Site, found: Site) -> None:
    """Raises ArgumentError where a session's rows would be where no relay of the outbox looks."""
    if known.shown == found.shown:
        # As it nearly always is.
        return
    if known.home and found.home and known.home != found.home:
        raise ArgumentError("on", found.shown, f"a session of the outbox's place, {known.shown}")


def _place_at(url: str) -> Site:
    scheme, separator, rest = url.partition("://")
    if separator and scheme.partition("+")[0] in {"postgres", "postgresql"}:
        import psycopg  # noqa: PLC0415 - an extra

        from eventq.contrib.outbox.dbapi import PostgresPlace  # noqa: PLC0415 - an extra

        try:
            return PostgresPlace({"conninfo": f"postgresql://{rest}"})
        except psycopg.Error:
            # The driver quotes what it cannot read, which may be a password.
            raise ArgumentError("at", without_login(url), "a URL that libpq can read") from None
    if separator and scheme.partition("+")[0] == "sqlite" and rest.startswith("/"):
        from eventq.contrib.outbox.dbapi import SqlitePlace  # noqa: PLC0415 - for them alone

        return SqlitePlace(rest[1:])
    if separator and scheme in {"mongodb", "mongodb+srv"}:
        import pymongo  # noqa: PLC0415 - slow to import
        from pymongo.errors import ConfigurationError  # noqa: PLC0415 - as above

        from eventq.contrib.outbox.mongo import MongoPlace  # noqa: PLC0415 - loads pymongo
        from eventq.eventlog.mongo.driver import parse  # noqa: PLC0415 - loads pymongo

        shown, _ = parse(url)
        client: pymongo.MongoClient[Any] = pymongo.MongoClient(url)
        try:
            return MongoPlace(client.get_default_database())
        except ConfigurationError:
            client.close()
            raise ArgumentError("at", shown, "a MongoDB URL that names a database") from None
    raise ArgumentError("at", without_login(url), AT_EXPECTED)


def _package_of(what: object) -> str | None:
    known = {*FORMS, "pymongo"}
    packages = (kind.__module__.partition(".")[0] for kind in type(what).__mro__)
    return next((package for package in packages if package in known), None)
