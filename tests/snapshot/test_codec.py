"""Snapshots as bytes: all of a projection comes back, and nothing that is not exactly that."""

from __future__ import annotations

import tracemalloc
import zlib
from collections.abc import Callable
from hashlib import blake2b
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, rule, run_state_machine_as_test
from msgspec.structs import replace

from eventq import SnapshotError, Task
from eventq.core.commits import Commit
from eventq.core.create import NewTask
from eventq.core.flows import FlowState
from eventq.core.projection import FOLD_VERSION, Projection
from eventq.core.task import TaskState
from eventq.core.values import Bucket, Scope
from eventq.replay.fold import catch_up, replay
from eventq.snapshot import Snapshot, restore, take
from eventq.snapshot import codec as inside
from eventq.snapshot.codec import decode, encode
from tests.replays import assert_same
from tests.snapshot.story import whole
from tests.strategies import free_orders
from tests.test_stateful import QueueMachine

SNAPSHOT = take(replay(whole()))
DATA = encode(SNAPSHOT)


class SnapshotMachine(QueueMachine):
    """Queues of all kinds, with projections beside them that went through bytes on the way."""

    @initialize(wanted=st.lists(free_orders, min_size=3, max_size=8))
    def begin(self, wanted: list[NewTask]) -> None:
        """See QueueMachine."""
        self.restored = Projection(self.log.namespace)
        self.create(wanted)

    @rule()
    def go_through_bytes(self) -> None:
        """From now on, what is compared began with a snapshot."""
        self.restored = restore(decode(encode(take(self.restored))))

    @invariant()
    def what_went_through_bytes_cannot_be_told_apart(self) -> None:
        """It goes on like a projection that never was bytes, and equal ones are equal bytes."""
        catch_up(self.restored, self.log)
        data = encode(take(self.projection))
        again = restore(decode(data))
        again.check()
        assert_same(self.projection, again, now=self.now)
        assert_same(self.projection, self.restored, now=self.now)
        assert encode(take(self.restored)) == data
        assert encode(take(replay(self.log))) == data
        assert encode(take(again)) == data


@pytest.mark.timeout(3_600)
def test_restored_projections_cannot_be_told_apart() -> None:
    """Whatever the commands, a projection from a snapshot answers and goes on as any other."""
    run_state_machine_as_test(SnapshotMachine)


def test_the_story_has_everything() -> None:
    """What the tests below are about holds leases, errors, keys, policies and reopened tasks."""
    tasks = SNAPSHOT.tasks.values()

    assert decode(DATA) == SNAPSHOT
    assert set(SNAPSHOT.holders) == {"bert", "cleo"}
    assert set(SNAPSHOT.members) == {"dora"}
    assert len({task.route for task in tasks}) == 5
    assert {task.snoozes for task in tasks} == {0, 1}
    assert [task.newer for task in tasks if task.newer] == [(74, "frozen")]
    assert any(task.started_at for task in tasks)
    assert [(t.number, t.saved) for t in tasks if t.progress] == [(4, {"page": 7})]
    assert SNAPSHOT.strangers == {1: (75, "restored")}
    assert SNAPSHOT.strange_ends["cancelled"] == 1
    assert SNAPSHOT.reopened == {"cancelled": 2, "expired": 0}
    assert {n: (w.open, w.failed) for n, w in SNAPSHOT.waits.items()} == {
        42: ({41}, set()),
        43: (set(), set()),
        44: (set(), set()),
        45: (set(), {20}),
        46: (set(), {20}),
        49: (set(), set()),
    }
    assert (SNAPSHOT.unneeded, SNAPSHOT.reviving) == ([49], [52])
    assert SNAPSHOT.flows == {41: FlowState(open=2, on_failure={43}, last={44})}
    assert all(SNAPSHOT.counts.values())
    assert any(task.last_error for task in tasks)
    assert {task.caller_key for task in tasks} == {None, "four", "fünf", "gone on"}
    assert len({task.policy for task in tasks}) == 3
    assert {task.unique for task in tasks} == {None, "sun"}
    assert SNAPSHOT.followers.keys() == {"alerts", "other"}
    assert {each.name: each.next_at for each in SNAPSHOT.schedules.values()} == {
        "hourly": 1_180,
        "over": None,
        "resting": 1_170,
    }
    assert {(task.schedule, task.due_us) for task in tasks if task.schedule} == {
        ("hourly", 1_120),
        ("over", 1_121),
    }
    assert SNAPSHOT.limits.keys() == {"smtp", "ocr"}
    assert SNAPSHOT.instants.keys() == {Bucket("smtp", "mx1")}
    assert SNAPSHOT.pauses.keys() == {Scope(lane="mail")}
    assert SNAPSHOT.shared is not None
    assert SNAPSHOT.turns[0].ahead.keys() == {"b"}
    assert {task.own_share for task in tasks} == {None, "b"}


