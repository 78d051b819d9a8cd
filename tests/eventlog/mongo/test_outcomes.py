"""Appends to MongoDB whose outcome is in doubt: how each is settled, and what callers are told."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from types import SimpleNamespace
from typing import Any

import pytest
from pymongo import ReadPreference
from pymongo.collection import Collection
from pymongo.errors import (
    AutoReconnect,
    OperationFailure,
    ServerSelectionTimeoutError,
    WriteConcernError,
)

from eventq.core.commits import Commit
from eventq.errors import LogConflictError, LogOutcomeUnknownError, LogUnavailableError
from eventq.eventlog import Head, open_log
from eventq.eventlog.mongo import append as mongo_append
from eventq.eventlog.mongo import driver as mongo_client
from eventq.eventlog.mongo import log as mongo
from eventq.eventlog.mongo import retention as mongo_cut
from eventq.eventlog.mongo.connection import MongoConnection
from eventq.eventlog.mongo.documents import Document, to_commit, to_document
from eventq.eventlog.mongo.log import MongoLog
from tests.eventlog.commits import EMPTY, append, commit_after, head_after
from tests.servers import new_url
from tools.mongod import ReplicaSet

# The driver's own, before any test puts another in its place.
insert: Callable[[Collection[Document], Document], object] = Collection.insert_one


@pytest.mark.parametrize("losses", [0, 1])
def test_interrupted_append_has_landed_or_never_will(
    log: MongoLog, monkeypatch: pytest.MonkeyPatch, losses: int
) -> None:
    """Reading back right after an interrupt is the truth, though the server was not done yet."""
    commit = commit_after(EMPTY)
    lost = AutoReconnect("lost")
    outcomes: list[BaseException | None] = [*([lost] * losses), KeyboardInterrupt(), None]
    fail_inserts(monkeypatch, outcomes)

    with pytest.raises(KeyboardInterrupt):
        log.append(commit)

    assert log.read(after=0) == [commit]


def test_write_concern_that_is_not_met_is_followed_up(
    log: MongoLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server has inserted, and only cannot tell for how long: that is no refusal."""
    unmet = WriteConcernError("cannot be satisfied", code=100)
    outcomes: list[BaseException | None] = [unmet, None]
    fail_inserts(monkeypatch, outcomes)

    commit = append(log)

    assert log.read(after=0) == [commit]


