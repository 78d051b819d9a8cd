"""A catalog that follows its log for as long as a program lives."""

from __future__ import annotations

from collections.abc import Callable

from eventq.catalog.catalog import Catalog
from eventq.host.bell import Bell

# Who heard no ring looks all the same after this many seconds.
LOOK_S = 0.5


def follow_log(catalog: Catalog, goes_on: Callable[[], bool] = lambda: True) -> None:
    """Keeps the catalog at the log's end, until it is interrupted or told not to go on.

    Raises CatalogError, as where the disk is full, and LogError.
    """
    bell = Bell()
    watch = catalog.log.watch(bell.ring)
    try:
        while goes_on():
            catalog.catch_up()
            # Not without limit: nobody rings when the log is closed.
            bell.wait(LOOK_S)
    finally:
        watch.close()
