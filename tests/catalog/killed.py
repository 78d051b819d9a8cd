"""A process that changes many tasks of a log, to be killed at any moment: ``URL [NUMBER]``."""

from __future__ import annotations

import sys

from eventq import Queue

# So that there are many moments between two commits.
PORTION = 20


def main() -> None:
    """Begins a change, or finishes one, in small portions."""
    from eventq.catalog import plan  # noqa: PLC0415

    plan.PORTION = PORTION
    with Queue(sys.argv[1], create=False) as queue:
        if len(sys.argv) > 2:
            queue.finish_bulk(int(sys.argv[2]))
        else:
            queue.select(state="cancelled").retry().apply(by="ada")


if __name__ == "__main__":
    main()
