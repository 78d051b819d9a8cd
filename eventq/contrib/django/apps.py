"""The application `eventq.contrib.django`: its checks are known once it is installed."""

from __future__ import annotations

from django.apps import AppConfig
from django.core.checks import Tags, register
from django.utils.translation import gettext_lazy

from eventq.contrib.django.checks import check_limits, check_tables


class EventqConfig(AppConfig):
    """The outbox's table, the rights of the console, its page in the admin."""

    name = "eventq.contrib.django"
    label = "eventq"
    verbose_name = gettext_lazy("eventq")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Registers what looks into databases and logs, which is done only where that is asked."""
        register(check_tables, Tags.database)
        register(check_limits, Tags.database)
