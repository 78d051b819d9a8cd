"""Stored events: golden texts for each kind, and what a reader does with what it does not know."""

from __future__ import annotations

import typing

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from eventq.core.commits import (
    KINDS,
    AnyBody,
    Unknown,
    decode_at,
    decode_bodies,
    encode_bodies,
    events_of,
)
from eventq.core.definitions import Definition
from eventq.core.events import (
    Cancelled,
    Completed,
    Created,
    Expired,
    Failed,
    Leased,
    Noted,
    Progressed,
    Refused,
    Released,
    Reopening,
    Restoring,
    Retried,
    Revived,
    Saved,
    Updated,
)
from eventq.core.queue_events import (
    Bulk,
    BulkEnded,
    Followed,
    Joined,
    Left,
    Limited,
    Paused,
    Planned,
    Renewed,
    Resumed,
    Shared,
    Ticked,
    Unfollowed,
    Unplanned,
)
from eventq.core.timing import DueRules, Timing
from eventq.core.values import Bucket, Call, ErrorInfo, LogLine, Policy, Predecessor, Scope
from eventq.errors import LogCorruptError
from tests.driver import sealed

PLAIN = Policy("linear", 10_000_000)
FULL = Policy("exponential", 1, 2, 0.5, 3, 4, 5)
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01 a=1"
PLAIN_TEXT = '{"backoff":"linear","backoff_us":10000000}'
FULL_TEXT = (
    '{"backoff":"exponential","backoff_us":1,"backoff_cap_us":2,"jitter":0.5,'
    '"max_retries":3,"max_age_us":4,"deadline_us":5}'
)
ERROR = ErrorInfo("OSError", "disk\nfull", "Traceback")
ERROR_TEXT = '{"type":"OSError","message":"disk\\nfull","traceback":"Traceback"}'

