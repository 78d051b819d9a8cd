"""The console: a queue in the browser, now and at any moment of its past. Needs ``eventq[web]``."""

from eventq.web.access import Person, Right
from eventq.web.app import app

__all__ = ["Person", "Right", "app"]
