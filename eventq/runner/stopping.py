"""How far a run has been asked to stop, and why; nothing is ended here."""

from __future__ import annotations

from eventq.errors import LogTooNewError, LoopEndedError, WorkersStuckError
from eventq.host.bell import Bell
from eventq.host.clock import Clock
from eventq.host.logger import SafeLogger

logger = SafeLogger("eventq.runner")


class Stopping:
    """Asked once, a run ends what it has begun; asked twice or after the grace, it breaks it off.

    May be asked from any thread, and from a signal handler.
    """

    def __init__(self, bell: Bell, clock: Clock, *, grace_s: float) -> None:
        self.asked_count = 0
        self.ends_s: float | None = None
        """When the grace period ends, once the run is winding down. Monotonic seconds."""
        self.cause: LoopEndedError | WorkersStuckError | LogTooNewError | None = None
        """What the run raises at its end."""
        self._bell = bell
        self._clock = clock
        self._grace_s = grace_s

    def ask(self) -> None:
        """Asks to stop; the second call forces."""
        self.asked_count += 1
        self._bell.ring()

    def begin(self, *, running_count: int) -> None:
        """Begins the grace period; may come again."""
        if self.ends_s is None:
            self.ends_s = self._clock.monotonic() + self._grace_s
            logger.info("stopping", extra={"running": running_count})

    def is_forced(self) -> bool:
        """Whether stopping bears no more waiting: asked twice, or past the grace period."""
        late = self.ends_s is not None and self._clock.monotonic() >= self.ends_s
        return late or self.asked_count > 1

    def give_up(self, error: WorkersStuckError | LogTooNewError) -> None:
        """Asks to stop, since nothing more can be done here: the run then raises the error.

        A run that has been asked already ends as it was asked to.
        """
        if not self.asked_count:
            self.cause = error
            self.ask()

    def lose_loop(self, error: LoopEndedError) -> None:
        """Forces the stop: the event loop has ended for good. The run then raises the error."""
        if not isinstance(self.cause, LoopEndedError):
            self.cause = error
            values = {"error": error.problem}
            logger.error("the event loop has ended: %(error)s", values, extra=values)
            self.ask()
            self.ask()