# What an open task never has, see `_completed` and the like in moves.py.
FINAL_FIELDS = {"ending"}
# Kept once for all, or said by the lease.
ELSEWHERE = {"namespace", "recorded_state"}


def test_every_field_of_a_task_is_kept() -> None:
    """A field that Task gains must be kept too, and then the codec's number raised."""
    assert set(Task.__struct_fields__) - FINAL_FIELDS - ELSEWHERE == set(inside._COLUMNS)
    assert all(
        getattr(task, name) is None for task in SNAPSHOT.tasks.values() for name in FINAL_FIELDS
    )


# What a snapshot must hold of a projection, and where; all else is derived from it, or does not
# outlive the process.
KEPT = {
    *("namespace", "seq", "at", "decided_at", "seal", "counts", "reopened", "tasks", "unknown"),
    *(
        "members",
        "followers",
        "schedules",
        "holders",
        "strangers",
        "strange_ends",
        "waits",
        "flows",
    ),
}
# Parts of `waits`.
KEPT_PARTS = {"unneeded", "reviving"}
DERIVED = {
    *(
        "unknown_count",
        "_awaited",
        "_pending",
        "_leases",
        "_keys",
        "_uniques",
        "_policies",
        "_leased",
        "governing",
        "_is_applied",
    ),
}


# What is kept of `governing`.
OF_GOVERNING = {"limits", "instants", "pauses", "shared", "turns"}


def test_every_field_of_a_projection_is_kept_or_derived() -> None:
    """A field that Projection gains must be put in one of the two, and be true after a restore."""
    assert set(vars(replay(whole()))) == KEPT | DERIVED
    assert set(Snapshot.__struct_fields__) == KEPT | KEPT_PARTS | OF_GOVERNING


def test_the_fold_means_what_it_meant() -> None:
    """If this fails, equal logs now fold or are written otherwise: raise the number, then this.

    FOLD_VERSION in projection.py for another fold, CODEC_VERSION for another layout.
    """
    content = msgspec.msgpack.encode(inside._to_content(SNAPSHOT))
    digest = blake2b(content, digest_size=8).hexdigest()

    assert (FOLD_VERSION, inside.CODEC_VERSION, digest) == (10, 8, "546f054ee32e45e9")


def test_order_and_time_do_not_count() -> None:
    """Neither the order in which tasks and nodes came, nor when somebody asked, changes a byte."""
    projection = replay(whole())
    projection.advance_to(10**9)
    projection.tasks = dict(reversed(projection.tasks.items()))
    holders = dict(reversed(projection.holders.items()))
    projection.holders.clear()
    projection.holders.update(holders)

    assert encode(take(projection)) == DATA


def test_a_snapshot_does_not_change_with_its_projection() -> None:
    """What was taken stays, whatever the projection, or one built of it, goes through."""
    log = whole()
    projection = replay(log, until=8)
    snapshot = take(projection)
    before = encode(snapshot)

    catch_up(projection, log)
    catch_up(restore(snapshot), log)

    assert encode(snapshot) == before


