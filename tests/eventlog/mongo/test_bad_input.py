"""Everything wrong a MongoDB URL, server, user or document can be: told clearly, nothing harmed."""

from __future__ import annotations

import logging
import socket
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pymongo
import pytest

from eventq import Queue
from eventq.errors import (
    ArgumentError,
    EventqError,
    LogCorruptError,
    LogForeignError,
    LogTooNewError,
    LogUnavailableError,
)
from eventq.eventlog import open_log
from eventq.eventlog.mongo.documents import COMMITS, EVENTS_VIEW, MARKS
from eventq.replay.fold import replay
from tests.eventlog.commits import append, append_each
from tests.servers import new_url, running
from tools.mongod import ReplicaSet

SECRET = "s3cretw0rd"  # noqa: S105 - guards nothing

Collection = pymongo.collection.Collection[dict[str, Any]]


def database_of(servers: ReplicaSet, url: str) -> Iterator[pymongo.database.Database[Any]]:
    """The database of the URL, by the driver alone."""
    with servers.members[0].client() as client:
        yield client[pymongo.uri_parser.parse_uri(url)["database"]]


@pytest.fixture
def database(mongod: ReplicaSet, url: str) -> Iterator[pymongo.database.Database[Any]]:
    """The database of the test, by the driver alone."""
    yield from database_of(mongod, url)


# -- URLs ----------------------------------------------------------------------------------------

WRONG_URLS = [
    "mongo://host/db",
    "mongodb://",
    "mongodb://host:99999/db",
    "mongodb://host/a b",
    "mongodb://host/data.base",
    "mongodb://host/db?nonsense=1",
    "mongodb://host/db?serverSelectionTimeoutMS=soon",
    f"mongodb://me:{SECRET}@host/db?authMechanism=NONE",
    f"mongodb://me:{SECRET}@host/db?tls=true&tlsCAFile=/no/such/file",
    f"mongodb://me:{SECRET}%zz@host/db",
    f"mongodb://me:a@{SECRET}@host/db",
    f"mongodb://me:{SECRET}?b@host/db",
    f"mongodb://me:a?{SECRET}@host/db",
    f"mongodb://me:a/{SECRET}@host/db",
    f"mongodb://me:{SECRET}",
    f"mongodb://me:{SECRET}/db",
    f"mongodb://host/db?tlsCertificateKeyFilePassword={SECRET}&nonsense=a@b",
]


@pytest.mark.parametrize("url", WRONG_URLS)
def test_wrong_url_is_told_without_its_password(url: str) -> None:
    """What cannot be understood is an ArgumentError that names the URL, and shows no secret."""
    with pytest.raises(ArgumentError) as caught:
        open_log(url)

    assert caught.value.argument == "url"
    assert SECRET not in "".join(traceback.format_exception(caught.value, limit=0))


# -- servers -------------------------------------------------------------------------------------


def test_server_that_is_not_there() -> None:
    """A refused connection is told within the timeout, with host, port and option."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        address = f"127.0.0.1:{closed.getsockname()[1]}"

    assert_told_in_time(address)


def test_server_that_does_not_answer() -> None:
    """So is a server that takes the connection and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert_told_in_time(f"127.0.0.1:{silent.getsockname()[1]}")


def assert_told_in_time(address: str) -> None:
    """Opens a log there, which must fail as it should."""
    began_s = time.monotonic()

    with pytest.raises(LogUnavailableError) as caught:
        open_log(f"mongodb://me:{SECRET}@{address}/db?serverSelectionTimeoutMS=300")

    assert time.monotonic() - began_s < 15
    assert address in str(caught.value)
    assert "serverSelectionTimeoutMS" in str(caught.value)
    assert SECRET not in str(caught.value)


def test_name_that_no_server_has() -> None:
    """A name that cannot be looked up is no wrong argument: it may work in a minute."""
    with pytest.raises(LogUnavailableError, match=r"no-such-host\.invalid"):
        open_log("mongodb://no-such-host.invalid/db?serverSelectionTimeoutMS=300")


def test_server_that_goes_away() -> None:
    """A log whose server ends says so within its timeouts, and works on when it is back."""
    with (
        running() as servers,
        closing(open_log(new_url(servers, "serverSelectionTimeoutMS=500"))) as log,
    ):
        before = append(log)
        servers.members[0].kill()

        with pytest.raises(LogUnavailableError, match=servers.members[0].address):
            log.head()

        servers.members[0].start()
        servers.wait_for_primary()
        assert log.read(after=0) == [before]


