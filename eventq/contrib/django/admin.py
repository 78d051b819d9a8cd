"""In Django's admin: each queue's numbers with the way to its console, and what was set aside."""

from __future__ import annotations

import time
from typing import Any

from django.conf import settings
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, QueryDict
from django.template.response import TemplateResponse
from django.urls import NoReverseMatch, reverse

from eventq.contrib.django.models import ConsoleRight, OutboxRecord
from eventq.contrib.django.settings import backend_at, own_aliases
from eventq.contrib.django.views import rights_of
from eventq.core.task import instant
from eventq.errors import EventqError

# The parameter of the list's that names a database.
USING = "using"
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


class DatabaseFilter(admin.SimpleListFilter):
    """Which outbox's rows are listed, where there are several; see `get_queryset`."""

    title = "database"
    parameter_name = USING

    def lookups(self, *_: object) -> list[tuple[str, str]]:
        """The databases that hold outboxes."""
        found = outbox_databases()
        return [(each, each) for each in found] if len(found) > 1 else []

    def queryset(self, _: object, queryset: QuerySet[OutboxRecord]) -> QuerySet[OutboxRecord]:
        """It is of that database already."""
        return queryset


@admin.register(OutboxRecord)
class OutboxRecordAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """Rows of the outbox, above all those that were set aside, to be relayed again."""

    list_display = ("key", "namespace", "made", "problem")
    list_filter = (("problem", admin.EmptyFieldListFilter), DatabaseFilter, "namespace")
    search_fields = ("key", "problem")
    readonly_fields = ("key", "namespace", "version", "made", "body", "problem")
    exclude = ("made_at",)
    actions = ("relay_again",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[OutboxRecord]:
        """The rows of one outbox's database: the one that the filter names, or else the first."""
        found = super().get_queryset(request)
        databases = outbox_databases()
        # A row's own page has the list's filters in one text.
        filters = QueryDict(request.GET.get("_changelist_filters"))
        chosen = request.GET.get(USING) or filters.get(USING)
        if chosen in databases:
            return found.using(chosen)
        return found.using(databases[0]) if databases else found

    def has_add_permission(self, request: HttpRequest) -> bool:  # noqa: ARG002 - Django's
        """Nobody: tasks make rows."""
        return False

    @admin.display(description="made at", ordering="made_at")
    def made(self, row: OutboxRecord) -> str:
        """When it was made."""
        try:
            return instant(row.made_at).isoformat(sep=" ", timespec="seconds")
        except TypeError:
            # SQLite keeps in a number's column what somebody has put there.
            return str(row.made_at)

    @admin.action(description="Relay again", permissions=["change"])
    def relay_again(self, request: HttpRequest, rows: QuerySet[OutboxRecord]) -> None:
        """Has rows that were set aside relayed, as if they were made now."""
        count = rows.exclude(problem=None).update(problem=None, made_at=time.time_ns() // 1_000)
        self.message_user(request, f"{count} will be relayed again.")


def outbox_databases() -> list[str]:
    """The databases that backends have their outboxes in, in the order of TASKS."""
    found = (backend_at(alias).settings.outbox for alias in own_aliases())
    return list(dict.fromkeys(each for each in found if each in settings.DATABASES))


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