def test_an_empty_projection_is_a_snapshot_too() -> None:
    """Nothing is the smallest content."""
    empty = take(Projection("default"))

    assert decode(encode(empty)) == empty


# Damage.


@pytest.mark.parametrize("bit", [0, 3, 7])
def test_a_flipped_bit_is_found_at_every_place(bit: int) -> None:
    """In the first line, the checksum or the content: it is refused, and no other error comes."""
    for place in range(len(DATA)):
        damaged = bytearray(DATA)
        damaged[place] ^= 1 << bit

        with pytest.raises(SnapshotError):
            decode(bytes(damaged))


def test_what_is_cut_or_longer_is_refused() -> None:
    """A file that was written half, or to which something was added."""
    for length in range(len(DATA)):
        with pytest.raises(SnapshotError):
            decode(DATA[:length])
    with pytest.raises(SnapshotError):
        decode(DATA + b"\0")


@given(st.binary(max_size=200) | st.binary(max_size=200).map(inside.MARK.__add__))
@example(b"")
@example(inside.MARK)
@example(inside.MARK + b"\n")
@example(DATA.partition(b"\n")[0] + b"\n")
@example(inside.MARK + b'"x":' + b"[" * 990 + b"\n")
def test_anything_else_is_refused(data: bytes) -> None:
    """Bytes of anybody."""
    with pytest.raises(SnapshotError):
        decode(data)


def resealed(data: bytes = DATA, *, packed: bytes | None = None, **header: object) -> bytes:
    """The bytes with another header or content, and a checksum that is right."""
    line, _, rest = data.partition(b"\n")
    fields = {**msgspec.json.decode(line), **header}
    line = msgspec.json.encode(fields) + b"\n"
    packed = rest[inside.DIGEST_BYTES :] if packed is None else packed
    return line + inside._digest(line, packed) + packed


@pytest.mark.parametrize(
    "header, why",
    [
        ({"codec": 9}, "codec 9"),
        ({"fold": FOLD_VERSION + 1}, f"rules {FOLD_VERSION}"),
        ({"fold": 0}, "rules 0"),
        ({"eventq": "something"}, "not one of eventq"),
        ({"seq": -1}, "first line"),
        ({"seq": "1"}, "first line"),
        ({"seq": 3}, "out of order"),
        ({"seal": "xyz"}, "not understood"),
        ({"seal": "00"}, "another length"),
        ({"content_bytes": 5}, "as long as announced"),
        ({"content_bytes": 10**5}, "as long as announced"),
        ({"content_bytes": 10**12}, "claims"),
        ({"namespace": "x" * 1_000}, "not one of eventq"),
    ],
)
def test_a_header_that_does_not_fit_is_refused(header: dict[str, Any], why: str) -> None:
    """Also with a checksum that is right: another version, or what contradicts the content."""
    with pytest.raises(SnapshotError, match=why):
        decode(resealed(**header))


def test_a_bomb_is_not_unpacked() -> None:
    """A little content that becomes a lot is given up where it passes what was announced."""
    bomb = zlib.compress(b"\0" * 10**8)

    tracemalloc.start()
    try:
        with pytest.raises(SnapshotError, match="announced"):
            decode(resealed(packed=bomb, content_bytes=1_000))
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak_bytes < 10**6


def test_content_without_its_end_is_refused() -> None:
    """What unpacks well, but not to its end, or has something behind, is not what was packed."""
    packed = DATA.partition(b"\n")[2][inside.DIGEST_BYTES :]
    assert decode(resealed(packed=packed)) == SNAPSHOT

    for other in (packed[:-1], packed[:-4], packed + b"\0"):
        with pytest.raises(SnapshotError, match="announced"):
            decode(resealed(packed=other))


def forged(change: Callable[[dict[str, Any]], object]) -> bytes:
    """The bytes with another content, and everything else made to fit it."""
    content = msgspec.to_builtins(inside._to_content(SNAPSHOT), builtin_types=(bytes,))
    change(content)
    packed = msgspec.msgpack.encode(content)
    return resealed(packed=zlib.compress(packed), content_bytes=len(packed))


