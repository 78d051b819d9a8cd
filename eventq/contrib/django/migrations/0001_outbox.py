"""Makes the outbox's table, with what tells relays of a commit on PostgreSQL."""

from __future__ import annotations

from typing import ClassVar

from django.apps.registry import Apps
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

from eventq.contrib.django.models import RIGHTS
from eventq.contrib.outbox.sql import TELLING


def tell(_: Apps, editor: BaseDatabaseSchemaEditor) -> None:
    """Has the table tell of new rows, where that can be."""
    if editor.connection.vendor == "postgresql":
        for statement in TELLING:
            editor.execute(statement)


def tell_no_more(_: Apps, editor: BaseDatabaseSchemaEditor) -> None:
    """Takes the function back; the trigger goes with its table."""
    if editor.connection.vendor == "postgresql":
        editor.execute("DROP FUNCTION IF EXISTS eventq_outbox_tell() CASCADE")


class Migration(migrations.Migration):
    """The first one."""

    initial = True
    dependencies: ClassVar = []
    operations: ClassVar = [
        migrations.CreateModel(
            name="OutboxRecord",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("namespace", models.TextField()),
                ("key", models.TextField(db_index=True)),
                ("version", models.IntegerField()),
                ("made_at", models.BigIntegerField()),
                ("body", models.TextField()),
                ("problem", models.TextField(null=True)),
            ],
            options={
                "db_table": "eventq_outbox",
                "default_permissions": ("view", "change"),
                "verbose_name": "task set aside",
                "verbose_name_plural": "tasks set aside",
            },
        ),
        migrations.CreateModel(
            name="ConsoleRight",
            fields=[("id", models.BigAutoField(primary_key=True, serialize=False))],
            options={
                "managed": False,
                "default_permissions": (),
                "permissions": [(f"console_{right}", f"Console: {right}") for right in RIGHTS],
                "verbose_name": "queue",
                "verbose_name_plural": "queues",
            },
        ),
        migrations.RunPython(tell, tell_no_more),
    ]
