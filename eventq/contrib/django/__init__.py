"""eventq under Django: a backend for its tasks, whose tasks in `atomic()` go by the outbox.

The package is an application of `INSTALLED_APPS`: it imports no models.
"""

from eventq.contrib.django.backend import Backend
from eventq.contrib.django.options import EventqTask, options

__all__ = ["Backend", "EventqTask", "options"]
