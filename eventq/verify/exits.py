"""How failed attempts may have ended: with their node, or with a process of their own."""

from __future__ import annotations

from eventq.core.values import ProcessExit
from eventq.verify.terms import BrokenError

# The type of the error of an attempt whose node stopped renewing.
LAPSE = "LeaseLapsed"


def check_exit(found: ProcessExit | None) -> None:
    """A process ends once, and has some memory. Raises BrokenError."""
    if found is None:
        return
    if found.code is not None and found.signal is not None:
        raise BrokenError("exit", f"ended by code {found.code} and by {found.signal}")
    for name in ("code", "killed_after_us", "peak_bytes", "memory_bytes"):
        value = getattr(found, name)
        if value is not None and value < 0:
            raise BrokenError("exit", f"{name} is {value}")
