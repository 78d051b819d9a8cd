"""Orders, and what was done for them."""

from __future__ import annotations

from django.db import models


class Order(models.Model):
    """One order."""

    id: models.BigAutoField[int, int] = models.BigAutoField(primary_key=True)
    number: models.CharField[str, str] = models.CharField(max_length=80, unique=True)

    class Meta:
        """As Django names it."""

        app_label = "shop"

    def __str__(self) -> str:
        """Its number."""
        return self.number


class Done(models.Model):
    """Something that was done for an order, and when."""

    id: models.BigAutoField[int, int] = models.BigAutoField(primary_key=True)
    number: models.CharField[str, str] = models.CharField(max_length=80)
    at: models.FloatField[float, float] = models.FloatField()

    class Meta:
        """As Django names it."""

        app_label = "shop"

    def __str__(self) -> str:
        """Its order's number."""
        return self.number
