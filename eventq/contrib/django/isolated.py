"""Where the process of an isolated attempt finds the handlers of Django's tasks; it sets Django up.

Not to be imported before Django's applications are, save in that process. There Django's logging is
left alone: its parent has it.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

from django.apps import apps
from django.conf import settings
from django.urls import set_script_prefix

from eventq.contrib.django.settings import backend_at

# Names are looked up in one step, so that the dots in them are written otherwise.
DOT = "%2E"

if not apps.ready:
    set_script_prefix(settings.FORCE_SCRIPT_NAME or "/")
    apps.populate(settings.INSTALLED_APPS)


def name_here(alias: str, path: str) -> str:
    """Under which name the handler of a backend's task is found here."""
    return " ".join(each.replace("%", "%25").replace(".", DOT) for each in (alias, path))


def __getattr__(name: str) -> Any:  # noqa: ANN401 - a Handler, or what no module has
    alias, separator, path = name.rpartition(" ")
    backend = backend_at(unquote(alias)) if separator else None
    found = None if backend is None else backend.handlers.find(unquote(path))
    if found is None:
        raise AttributeError(name)
    return found