# Logs hold these texts for ever. One that fails here says: an old log would read differently.
GOLDEN: list[tuple[AnyBody, str]] = [
    (Created(PLAIN), '{"kind":"created","policy":' + PLAIN_TEXT + "}"),
    (
        Created(FULL, "k", -2, Raw(b'{"a":"1"}'), 7, 8),
        '{"kind":"created","policy":' + FULL_TEXT + ',"key":"k","priority":-2,'
        '"tags":{"a":"1"},"scheduled_at":7,"expires_at":8}',
    ),
    (
        Created(PLAIN, name="mail.send", lane="heavy", needs=("limits",)),
        '{"kind":"created","policy":'
        + PLAIN_TEXT
        + ',"name":"mail.send","lane":"heavy","needs":["limits"]}',
    ),
    (
        Created(PLAIN, repeats=12),
        '{"kind":"created","policy":' + PLAIN_TEXT + ',"repeats":12}',
    ),
    (
        Created(PLAIN, made_by=12),
        '{"kind":"created","policy":' + PLAIN_TEXT + ',"made_by":12}',
    ),
    (
        Created(
            PLAIN,
            needs=("after",),
            after=(Predecessor(3), Predecessor(4, "failed")),
            if_failed="run",
            given={"text": 3},
            flow=5,
        ),
        '{"kind":"created","policy":' + PLAIN_TEXT + ',"needs":["after"],"after":[[3,null],'
        '[4,"failed"]],"if_failed":"run","given":{"text":3},"flow":5}',
    ),
    (
        Created(PLAIN, flow=9, flow_key="doc:42", role="finally"),
        '{"kind":"created","policy":'
        + PLAIN_TEXT
        + ',"flow":9,"flow_key":"doc:42","role":"finally"}',
    ),
    (
        Created(Policy("linear", 10_000_000, max_lapses=2)),
        '{"kind":"created","policy":' + PLAIN_TEXT[:-1] + ',"max_lapses":2}}',
    ),
    (Leased(1, "n", 30), '{"kind":"leased","attempt":1,"worker":"n","ttl_us":30}'),
    (Completed(9), '{"kind":"completed","fence":9}'),
    (Completed(9, Raw(b"null")), '{"kind":"completed","fence":9,"result":null}'),
    (Completed(9, Raw(b"[1]")), '{"kind":"completed","fence":9,"result":[1]}'),
    (Completed(9, made=2), '{"kind":"completed","fence":9,"made":2}'),
    (Progressed(9), '{"kind":"progressed","fence":9,"skip":true}'),
    (
        Progressed(9, done=1, total=2.5, note="half"),
        '{"kind":"progressed","fence":9,"skip":true,"done":1,"total":2.5,"note":"half"}',
    ),
    (Saved(9, value=Raw(b"[1]")), '{"kind":"saved","fence":9,"skip":true,"value":[1]}'),
    (
        Noted(9, lines=(LogLine(7, "info", "hello"),)),
        '{"kind":"noted","fence":9,"skip":true,"lines":[[7,"info","hello"]]}',
    ),
    (
        Completed(9, result_missing="too long"),
        '{"kind":"completed","fence":9,"result_missing":"too long"}',
    ),
    (Failed(9, ERROR), '{"kind":"failed","fence":9,"error":' + ERROR_TEXT + "}"),
    (Failed(9, ErrorInfo("E")), '{"kind":"failed","fence":9,"error":{"type":"E"}}'),
    (
        Failed(9, ErrorInfo("E"), "ValueError"),
        '{"kind":"failed","fence":9,"error":{"type":"E"},"rule":"ValueError"}',
    ),
    (Retried(7), '{"kind":"retried","scheduled_at":7}'),
    (
        Retried(7, Reopening("expired", PLAIN, 1, 2), by="me", bulk=3, undoes=2),
        '{"kind":"retried","scheduled_at":7,"reopens":{"was":"expired","policy":'
        + PLAIN_TEXT
        + ',"created_at":1,"attempt":2},"by":"me","bulk":3,"undoes":2}',
    ),
    (
        Retried(7, Reopening("cancelled", PLAIN, 1, 2, "k", 3, Raw(b'{"a":1}'), 9, ERROR)),
        '{"kind":"retried","scheduled_at":7,"reopens":{"was":"cancelled","policy":'
        + PLAIN_TEXT
        + ',"created_at":1,"attempt":2,"key":"k","priority":3,"tags":{"a":1},"expires_at":9,'
        '"last_error":' + ERROR_TEXT + "}}",
    ),
    (
        Retried(
            7,
            Reopening("expired", PLAIN, 1, 2, name="a", lane="b", needs=("c",), snoozes=3),
        ),
        '{"kind":"retried","scheduled_at":7,"reopens":{"was":"expired","policy":'
        + PLAIN_TEXT
        + ',"created_at":1,"attempt":2,"name":"a","lane":"b","needs":["c"],"snoozes":3}}',
    ),
    (
        Retried(7, revives=True, revived_by=3),
        '{"kind":"retried","scheduled_at":7,"revives":true,"revived_by":3}',
    ),
    (Revived(), '{"kind":"revived"}'),
    (Revived((7, 8)), '{"kind":"revived","skipped":[7,8]}'),
    (Expired("max_age"), '{"kind":"expired","reason":"max_age"}'),
    (Expired("max_retries"), '{"kind":"expired","reason":"max_retries"}'),
    (Expired("max_lapses"), '{"kind":"expired","reason":"max_lapses"}'),
    (Expired("fatal"), '{"kind":"expired","reason":"fatal"}'),
    (Cancelled(), '{"kind":"cancelled"}'),
    (Cancelled(reason="why", by="me"), '{"kind":"cancelled","by":"me","reason":"why"}'),
    (Cancelled(reason="why", cause=3), '{"kind":"cancelled","cause":3,"reason":"why"}'),
    (Renewed("n", 30), '{"kind":"renewed","worker":"n","ttl_us":30}'),
    (Released(9), '{"kind":"released","fence":9}'),
    (Released(9, "stop"), '{"kind":"released","fence":9,"reason":"stop"}'),
    (
        Released(9, "busy", 70),
        '{"kind":"released","fence":9,"reason":"busy","scheduled_at":70}',
    ),
    (
        Joined("n", 30, 4, "0.6.0"),
        '{"kind":"joined","worker":"n","ttl_us":30,"slots":4,"version":"0.6.0"}',
    ),
    (
        Joined("n", 30, 4, "0.6.0", ("a", "b.*"), True, {"heavy": 1}, {"a": "(x: int)"}),  # noqa: FBT003 - as it stands
        (
            '{"kind":"joined","worker":"n","ttl_us":30,"slots":4,"version":"0.6.0",'
            '"names":["a","b.*"],"unnamed":true,"lanes":{"heavy":1},"signatures":{"a":"(x: int)"}}'
        ),
    ),
    (Left("n"), '{"kind":"left","worker":"n"}'),
    (
        Followed("f", 7, "n", 30),
        '{"kind":"followed","follower":"f","seq":7,"worker":"n","ttl_us":30}',
    ),
    (
        Followed("f", 7, "n", 0, ("failed",), ("a.*",), "app:f", ErrorInfo("OSError"), 2),
        (
            '{"kind":"followed","follower":"f","seq":7,"worker":"n","ttl_us":0,"kinds":["failed"],'
            '"names":["a.*"],"code":"app:f","error":{"type":"OSError"},"failures":2}'
        ),
    ),
    (Unfollowed("f", by="me"), '{"kind":"unfollowed","follower":"f","by":"me"}'),
    (
        Planned("s", Timing(cron="* * * * *"), Call(Policy("linear", 5)), DueRules()),
        (
            '{"kind":"planned","schedule":"s","timing":{"cron":"* * * * *"},'
            '"call":{"policy":{"backoff":"linear","backoff_us":5}},"rules":{}}'
        ),
    ),
    (
        Planned(
            "s",
            Timing(every_us=7, jitter_us=3),
            Call(
                Policy("linear", 5),
                Raw(b'{"a":1}'),
                2,
                "f",
                "heavy",
                ("x",),
                9,
                "u",
                (Bucket("ocr"),),
                "7",
            ),
            DueRules(0, 8, "cancel"),
            next_at=70,
            shift_us=2,
            paused=True,
            code=Definition("ab", 1, ("cd",)),
            by="me",
            reason="why",
            via="cli",
        ),
        (
            '{"kind":"planned","schedule":"s","timing":{"every_us":7,"jitter_us":3},'
            '"call":{"policy":{"backoff":"linear","backoff_us":5},"tags":{"a":1},"priority":2,'
            '"name":"f","lane":"heavy","needs":["x"],"delay_us":9,"unique":"u",'
            '"limits":[["ocr",null]],"share":"7"},'
            '"rules":{"catch_up":0,"within_us":8,"overlap":"cancel"},"next_at":70,"shift_us":2,'
            '"paused":true,"code":{"hash":"ab","version":1,"replaced":["cd"]},"by":"me",'
            '"via":"cli","reason":"why"}'
        ),
    ),
    (Unplanned("s"), '{"kind":"unplanned","schedule":"s"}'),
    (
        Unplanned("s", by="me", reason="gone", via="cli"),
        '{"kind":"unplanned","schedule":"s","by":"me","via":"cli","reason":"gone"}',
    ),
    (
        Ticked("s", 60, "made", 70),
        '{"kind":"ticked","schedule":"s","due":60,"outcome":"made","next_at":70}',
    ),
    (
        Ticked("s", 60, "skipped", None, 2, "trigger", by="me", reason="open", via="cli"),
        (
            '{"kind":"ticked","schedule":"s","due":60,"outcome":"skipped","count":2,'
            '"hand":"trigger","by":"me","via":"cli","reason":"open"}'
        ),
    ),
    (
        Paused(
            scope=Scope(lane="mail", tags=(("tenant", '"7"'),)),
            until=9,
            by="ada",
            reason="down",
            via="cli",
        ),
        (
            '{"kind":"paused","scope":{"lane":"mail","tags":[["tenant","\\"7\\""]]},'
            '"until":9,"by":"ada","via":"cli","reason":"down"}'
        ),
    ),
    (
        Resumed(scope=Scope(limit="smtp", value="mx1")),
        '{"kind":"resumed","scope":{"limit":"smtp","value":"mx1"}}',
    ),
    (
        Limited(limit="smtp", running=3, rate=100, per_us=60, per="host", code=Definition("ab")),
        (
            '{"kind":"limited","limit":"smtp","running":3,"rate":100,"per_us":60,"per":"host",'
            '"code":{"hash":"ab"}}'
        ),
    ),
    (
        Shared(per="tenant", weights={"big": 3}),
        '{"kind":"shared","per":"tenant","weights":{"big":3}}',
    ),
    (Shared(lifted=True), '{"kind":"shared","lifted":true}'),
    (
        Bulk(
            "update",
            7,
            70,
            2,
            "ab",
            Raw(b'{"states":["ready"]}'),
            start_at=71,
            interval_us=5,
            priority=3,
            tags=Raw(b'{"a":1}'),
            scheduled_at=9,
            by="ada",
            reason="why",
        ),
        (
            '{"kind":"bulk","action":"update","position":7,"seen_at":70,"count":2,"digest":"ab",'
            '"selector":{"states":["ready"]},"start_at":71,"interval_us":5,"priority":3,'
            '"tags":{"a":1},"scheduled_at":9,"skip":true,"by":"ada","reason":"why"}'
        ),
    ),
    (
        Bulk("undo", 9, 90, 2, "cd", undoes=8, via="login"),
        (
            '{"kind":"bulk","action":"undo","position":9,"seen_at":90,"count":2,"digest":"cd",'
            '"skip":true,"via":"login","undoes":8}'
        ),
    ),
    (
        BulkEnded(1, 1, ((3, 4),), bulk=8),
        '{"kind":"bulk_ended","changed":1,"moved_on":1,"left":[[3,4]],"skip":true,"bulk":8}',
    ),
    (
        Expired("max_age", Restoring(7, 8, 1, 2, 9, 6), by="me", undoes=5),
        (
            '{"kind":"expired","reason":"max_age","restores":{"scheduled_at":7,"ended_at":8,'
            '"retries":1,"lapses":2,"expires_at":9,"started_at":6},"by":"me","undoes":5}'
        ),
    ),
    (
        Cancelled(3, Restoring(7, 8), reason="why"),
        (
            '{"kind":"cancelled","cause":3,"restores":{"scheduled_at":7,"ended_at":8},'
            '"reason":"why"}'
        ),
    ),
    (
        Created(PLAIN, limits=(Bucket("smtp", "mx1"), Bucket("ocr")), share="7"),
        '{"kind":"created","policy":'
        + PLAIN_TEXT
        + ',"limits":[["smtp","mx1"],["ocr",null]],"share":"7"}',
    ),
    (
        Created(PLAIN, trace=TRACE),
        f'{{"kind":"created","policy":{PLAIN_TEXT},"trace":"{TRACE}"}}',
    ),
    (Created(PLAIN, secret=("t",)), f'{{"kind":"created","policy":{PLAIN_TEXT},"secret":["t"]}}'),
    (Updated(priority=0), '{"kind":"updated","priority":0}'),
    (
        Updated(1, Raw(b"{}"), 7, by="me"),
        '{"kind":"updated","priority":1,"tags":{},"scheduled_at":7,"by":"me"}',
    ),
    (Updated(waives=True), '{"kind":"updated","waives":true}'),
    (Updated(lane="default"), '{"kind":"updated","lane":"default"}'),
    (
        Refused(9, "n", "completed"),
        '{"kind":"refused","fence":9,"worker":"n","outcome":"completed"}',
    ),
]


