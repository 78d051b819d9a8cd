"""The console's view: whoever is logged in, with the rights that Django's permissions give."""

from __future__ import annotations

from typing import Any, cast

from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponseBase
from django.urls import reverse
from django.views.decorators.csrf import csrf_exempt

from eventq.contrib.django.models import RIGHTS
from eventq.contrib.django.settings import backend_at


# The console's forms have keys of their own.
@csrf_exempt
def console(request: HttpRequest, alias: str = "default", path: str = "") -> HttpResponseBase:
    """A page of the console of a backend's queue."""
    from eventq.contrib.django.mounted import console_of  # noqa: PLC0415 - an extra
    from eventq.web import Person, Right  # noqa: PLC0415 - an extra

    del path
    user = cast("Any", request).user
    if not user.is_authenticated:
        return redirect_to_login(request.get_full_path())
    rights = rights_of(user)
    if "view" not in rights:
        raise PermissionDenied
    backend = backend_at(alias)
    if backend is None:
        raise Http404(alias)
    person = Person(user.get_username(), frozenset(map(Right, rights)))
    root = reverse("eventq:console", args=[alias]).rstrip("/")
    found = console_of(backend.queue, alias, **backend.settings.console)
    return found.answer(request, person, root)


def rights_of(user: Any) -> list[str]:  # noqa: ANN401 - a user of any model
    """The rights that the permissions of a user give, such as ``eventq.console_retry``."""
    return [right for right in RIGHTS if user.has_perm(f"eventq.console_{right}")]
