"""The log of the page of recipes: few tasks, at instants that can be reckoned with in one's head.

``python -m tests.recipes`` writes it to the page's side; a test compares the two.
"""

from __future__ import annotations

from pathlib import Path

from msgspec import Raw

from eventq.core.command import NEW, Draft
from eventq.core.durations import SECOND_US
from eventq.core.events import Completed, Created, Expired, Failed, Leased, Refused, Retried
from eventq.core.projection import Projection
from eventq.core.values import LAPSED, ErrorInfo, Policy
from eventq.eventlog import EventLog, open_log
from tests.driver import record

PAGE = Path(__file__).parent.parent / "docs" / "how-to" / "recipes.md"
LOG = PAGE.with_suffix(".jsonl")

# 2030-01-01T11:00:00Z; all else is in seconds from there.
BEGIN_US = 1_893_495_600 * SECOND_US
TTL_US = 30 * SECOND_US
POLICY = Policy("constant", 10 * SECOND_US, max_retries=1)
WRONG = ErrorInfo("ValueError", "not a picture")
LAPSE = ErrorInfo(LAPSED, "node web2-1-00000002 stopped renewing")
WEB1, WEB2 = "web1-1-00000001", "web2-1-00000002"


def at(seconds: int) -> int:
    """The instant so long after the beginning."""
    return BEGIN_US + seconds * SECOND_US


def new(kind: str) -> Draft:
    """A task of a kind; films come first."""
    tags = Raw(b'{"kind":"%s"}' % kind.encode())
    return (NEW, Created(POLICY, priority=int(kind == "film"), tags=tags))


def leased(attempt: int, worker: str) -> Leased:
    """The beginning of an attempt."""
    return Leased(attempt, worker, TTL_US)


# Two pictures and a film. The second picture is none; the film's node lapses, yet goes on, so the
# film is made twice. An hour later come another picture, and a film that nobody has begun.
STORY: list[tuple[int, list[Draft]]] = [
    (0, [new("picture"), new("picture"), new("film")]),
    (60, [(3, leased(1, WEB2)), (1, leased(1, WEB1))]),
    (62, [(2, leased(1, WEB1)), (1, Completed(5))]),
    (64, [(2, Failed(6, WRONG)), (2, Retried(at(74)))]),
    (74, [(2, leased(2, WEB1))]),
    (76, [(2, Failed(10, WRONG)), (2, Expired("max_retries"))]),
    (120, [(3, Failed(4, LAPSE)), (3, Retried(at(120)))]),
    (121, [(3, leased(2, WEB1))]),
    (150, [(3, Refused(4, WEB2, "completed"))]),
    (181, [(3, Completed(15))]),
    (3600, [new("picture")]),
    (3610, [(18, leased(1, WEB2))]),
    (3613, [(18, Completed(19))]),
    (3660, [new("film")]),
]


def fill(log: EventLog) -> None:
    """Appends the story to an empty log."""
    projection = Projection(log.namespace)
    for seconds, drafts in STORY:
        record(log, projection, drafts, now=at(seconds))


def main() -> None:
    """Writes the file beside the page anew."""
    LOG.unlink(missing_ok=True)
    log = open_log(f"file:///{LOG}", namespace="default")
    fill(log)
    log.close()


if __name__ == "__main__":
    main()
