"""A view that makes a task in the transaction of its order."""

from __future__ import annotations

import time

from django.db import transaction
from django.http import HttpRequest, JsonResponse

from tests.contrib.django.site.shop.models import Order
from tests.contrib.django.site.shop.tasks import confirm


def order(request: HttpRequest, number: str) -> JsonResponse:
    """Makes an order and its confirmation; says when it was committed."""
    with transaction.atomic():
        Order.objects.create(number=number)
        result = confirm.enqueue(number)
        transaction.set_rollback("fails" in request.GET)
    return JsonResponse({"task": result.id, "committed_at": time.time()})
