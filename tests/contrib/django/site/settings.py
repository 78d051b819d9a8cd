"""The settings of a site for tests: where its data are, the environment says."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

FOLDER = Path(os.environ["SHOP_FOLDER"])


def _database(url: str | None) -> dict[str, Any]:
    """A database by its URL; None: a SQLite file in the folder."""
    if url is None:
        options = {"timeout": 30}
        engine = "django.db.backends.sqlite3"
        return {"ENGINE": engine, "NAME": FOLDER / "shop.db", "OPTIONS": options}
    parts = urlsplit(url)
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": parts.path[1:],
        "USER": parts.username,
        "HOST": parts.hostname,
        "PORT": parts.port,
        "CONN_MAX_AGE": 60,
    }


BASE_DIR = Path(__file__).parents[1]
SECRET_KEY = "for tests alone"  # noqa: S105 - nothing here is a secret
ALLOWED_HOSTS = ["*"]
USE_TZ = True
TIME_ZONE = "Europe/Berlin"
DATABASES = {
    "default": _database(os.environ.get("SHOP_DATABASE")),
    "other": {"ENGINE": "django.db.backends.sqlite3", "NAME": FOLDER / "other.db"},
}
INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "eventq.contrib.django",
    "tests.contrib.django.site.shop",
]
try:
    import django.tasks  # type: ignore[import-not-found, unused-ignore]  # noqa: F401
except ImportError:
    INSTALLED_APPS.append("django_tasks")
# Their tables are made as they are, which takes a tenth of the time.
MIGRATION_MODULES = dict.fromkeys(("admin", "auth", "contenttypes", "sessions"))
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
ROOT_URLCONF = "tests.contrib.django.site.urls"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
BACKEND = "eventq.contrib.django.Backend"
TASKS: dict[str, dict[str, Any]] = {
    "default": {
        "BACKEND": BACKEND,
        "QUEUES": ["default", "mail"],
        "OPTIONS": {"url": f"sqlite:///{FOLDER}/tasks.db", "outbox": "default", "workers": 2},
    },
    "plain": {
        "BACKEND": BACKEND,
        "QUEUES": [],
        "OPTIONS": {"url": f"sqlite:///{FOLDER}/tasks.db", "namespace": "plain"},
    },
}
