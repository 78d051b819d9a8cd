"""Which forms have been sent, so that each acts once however often it comes."""

from __future__ import annotations

import threading
from collections import OrderedDict

from eventq.web.acting import ActRefusedError, Done

FORMS_KEPT = 10_000


class SentForms:
    """The forms that have been sent lately, so that each acts once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._done: OrderedDict[str, Done | None] = OrderedDict()

    def begin(self, name: str) -> Done | None:
        """What this form has done, or None for a new one. Raises ActRefusedError while it acts."""
        with self._lock:
            if name in self._done:
                found = self._done[name]
                if found is None:
                    raise ActRefusedError(409, "This form was sent before, and is being done.")
                return found
            self._done[name] = None
            while len(self._done) > FORMS_KEPT:
                self._done.popitem(last=False)
        return None

    def end(self, name: str, done: Done) -> None:
        """The form has done this."""
        with self._lock:
            self._done[name] = done

    def forget(self, name: str) -> None:
        """The form has done nothing, and may be sent again."""
        with self._lock:
            self._done.pop(name, None)
