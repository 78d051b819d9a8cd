"""The fold of a commit that is still on its way into the log; it never outlives a refusal."""

from __future__ import annotations

from eventq.core.events import Commit
from eventq.core.projection import Mark, Projection
from eventq.core.task import Task


class FoldAhead:
    """Folds a commit while its log waits for the disk or the network, on whichever thread.

    Called at most once. Then either the commit arrives, and `after` is what its fold gave, or it
    does not, and `take_back` undoes it. The projection is nobody else's meanwhile.
    """

    def __init__(self, projection: Projection, commit: Commit) -> None:
        self._projection = projection
        self._commit = commit
        self._mark: Mark | None = None
        self._error: Exception | None = None
        self._after: list[Task | None] | None = None

    def __call__(self) -> None:
        """Folds the commit; never raises."""
        self._mark = self._projection.mark(self._commit.tasks)
        try:
            self._after = self._projection.apply(self._commit)
        except Exception as error:  # noqa: BLE001 - raised by `after`, in the thread that asks
            self._error = error

    def after(self) -> list[Task | None]:
        """The task after each event, folded now if it has not been. Raises as the fold did."""
        if self._error is not None:
            raise self._error
        return self._projection.apply(self._commit) if self._after is None else self._after

    def take_back(self) -> bool:
        """Makes the projection what it was; tells whether that can be done."""
        if self._error is not None:
            return False  # Half a fold.
        if self._mark is not None:
            self._projection.take_back(self._mark)
        return True


def fold_ahead(projection: Projection | None, commit: Commit) -> FoldAhead | None:
    """The fold of a commit that is right behind the projection; None for another one."""
    if projection is None or projection.seal != commit.prev:
        return None
    return FoldAhead(projection, commit)