@pytest.mark.parametrize(
    "body, text", GOLDEN, ids=[f"{n}-{body.kind}" for n, (body, _) in enumerate(GOLDEN)]
)
def test_golden_texts(body: AnyBody, text: str) -> None:
    """Each kind has one stored form, and reads back equal."""
    assert encode_bodies([body]) == [text]
    assert decode_bodies([text]) == [body]


def test_every_kind_has_a_golden_text() -> None:
    """No kind can be added without fixing its stored form."""
    assert {body.kind for body, _ in GOLDEN} == KINDS
    assert {body.__struct_config__.tag for body in typing.get_args(AnyBody)} == KINDS


def test_a_commit_reads_back_in_order() -> None:
    """All bodies of a commit go through one call each way."""
    bodies = [body for body, _ in GOLDEN]

    texts = encode_bodies(bodies)

    assert texts == [text for _, text in GOLDEN]
    assert decode_bodies(texts) == bodies


def test_nothing_encodes_to_nothing() -> None:
    """No bodies, no texts."""
    assert encode_bodies([]) == []
    assert decode_bodies([]) == []


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)


@given(value=json_values, words=st.text())
def test_any_json_and_any_text_survive(value: object, words: str) -> None:
    """Results, tags, reasons and messages come back as they were, line breaks included."""
    raw = Raw(msgspec.json.encode(value))
    bodies: list[AnyBody] = [
        Completed(1, raw),
        Updated(tags=raw),
        Failed(1, ErrorInfo(words, words)),
        Cancelled(reason=words),
    ]

    texts = encode_bodies(bodies)
    read = decode_bodies(texts)

    assert len(texts) == len(bodies)
    assert read == bodies
    assert not any("\n" in text for text in texts)


