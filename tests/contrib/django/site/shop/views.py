"""A view that makes a task in the transaction of its order."""

from __future__ import annotations

import time

from django.db import transaction
from django.http import HttpRequest, JsonResponse

from tests.contrib.django.site.shop.models import Order
from tests.contrib.django.site.shop.tasks import confirm


def order(request: HttpRequest, number: str) -> JsonResponse:
    """Makes an order and its confirmation; says when it was committed."""
    fails = "fails" in request.GET
    try:
        with transaction.atomic():
            Order.objects.create(number=number)
            result = confirm.enqueue(number)
            if fails:
                raise LookupError(number)
    except LookupError:
        return JsonResponse({"rolled_back": number}, status=409)
    return JsonResponse({"task": result.id, "committed_at": time.time()})
