"""A report of a period as text: numbers, and a table for each question."""

from __future__ import annotations

from typing import Any

from eventq.audit.report import Report
from eventq.audit.signs import Silence
from eventq.catalog.counts import Times
from eventq.cli.output import Listing, Pairs
from eventq.cli.text import short, time_text, visible
from eventq.cli.views.finding import span_text
from eventq.core.durations import brief_duration

ERROR_CHARACTERS = 60
BAR_CHARACTERS = 30


def took(length_us: int | None) -> str:
    """A length of time; a hyphen for none."""
    return "-" if length_us is None else brief_duration(length_us)


def times_text(times: Times) -> str:
    """How times are spread, on one line."""
    if not times.count:
        return "-"
    return f"half within {took(times.median)}, 95% {took(times.p95)}, 99% {took(times.p99)}"


def report_pairs(report: Report) -> Pairs:
    """The period in numbers."""
    return [
        ("from", time_text(report.since)),
        ("to", time_text(report.until)),
        ("events", span_text(report.after, report.seq).removeprefix("events ")),
        ("open before", report.open_before),
        ("created", report.created),
        ("completed", report.completed),
        ("expired", report.expired),
        ("cancelled", report.cancelled),
        ("open after", report.open_after),
        ("attempts", report.started),
        ("failed", report.failed),
        ("of these lapsed", report.lapsed),
        ("retried", report.retried),
        ("refused", report.refused),
        ("waited", times_text(report.waited)),
        ("ran", times_text(report.ran)),
    ]


def sections(report: Report) -> list[tuple[str, list[Any], Listing]]:
    """The tables: the title of each, its rows, and how they are listed."""
    most = max((each.started for each in report.minutes), default=0)
    return [
        ("busiest minutes", report.busiest, _minutes(most)),
        ("by name", report.names, NAMES),
        ("nodes", report.nodes, NODES),
        ("silent nodes", report.silences, _silences(report.until)),
        ("ran twice", report.ran_twice, TWICE),
        ("failing most", report.failures, FAILURES),
        ("waited longest", report.waits, WAITS),
        ("slowest attempts", report.runs, RUNS),
        ("by hand", report.by_hand, BY_HAND),
    ]


def _minutes(most: int) -> Listing:
    return Listing(
        ("MINUTE", lambda each: time_text(each.at)),
        ("CREATED", "created"),
        ("STARTED", "started"),
        ("COMPLETED", "completed"),
        ("FAILED", "failed"),
        ("", lambda each: "#" * (-(-BAR_CHARACTERS * each.started // most) if most else 0)),
    )


def _name(name: str | None) -> str:
    return "-" if name is None else visible(name)


def _error(type_: str, message: str) -> str:
    return short(visible(f"{type_}: {message}" if message else type_), ERROR_CHARACTERS)


def _behind(wait: Any) -> str:  # noqa: ANN401 - a LongWait
    if not wait.leases:
        return "no other task was leased meanwhile"
    others = "1 lease of another task" if wait.leases == 1 else f"{wait.leases} leases of others"
    return f"{others}, {wait.most_leases} of them named {visible(wait.most_of)}"


def _silences(until: int) -> Listing:
    def lasted(silence: Silence) -> str:
        if silence.until is None:
            return f"{brief_duration(until - silence.since)} or more"
        return brief_duration(silence.until - silence.since)

    return Listing(
        ("NODE", lambda each: visible(each.node)),
        ("SINCE", lambda each: time_text(each.since)),
        ("UNTIL", lambda each: time_text(each.until)),
        ("FOR", lasted),
        ("LEASES", "leases"),
    )


NAMES = Listing(
    ("NAME", lambda each: _name(each.name)),
    ("CREATED", "created"),
    ("COMPLETED", "completed"),
    ("FAILED", "failed"),
    ("EXPIRED", "expired"),
    ("CANCELLED", "cancelled"),
    ("WAITED 95%", lambda each: took(each.waited.p95)),
    ("RAN 95%", lambda each: took(each.ran.p95)),
)
NODES = Listing(
    ("NODE", lambda each: visible(each.node)),
    ("STARTED", "started"),
    ("LAPSED", "lapsed"),
    ("FIRST SIGN", lambda each: time_text(each.first_at)),
    ("LAST SIGN", lambda each: time_text(each.last_at)),
    ("LEFT", lambda each: "yes" if each.has_left else "no"),
)
TWICE = Listing(
    ("KEY", lambda each: visible(each.key)),
    ("NAME", lambda each: _name(each.name)),
    ("LATE FROM", lambda each: visible(each.node)),
    ("AT", lambda each: time_text(each.at)),
    ("OUTCOME", "outcome"),
    ("AGAIN ON", lambda each: visible(each.again_on)),
)
FAILURES = Listing(
    ("FAILURES", "failures"),
    ("LAST TASK", lambda each: visible(each.last_task)),
    ("LAST AT", lambda each: time_text(each.last_at)),
    ("ERROR", lambda each: _error(each.type, each.message)),
    ("PLACE", lambda each: visible(each.place) or "-"),
    elastic=2,
)
WAITS = Listing(
    ("KEY", lambda each: visible(each.key)),
    ("NAME", lambda each: _name(each.name)),
    ("READY", lambda each: time_text(each.ready_at)),
    ("WAITED", lambda each: took(each.waited_us)),
    ("BEHIND", _behind),
)
RUNS = Listing(
    ("KEY", lambda each: visible(each.key)),
    ("NAME", lambda each: _name(each.name)),
    ("ATTEMPT", "attempt"),
    ("RAN", lambda each: took(each.ran_us)),
    ("OUTCOME", "outcome"),
    ("STARTED", lambda each: time_text(each.started_at)),
    ("NODE", lambda each: visible(each.node)),
)
BY_HAND = Listing(
    ("AT", lambda each: time_text(each.at)),
    ("KIND", "kind"),
    ("KEY", lambda each: "-" if each.key is None else visible(each.key)),
    ("BY", lambda each: "-" if each.by is None else visible(each.by)),
    ("VIA", "via"),
    ("REASON", lambda each: visible(each.reason) or "-"),
)
