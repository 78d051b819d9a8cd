"""What hypothesis draws for runs of the queue: orders, nodes, ends of attempts; all of it small.

Instants are drawn as distances from now; whoever uses an order adds the two.
"""

from __future__ import annotations

from typing import Literal

from hypothesis import strategies as st
from msgspec import Raw
from msgspec.structs import replace

from eventq.core.commits import AnyTold
from eventq.core.create import NewTask
from eventq.core.events import Noted, Progressed, Saved
from eventq.core.queue_events import Limited, Shared
from eventq.core.settle import Outcome
from eventq.core.task import PLAIN_ROUTE, Route
from eventq.core.values import (
    NO_JITTER,
    Bucket,
    ErrorInfo,
    IfFailed,
    LogLine,
    Policy,
    Role,
    Scope,
)

# Microseconds stand in for hours: small numbers meet each other far more often.
START = 1_000
TTL = 30

workers = st.sampled_from(["anna", "bert", "cleo"])
indexes = st.integers(0, 1_000)
rooms = st.integers(1, 8)
draws = st.sampled_from([0.0, 0.25, 0.999])
tag_texts = st.sampled_from([b"{}", b'{"size":"1"}', b'{"size":"2"}'])
lanes = st.sampled_from(["heavy", "mail"])
# What an edit names; None leaves a task in its lane.
other_lanes = st.none() | st.just("default") | lanes
edits = st.fixed_dictionaries(
    {
        "priority": st.none() | st.integers(-1, 1),
        "tags_json": st.none() | tag_texts,
        "lane": other_lanes,
    }
)
bulk_edits = st.fixed_dictionaries({"priority": st.integers(-1, 1), "lane": other_lanes})
policies = st.builds(
    Policy,
    backoff=st.sampled_from(["constant", "linear", "exponential"]),
    backoff_us=st.integers(0, 6),
    backoff_cap_us=st.none() | st.integers(0, 8),
    # No other zero: eventq writes none, and leaves out what is just this one.
    jitter=st.sampled_from([NO_JITTER, NO_JITTER, 0.5, 1.0]),
    max_retries=st.none() | st.integers(0, 2),
    max_age_us=st.none() | st.none() | st.integers(12, 40),
    max_lapses=st.none() | st.none() | st.integers(0, 2),
)
names = st.sampled_from(["a", "b", "b.c"])
# Mostly plain, so that plain nodes have something to do.
routes = st.one_of(
    st.just(PLAIN_ROUTE),
    st.builds(Route, st.none() | names, st.none() | lanes),
    st.builds(Route, names, st.none(), st.just(("telepathy",))),
)
buckets = st.lists(
    st.sampled_from(
        [
            Bucket("smtp"),
            Bucket("smtp"),
            Bucket("smtp", "1"),
            Bucket("ocr"),
            Bucket("exclusive", "sun"),
            Bucket("exclusive", "moon"),
        ]
    ),
    max_size=2,
    unique=True,
).map(lambda chosen: tuple(sorted(chosen, key=lambda b: (b.limit, b.value or ""))))
limited_routes = st.builds(
    Route, st.none() | names, st.none() | lanes, st.just(("limits",)), buckets
)
bounds = st.builds(
    Limited,
    limit=st.sampled_from(["smtp", "ocr"]),
    running=st.none() | st.integers(1, 2),
    rate=st.none() | st.integers(1, 2),
    per_us=st.sampled_from([5, 12]),
    per=st.sampled_from([None, "size"]),
).map(lambda body: body if body.rate else replace(body, per_us=None))
scopes = st.sampled_from(
    [
        Scope(),
        Scope(lane="heavy"),
        Scope(lane="default"),
        Scope(name="b*"),
        Scope(limit="smtp"),
        Scope(limit="exclusive", value="sun"),
        Scope(tags=(("size", '"1"'),)),
        Scope(lane="default", tags=(("size", '"2"'),)),
    ]
)
turns = st.builds(
    Shared,
    per=st.sampled_from(["size", "size", None]),
    weights=st.sampled_from([{}, {"1": 3}]),
    lifted=st.sampled_from([False, False, False, True]),
)
patterns = st.lists(st.sampled_from(["a", "b", "b.*", "*"]), max_size=2).map(tuple)
slots = st.none() | st.dictionaries(
    st.sampled_from(["default", "heavy", "mail"]), st.integers(0, 2), min_size=1
)
free_orders = st.builds(
    NewTask,
    tags_json=tag_texts,
    policy=policies,
    priority=st.integers(-1, 1),
    scheduled_at=st.none() | st.integers(-10, 10),
    expires_at=st.none() | st.none() | st.integers(11, 40),
    route=routes,
)
delayed_orders = st.builds(
    NewTask, tags_json=tag_texts, policy=policies, delay_us=st.integers(0, 10)
)
# Few different contents, so that both the same and another one come again under a key.
keyed_orders = st.builds(
    NewTask,
    tags_json=st.sampled_from([b'{"a":1,"b":2}', b'{"b":2,"a":1}', b'{"a":2}']),
    policy=st.sampled_from([Policy("linear", 1), Policy("linear", 1, max_age_us=40)]),
    key=st.sampled_from(["red", "green"]),
    delay_us=st.none() | st.just(3),
    route=st.sampled_from([PLAIN_ROUTE, PLAIN_ROUTE, Route("a"), Route("a", "heavy")]),
    secret=st.sampled_from([(), (), ("a",)]),
)
limited_orders = st.builds(
    NewTask,
    tags_json=tag_texts,
    policy=policies,
    priority=st.integers(0, 1),
    route=limited_routes,
    share=st.none() | st.none() | st.sampled_from(["1", "big"]),
    secret=st.sampled_from([(), (), ("host",)]),
)
unique_orders = st.builds(
    NewTask,
    tags_json=tag_texts,
    policy=policies,
    scheduled_at=st.none() | st.integers(-10, 20),
    unique=st.sampled_from(["sun", "moon"]),
    trace=st.none() | st.just("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    on_duplicate=st.sampled_from(["return", "replace", "replace", "raise"]),
)
# Some of these can never run, which refuses the whole call.
doubtful_orders = st.builds(
    NewTask,
    tags_json=tag_texts,
    policy=st.builds(Policy, st.just("linear"), st.just(1), max_age_us=st.integers(0, 4)),
    delay_us=st.integers(0, 4),
    expires_at=st.none() | st.integers(-2, 4),
)
orders = st.one_of(
    free_orders, free_orders, limited_orders, delayed_orders, keyed_orders, unique_orders
)
# What becomes of a task when one fails that it comes after.
rules: st.SearchStrategy[IfFailed] = st.sampled_from(["cancel", "cancel", "run", "hold"])
member = st.tuples(free_orders, st.lists(indexes, max_size=2), rules, st.just("member"))
finaliser: st.SearchStrategy[tuple[NewTask, list[int], IfFailed, Role]] = st.tuples(
    free_orders, st.just([]), st.just("cancel"), st.sampled_from(["on_failure", "finally"])
)
flows = st.tuples(st.lists(member, min_size=1, max_size=4), st.lists(finaliser, max_size=3)).map(
    lambda parts: [*parts[0], *parts[1]]
)
OutcomeKind = Literal["completed", "failed", "cancelled", "released"]
words: st.SearchStrategy[AnyTold] = st.one_of(
    st.builds(
        Progressed,
        st.just(0),
        done=st.integers(0, 3),
        total=st.none() | st.just(3),
        note=st.sampled_from(["", "half"]),
    ),
    st.builds(Saved, st.just(0), value=st.sampled_from([Raw(b"1"), Raw(b"null")])),
    st.just(Noted(0, lines=(LogLine(1, "info", "hello"),))),
)
# An attempt among those that run, what it makes with its completion, and what it says last.
families = st.tuples(
    indexes,
    st.lists(
        st.one_of(keyed_orders, unique_orders, free_orders, limited_orders, doubtful_orders),
        max_size=3,
    ),
    st.lists(words, max_size=2),
)
kinds = st.sampled_from(["completed", "failed", "failed", "cancelled", "released"])
ends = st.tuples(indexes, kinds, st.integers(0, 3), st.none() | st.integers(0, 5), draws)


def ended(number: int, fence: int, kind: OutcomeKind, delay_us: int | None, draw: float) -> Outcome:
    """The end of an attempt."""
    error = ErrorInfo("OSError", "disk") if kind == "failed" else None
    fatal = kind == "failed" and delay_us == 5
    result = b"[1]" if kind == "completed" and number % 2 else None
    return Outcome(
        number,
        fence,
        kind,
        result,
        error=error,
        delay_us=delay_us,
        draw=draw,
        reason="pointless",
        fatal=fatal,
    )
