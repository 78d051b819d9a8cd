"""``queue``: what ``manage.py eventq run`` runs, in its process or in children of it.

To be imported for that alone: it sets Django up, and opens the queue of the backend that the
environment names.
"""

from __future__ import annotations

import os

import django

from eventq.contrib.django.settings import BACKEND_ENV, backend_at

django.setup()
queue = backend_at(os.environ.get(BACKEND_ENV) or "default").queue