def test_append_that_may_have_landed_is_never_called_refused(
    log: MongoLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever ends it after the connection was lost, the caller learns what is not known."""
    lost = AutoReconnect("lost")
    refused = OperationFailure("not authorized", code=13)
    outcomes: list[BaseException | None] = [lost, refused]
    fail_inserts(monkeypatch, outcomes)

    with pytest.raises(LogUnavailableError, match="outcome is unknown"):
        append(log)


@pytest.mark.parametrize(
    "hello, alone", [({}, True), ({"setName": "rs0"}, False), ({"msg": "isdbgrid"}, False)]
)
def test_router_is_not_taken_for_a_standalone(hello: dict[str, str], alone: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """Behind a router an outcome is settled by a linearizable read too."""
    client: Any = SimpleNamespace(admin=SimpleNamespace(command=lambda _: hello))

    assert mongo_client.is_standalone(client) is alone


def test_what_a_commit_follows_is_looked_at_before_it_is_sent_again(
    log: MongoLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new primary without the commit before must not take this one: nothing would refuse it."""
    append(log)
    follower = commit_after(log.head())
    collection = log.connection.commits()
    fail_inserts(
        monkeypatch, [AutoReconnect("lost")], meanwhile=lambda: collection.delete_one({"first": 1})
    )

    with pytest.raises(LogConflictError):
        log.append(follower)

    assert log.read(after=0) == []


def test_commit_is_not_sent_into_the_middle_of_another(
    log: MongoLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a new primary's commits are cut otherwise, the index alone would let them overlap."""
    first = append(log)
    follower = commit_after(log.head())
    longer = commit_after(EMPTY, bodies=[*first.bodies, *first.bodies], tasks=[1, 2])
    collection = log.connection.commits()

    def replace_history() -> None:
        collection.delete_many({})
        insert(collection, to_document(log.namespace, longer))

    fail_inserts(monkeypatch, [AutoReconnect("lost")], meanwhile=replace_history)

    with pytest.raises(LogConflictError):
        log.append(follower)

    assert log.read(after=0) == [longer]


def test_closing_in_the_middle_of_an_append_hides_nothing(
    log: MongoLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever closes the log while an outcome is open leaves the caller with that knowledge."""
    fail_inserts(monkeypatch, [AutoReconnect("lost")], meanwhile=log.close)

    with pytest.raises(LogOutcomeUnknownError, match="outcome is unknown"):
        append(log)


def test_append_that_no_server_took_is_known_not_to_be_made(
    log: MongoLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no server was found to send it to, there is nothing unknown about it."""
    monkeypatch.setattr(mongo_append, "RESOLVE_S", 0.0)
    fail_inserts(monkeypatch, [ServerSelectionTimeoutError("none")] * 2)

    with pytest.raises(LogUnavailableError, match="nothing was appended") as caught:
        append(log)

    assert type(caught.value) is LogUnavailableError


@pytest.fixture
def quiet(log: MongoLog, monkeypatch: pytest.MonkeyPatch) -> MongoLog:
    """A log with one event, which has not been looked at for a long time."""
    now_s = 0.0
    monkeypatch.setattr(mongo, "boot_s", lambda: now_s)
    append(log)
    now_s = mongo_cut.TRUSTED_S + 1
    return log


@pytest.mark.parametrize("failures", [1, 1_000])
def test_append_whose_place_cannot_be_looked_at_is_no_failed_one(
    quiet: MongoLog, monkeypatch: pytest.MonkeyPatch, failures: int
) -> None:
    """It was made; only whether the log had been cut there meanwhile is not known for a while."""
    errors = [AutoReconnect("lost")] * failures
    find_truly = mongo_cut.find_start

    def find_start(link: MongoConnection, namespace: str) -> Head:
        if errors:
            raise errors.pop()
        return find_truly(link, namespace)

    monkeypatch.setattr(mongo_append, "find_start", find_start)
    monkeypatch.setattr(mongo_cut, "find_start", find_start)
    if failures > 1:
        monkeypatch.setattr(mongo_append, "RESOLVE_S", 0.0)
    if failures == 1:
        commit = append_known(quiet)
        assert quiet.read(after=1) == [commit]
    else:
        with pytest.raises(LogOutcomeUnknownError):
            append_known(quiet)


def test_a_look_at_the_log_meanwhile_does_not_hide_that_a_place_was_cut(
    quiet: MongoLog, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A watch may ask for the head on its own thread while an append is on its way."""
    monkeypatch.setattr(mongo_cut, "SETTLED_S", 0.0)
    commit = commit_after(known_head(quiet))
    with closing(open_log(url)) as other:
        append(other)
        other.cut(other.head())

    look_before_inserts(monkeypatch, quiet)
    with pytest.raises(LogConflictError):
        quiet.append(commit)
    assert quiet.history(commit.tasks[0]) == []


def append_known(log: MongoLog) -> Commit:
    """Appends behind the head that the log knows, without a look."""
    commit = commit_after(known_head(log))
    log.append(commit)
    return commit


def known_head(log: MongoLog) -> Head:
    """Where the log with one event was when it was last asked."""
    first = log.connection.commits().find_one({"first": 1})
    assert first is not None
    return head_after(to_commit(first))


def test_preferences_in_the_url_do_not_weaken_the_log(mongod: ReplicaSet) -> None:
    """What a URL says of reading and writing is for other programs of the same URL."""
    options = "readPreference=secondary&w=0&journal=false&readConcernLevel=local&retryWrites=true"
    url = new_url(mongod)
    sign = "&" if "?" in url else "?"
    with closing(MongoLog(f"{url}{sign}{options}", namespace="n", create=True)) as log:
        commit = append(log)
        commits = log.connection.commits()

        assert log.read(after=0) == [commit]
        assert commits.read_preference == ReadPreference.PRIMARY
        assert commits.read_concern.level == "majority"
        assert commits.write_concern.document["w"] == "majority"
        # The server would write a second record beside each commit.
        assert not log.connection.client().options.retry_writes


def look_before_inserts(monkeypatch: pytest.MonkeyPatch, log: MongoLog) -> None:
    """Has the log asked for its head while an append is on its way."""

    def insert_one(collection: Collection[Document], document: Document) -> object:
        log.head()
        return insert(collection, document)

    monkeypatch.setattr(Collection, "insert_one", insert_one)


def fail_inserts(
    monkeypatch: pytest.MonkeyPatch,
    outcomes: Sequence[BaseException | None],
    *,
    meanwhile: Callable[[], object] = lambda: None,
) -> None:
    """Has the next inserts end as told, an error instead of one, or None; then ``meanwhile``."""
    left = [*outcomes]

    def insert_one(collection: Collection[Document], document: Document) -> object:
        if left and (error := left.pop(0)) is not None:
            meanwhile()
            raise error
        return insert(collection, document)

    monkeypatch.setattr(Collection, "insert_one", insert_one)