@pytest.fixture(scope="module")
def standalone() -> Iterator[ReplicaSet]:
    """A server that is no replica set, wants passwords, and knows a writer and a reader."""
    with running(replicated=False, options=["--auth"]) as server:
        with server.members[0].client() as client:
            client.admin.command("createUser", "root", pwd=SECRET, roles=["root"])
        root: pymongo.MongoClient[dict[str, Any]] = pymongo.MongoClient(
            "127.0.0.1", server.members[0].port, username="root", password=SECRET
        )
        with root:
            users = root["guarded"]
            users.command("createUser", "writer", pwd=SECRET, roles=["readWrite"])
            users.command("createUser", "reader", pwd=SECRET, roles=["read"])
        yield server


def guarded(server: ReplicaSet, user: str, password: str = SECRET) -> str:
    """The URL of the guarded database for a user."""
    return f"mongodb://{user}:{password}@{server.members[0].address}/guarded"


@pytest.mark.parametrize("who", [("writer", "n0tm1ne"), ("nobody", SECRET)])
def test_wrong_credentials(standalone: ReplicaSet, who: tuple[str, str]) -> None:
    """A wrong password and an unknown user are told with what to look at."""
    with pytest.raises(LogUnavailableError, match="authSource") as caught:
        open_log(guarded(standalone, *who))

    assert who[1] not in "".join(traceback.format_exception(caught.value))


def test_missing_rights(standalone: ReplicaSet) -> None:
    """Who may only read is told so when appending; what was there stays readable."""
    with closing(open_log(guarded(standalone, "writer"), namespace="rights")) as writing:
        commit = append(writing)
    with closing(open_log(guarded(standalone, "reader"), namespace="rights")) as log:
        with pytest.raises(LogUnavailableError, match="readWrite"):
            append(log)

        assert log.read(after=0) == [commit]


def test_password_is_never_shown(standalone: ReplicaSet, caplog: pytest.LogCaptureFixture) -> None:
    """Neither the queue, its log nor anything logged while it works shows the password."""
    caplog.set_level(logging.DEBUG)
    with Queue(guarded(standalone, "writer"), namespace="shown") as queue:
        queue.new({"a": "b"})
        queue.run(lambda _ctx, _task: None, until="idle")
        shown = [repr(queue), str(queue), queue.url, queue.log.url, caplog.text]

    assert not any(SECRET in text for text in shown)
    assert "writer@" in queue.url


def test_standalone_server_works_and_says_what_it_lacks(
    standalone: ReplicaSet, caplog: pytest.LogCaptureFixture
) -> None:
    """Without change streams another process's task is found all the same, by looking."""
    caplog.set_level(logging.INFO, logger="eventq")
    url = guarded(standalone, "writer")
    with Queue(url, namespace="alone") as producer, Queue(url, namespace="alone") as queue:

        def work(_ctx: object, task: Any) -> None:  # noqa: ANN401 - a worker's argument
            if task.tags == {"n": "last"}:
                queue.stop()
            else:
                producer.new({"n": "last"})

        producer.new({"n": "first"})
        report = queue.run(work)

    assert report.completed == 2
    assert "no change streams" in caplog.text


# -- what the database holds ---------------------------------------------------------------------


@pytest.mark.parametrize("name", [COMMITS, EVENTS_VIEW])
def test_collection_of_somebody_else(
    database: pymongo.database.Database[Any], url: str, name: str
) -> None:
    """A database whose collections are not ours is refused, and nothing is made in it."""
    database[name].insert_one({"_id": 1, "their": "data"})

    with pytest.raises(LogForeignError, match=name):
        open_log(url)

    assert database.list_collection_names() == [name]
    assert list(database[name].find()) == [{"_id": 1, "their": "data"}]


def test_log_of_a_newer_version(database: pymongo.database.Database[Any], url: str) -> None:
    """A schema that this version does not know is not touched."""
    open_log(url).close()
    database[MARKS].update_one({}, {"$set": {"schema": 99}})

    with pytest.raises(LogTooNewError, match="upgrade"):
        open_log(url)