def test_an_unknown_kind_is_kept_as_stored() -> None:
    """A kind of a newer version is shown, not guessed; its neighbours are read as ever."""
    newer = '{"kind":"muted","until":[1, 2]}'

    read = decode_bodies(['{"kind":"cancelled"}', newer, '{"kind":"completed","fence":3}'])

    assert read == [Cancelled(), Unknown("muted", newer), Completed(3)]


@pytest.mark.parametrize(
    "said, skips", [("true", True), ("false", False), ("1", False), ('"true"', False)]
)
def test_only_true_says_that_a_kind_may_be_skipped(said: str, skips: bool) -> None:  # noqa: FBT001
    """Whatever else stands there, nobody has promised that nothing depends on it."""
    text = f'{{"kind":"dreamt","skip":{said}}}'

    assert decode_bodies([text]) == [Unknown("dreamt", text, skip=skips)]


def test_an_unknown_field_is_passed_over() -> None:
    """A field that a newer version added does no harm, inside structs too."""
    text = (
        '{"kind":"created","colour":"red","policy":'
        '{"backoff":"linear","backoff_us":10000000,"mood":1}}'
    )

    assert decode_bodies([text]) == [Created(PLAIN)]


@pytest.mark.parametrize(
    "text",
    [
        '{"kind":"leased"}',
        '{"kind":"leased","attempt":"1","worker":"n","ttl_us":30}',
        '{"kind":"leased","attempt":1,"worker":"n","ttl_us":30',
        '{"kind":"expired","reason":"boredom"}',
        '{"kind":"refused","fence":1,"worker":"n","outcome":"released"}',
        '{"kind":1}',
        '{"kind":null}',
        "{}",
        "[]",
        "null",
        "",
        "nonsense",
        '{"kind":"cancelled"}{"kind":"cancelled"}',
        '{"kind":"cancelled"},{"kind":"cancelled"}',
        f'{{"kind":"cancelled","new":{"[" * 9_000}{"]" * 9_000}}}',
        f'{{"kind":"sung","song":{"[" * 9_000}{"]" * 9_000}}}',
    ],
    ids=lambda text: text[:40],
)
def test_a_damaged_body_is_told(text: str) -> None:
    """Nothing damaged is taken for something else, alone or among others."""
    with pytest.raises(msgspec.DecodeError):
        decode_bodies([text])
    with pytest.raises(msgspec.DecodeError):
        decode_bodies(['{"kind":"cancelled"}', text])


def test_two_damaged_bodies_do_not_heal_each_other() -> None:
    """A body cut in two at a comma is not read as the whole it once was."""
    with pytest.raises(msgspec.DecodeError):
        decode_bodies(['{"kind":"completed"', '"fence":3}'])


def test_events_carry_their_envelopes() -> None:
    """Positions count up from the commit's first; instant and task stand beside each body."""
    commit = sealed([(4, Completed(3)), (0, Renewed("n", 1))], first=8, at=77)

    events = events_of(commit)

    assert [(e.seq, e.at, e.task, e.kind) for e in events] == [
        (8, 77, 4, "completed"),
        (9, 77, 0, "renewed"),
    ]
    assert commit.last == 9


def test_events_never_change() -> None:
    """A fact is frozen."""
    with pytest.raises(AttributeError):
        Cancelled(reason="why").reason = "other"  # type: ignore[misc]


def test_an_unreadable_body_is_told_by_its_position() -> None:
    """Whoever decodes what is stored says where it stands."""
    with pytest.raises(LogCorruptError, match="position 7: a body cannot be understood"):
        decode_at(7, ['{"kind":"completed"'])
    with pytest.raises(LogCorruptError, match="position 7: a body cannot be understood"):
        decode_at(7, ['"\ud800"'])
