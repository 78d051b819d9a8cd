"""The pages of the site."""

from __future__ import annotations

from django.contrib import admin
from django.urls import include, path

from tests.contrib.django.site.shop.views import order

urlpatterns = [
    path("admin/", admin.site.urls),
    path("queue/", include("eventq.contrib.django.urls")),
    path("order/<str:number>/", order),
]