@pytest.mark.parametrize("mark", [1, None, "2"])
def test_log_of_an_older_version(
    database: pymongo.database.Database[Any], url: str, mark: object
) -> None:
    """Its reader is not told to upgrade, which would not help."""
    open_log(url).close()
    database[MARKS].update_one({}, {"$set": {"schema": mark}})

    with pytest.raises(LogForeignError, match="cannot read") as caught:
        open_log(url)

    assert repr(mark) in str(caught.value)


def test_missing_log_is_not_made_unless_asked(
    database: pymongo.database.Database[Any], url: str
) -> None:
    """With ``create=False`` a database without a log is left as it is."""
    with pytest.raises(LogUnavailableError, match="no eventq log"):
        open_log(url, create=False)

    assert database.list_collection_names() == []


def test_log_whose_making_broke_off(database: pymongo.database.Database[Any], url: str) -> None:
    """What a process that was killed had begun to make, the next one finishes."""
    open_log(url).close()
    database[MARKS].drop()

    with closing(open_log(url)) as log:
        append(log)

    open_log(url, create=False).close()
    assert database[EVENTS_VIEW].count_documents({}) == 1


def change(update: dict[str, Any]) -> Callable[[Collection], object]:
    """Changes the commit of the positions 2 and 3 by hand."""
    return lambda commits: commits.update_one({"first": 2}, {"$set": update})


DAMAGES: dict[str, Callable[[Collection], object]] = {
    "another body": change({"events.1": "{}"}),
    "another task": change({"tasks.0": 1}),
    "another instant": change({"at": 1_700_000_000_000_009}),
    "another seal": change({"seal": b"x" * 32}),
    "another id": lambda commits: commits.insert_one(
        {**(commits.find_one_and_delete({"first": 2}) or {}), "_id": "another"}
    ),
    "a key added": change({"keys": ["k"], "key_seqs": [2]}),
    "one event less": lambda commits: commits.update_one({"first": 2}, {"$pop": {"events": 1}}),
    "a number too high": change({"n": 3}),
    "events of another type": change({"events": "none"}),
    "no seal": lambda commits: commits.update_one({"first": 2}, {"$unset": {"seal": 1}}),
    "gone": lambda commits: commits.delete_one({"first": 2}),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_document_changed_by_hand(
    database: pymongo.database.Database[Any], url: str, damage: str
) -> None:
    """It is refused by the position where it begins, and what stands before can be read."""
    with closing(open_log(url)) as log:
        commits = append_each(log, [1, 2, 3])
        DAMAGES[damage](database[COMMITS])

        with pytest.raises(LogCorruptError) as caught:
            replay(log)

        assert caught.value.position == 2
        assert log.read(after=0, limit=1) == commits[:1]


# -- names and values that mean something to MongoDB ---------------------------------------------

OPERATORS = [
    {"$where": "while (true) {}"},
    {"$gt": ""},
    {"a.b": {"$ne": None}},
    {"$expr": {"$function": {"body": "x", "args": [], "lang": "js"}}},
]


@pytest.mark.parametrize("tags", OPERATORS)
def test_operators_as_tag_names_are_refused(url: str, tags: dict[str, Any]) -> None:
    """A tag's name is letters, digits and underscores, so no operator gets in by it."""
    with Queue(url) as queue, pytest.raises(ArgumentError):
        queue.new(tags)


@pytest.mark.parametrize("value", [*OPERATORS, "$where", "$$ROOT", "a.b", {"": {"$": ["$a"]}}])
def test_operators_as_values_are_data(url: str, value: object) -> None:
    """A value comes back as it was given, is found by itself, and matches nothing else."""
    with Queue(url) as queue:
        queue.new({"value": "other"})

        task = queue.new({"value": value})

        assert [found.key for found in queue.tasks(tags={"value": value})] == [task.key]
        assert queue.tasks(tags={"value": value})[0].tags == {"value": value}


@pytest.mark.parametrize("key", ["$ne", "$where", "a.b", '{"$gt": ""}', "[]", "^.*$", "$"])
def test_operators_as_keys_are_data(url: str, key: str) -> None:
    """A key is found by itself alone."""
    with Queue(url) as queue:
        queue.new(key="another")

        task = queue.new(key=key)

        assert queue.new(key=key).number == task.number == 2
        found = queue.get(key)
        assert found is not None
        assert found.number == 2
        assert queue.get(key + "x") is None


def test_namespaces_are_no_operators(url: str) -> None:
    """A namespace's name is checked before it comes near a query."""
    with pytest.raises(EventqError):
        Queue(url, namespace="$ne")
