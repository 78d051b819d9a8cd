"""The context variables of each attempt, among them the decimal context: copies of the run's.

Nothing is kept of them when the attempt ends.
"""

from __future__ import annotations

import sys
from contextvars import Context, copy_context


class RunVariables:
    """The context variables that the caller of `run` had, and copies of them for attempts."""

    def __init__(self) -> None:
        self._run = copy_context()
        decimal = sys.modules.get("decimal")
        # Copying a context copies names, not values, and a worker changes this value in place.
        self._decimals = [
            (variable, value)
            for variable, value in self._run.items()
            if decimal is not None and isinstance(value, decimal.Context)
        ]

    def copy(self) -> Context:
        """A context for one attempt: what it sets there is seen by no other."""
        context = self._run.copy()
        for variable, value in self._decimals:
            context.run(variable.set, value.copy())
        return context
