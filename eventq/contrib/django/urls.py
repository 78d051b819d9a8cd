"""Where the console is: ``path("queue/", include("eventq.contrib.django.urls"))``."""

from __future__ import annotations

from django.urls import path
from django.views.generic import RedirectView

from eventq.contrib.django.views import console

app_name = "eventq"
urlpatterns = [
    path("", RedirectView.as_view(url="default/"), name="start"),
    path("<str:alias>/", console, name="console"),
    path("<str:alias>/<path:path>", console, name="page"),
]
