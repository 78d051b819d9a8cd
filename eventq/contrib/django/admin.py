"""In Django's admin: each queue's numbers with the way to its console, and what was set aside."""

from __future__ import annotations

import time
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import NoReverseMatch, reverse

from eventq.contrib.django.models import ConsoleRight, OutboxRecord
from eventq.contrib.django.settings import backend_at, own_aliases
from eventq.contrib.django.views import rights_of
from eventq.core.task import instant
from eventq.errors import EventqError

SEEN = ("ready", "scheduled", "leased", "completed", "expired", "cancelled")


@admin.register(ConsoleRight)
class QueueAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """One page: the queues of TASKS."""

    def has_module_permission(self, request: HttpRequest) -> bool:
        """Who may look."""
        return "view" in rights_of(request.user)

    def has_view_permission(self, request: HttpRequest, obj: object = None) -> bool:  # noqa: ARG002
        """As the module."""
        return self.has_module_permission(request)

    def has_change_permission(self, request: HttpRequest, obj: object = None) -> bool:  # noqa: ARG002
        """There is nothing to change."""
        return False

    def has_add_permission(self, request: HttpRequest) -> bool:  # noqa: ARG002 - Django's
        """Nobody: queues stand in the settings."""
        return False

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """The queues' numbers."""
        if not self.has_module_permission(request):
            return super().changelist_view(request, extra_context)
        values = {
            **self.admin_site.each_context(request),
            "title": "Queues",
            "names": SEEN,
            "queues": [_shown(alias) for alias in own_aliases()],
            **(extra_context or {}),
        }
        return TemplateResponse(request, "admin/eventq/queues.html", values)


@admin.register(OutboxRecord)
class OutboxRecordAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """Rows of the outbox, above all those that were set aside, to be relayed again."""

    list_display = ("key", "namespace", "made", "problem")
    list_filter = (("problem", admin.EmptyFieldListFilter), "namespace")
    search_fields = ("key", "problem")
    readonly_fields = ("key", "namespace", "version", "made", "body", "problem")
    exclude = ("made_at",)
    actions = ("relay_again",)

    def has_add_permission(self, request: HttpRequest) -> bool:  # noqa: ARG002 - Django's
        """Nobody: tasks make rows."""
        return False

    @admin.display(description="made at", ordering="made_at")
    def made(self, row: OutboxRecord) -> str:
        """When it was made."""
        return instant(row.made_at).isoformat(sep=" ", timespec="seconds")

    @admin.action(description="Relay again", permissions=["change"])
    def relay_again(self, request: HttpRequest, rows: QuerySet[OutboxRecord]) -> None:
        """Has rows that were set aside relayed, as if they were made now."""
        count = rows.exclude(problem=None).update(problem=None, made_at=time.time_ns() // 1_000)
        self.message_user(request, f"{count} will be relayed again.")


def _shown(alias: str) -> dict[str, Any]:
    """A queue's numbers, or why there are none, and where its console is."""
    try:
        url = reverse("eventq:console", args=[alias])
    except NoReverseMatch:
        url = None
    try:
        stats = backend_at(alias).queue.stats()
    except EventqError as error:
        return {"alias": alias, "url": url, "problem": str(error)}
    return {"alias": alias, "url": url, "counts": [getattr(stats, name) for name in SEEN]}