def test_a_forgery_can_be_made() -> None:
    """The tests below forge nothing but what they say."""
    assert decode(forged(lambda _: None)) == SNAPSHOT


FORGERIES: dict[str, Callable[[dict[str, Any]], object]] = {
    "one column more": lambda c: c.update(more=1),
    "one column less": lambda c: c.pop("fence"),
    "a column too short": lambda c: c["fence"].pop(),
    "a column too long": lambda c: c["fence"].append(0),
    "backwards": lambda c: c["number"].reverse(),
    "task 0": lambda c: c["number"].__setitem__(0, 0),
    "a task of the future": lambda c: c["number"].__setitem__(-1, 10**6),
    "a task twice": lambda c: c["number"].__setitem__(0, c["number"][1]),
    "another type": lambda c: c["priority"].__setitem__(0, "high"),
    "no such policy": lambda c: c["policy"].__setitem__(0, 99),
    "a policy before the first": lambda c: c["policy"].__setitem__(0, -1),
    "no such node": lambda c: c["worker"].__setitem__(0, 99),
    "a node before the first": lambda c: c["worker"].__setitem__(0, -1),
    "a lease without a fence": lambda c: c["fence"].__setitem__(0, 0 if c["fence"][0] else 7),
    "a key twice": lambda c: c["caller_key"].__setitem__(slice(2), ["same", "same"]),
    "no such route": lambda c: c["route"].__setitem__(0, 99),
    "a route before the first": lambda c: c["route"].__setitem__(0, -1),
    "a node that joined twice": lambda c: c["members"].append(c["members"][0]),
    "a node that is to join": lambda c: c["members"][0].update(seq=99),
    "a lease of nobody knows what": lambda c: c["rarity"].__setitem__(0, {"newer": [3, "x"]}),
    "a node without leases": lambda c: c["holders"].append(["zoe", 1, 1, 1]),
    "a node twice": lambda c: c["holders"].append(c["holders"][0]),
    "a node less": lambda c: c["holders"].pop(),
    "more created": lambda c: c["counts"].update(created=99),
    "less than none created": lambda c: c["counts"].update(created=-1),
    "a kind more": lambda c: c["counts"].update(new_kind=0),
    "a kind less": lambda c: c["counts"].pop("renewed"),
    "a final state less": lambda c: c["reopened"].pop("expired"),
    "more reopened": lambda c: c["reopened"].update(expired=1),
    "no tags": lambda c: c["tags_json"].__setitem__(0, None),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_content_that_contradicts_itself_is_refused(name: str) -> None:
    """No projection could have been so: none is built that breaks its own rules."""
    with pytest.raises(SnapshotError):
        decode(forged(FORGERIES[name]))


def test_an_attempt_half_over_is_no_snapshot() -> None:
    """Inside a commit a task may be failed and no more; a snapshot is of a commit's end."""
    failed = next(n for n, t in SNAPSHOT.tasks.items() if t.recorded_state is TaskState.SCHEDULED)
    task = replace(SNAPSHOT.tasks[failed], recorded_state=TaskState.FAILED)
    snapshot: Snapshot = replace(SNAPSHOT, tasks={**SNAPSHOT.tasks, failed: task})

    with pytest.raises(AssertionError):
        encode(snapshot)


def test_an_unknown_kind_is_kept() -> None:
    """A projection that met a kind of a newer version remembers it through bytes."""
    log = whole()
    projection = replay(log)
    commit = Commit(
        id="x",
        first=projection.seq + 1,
        at=projection.at,
        prev=projection.seal,
        seal=bytes(32),
        tasks=[0],
        keys={},
        bodies=['{"kind":"of the future"}'],
    )
    projection.apply(commit)

    again = restore(decode(encode(take(projection))))

    assert again.unknown == (projection.seq, "of the future")
