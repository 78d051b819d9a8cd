"""The shop as an application."""

from __future__ import annotations

from django.apps import AppConfig


class ShopConfig(AppConfig):
    """Its only one."""

    name = "tests.contrib.django.site.shop"
    label = "shop"
