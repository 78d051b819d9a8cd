"""A failover takes back commits that nodes have folded: they notice, fold anew, and go on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

from eventq import Queue, TaskState
from eventq.eventlog import open_log
from eventq.eventlog.mongo.documents import COMMITS, to_document
from eventq.eventlog.mongo.log import MongoLog
from eventq.host.clock import SystemClock
from eventq.node.node import Node
from eventq.replay.fold import replay
from tests.checker import check_log
from tests.commands import cancellation, creation, leasing
from tests.eventlog.commits import commit_after
from tests.servers import new_url
from tests.support import wait_until
from tools.mongod import Member, ReplicaSet

# A lost commit that makes a difference: it cancels the first of three tasks.
CANCELLED = '{"kind":"cancelled","reason":"lost"}'
# What a node that folded the lost commit may do first.
ACTS: dict[str, Callable[[Node], object]] = {
    "decides": lambda node: node.execute(cancellation(node, "2")),
    "leases": lambda node: node.execute(leasing(node, 3)),
    "creates": lambda node: node.execute(creation()),
    "creates and decides": lambda node: node.execute(creation(blind=False)),
}


class HastyLog(MongoLog):
    """Reads what a majority may not have yet, as no log of eventq does."""

    def __init__(self, url: str) -> None:
        super().__init__(url, namespace="default", create=False)
        self.connection.read_concern = ReadConcern("local")


@contextmanager
def hasty_node(url: str) -> Iterator[Node]:
    """A node on a log that reads too early."""
    log = HastyLog(url)
    with closing(Node(log, clock=SystemClock())) as node:
        yield node


def insert_unsafely(member: Member, url: str, head_log: MongoLog) -> None:
    """Writes to this server alone a commit that cancels task 1."""
    commit = commit_after(head_log.head(), bodies=[CANCELLED], tasks=[1])
    database = url.rpartition("/")[2].partition("?")[0]
    with member.client() as client:
        collection = client[database].get_collection(COMMITS, write_concern=WriteConcern(1, j=True))
        collection.insert_one(to_document("default", commit))


def seen_by(node: Node) -> tuple[int, dict[int, Any]]:
    """What the node takes the queue for."""
    with node.reading() as projection:
        projection.check()
        return projection.seq, dict(projection.tasks)


def test_a_write_of_a_primary_that_was_cut_off(three_mongods: ReplicaSet) -> None:
    """A node that folded a commit of the old primary alone goes on with the new one's history."""
    url = new_url(three_mongods)
    with Queue(url) as queue, hasty_node(url) as node:
        queue.new_many([{}, {}, {}])
        old = three_mongods.wait_for_primary()
        others = [member for member in three_mongods.members if member is not old]
        # Killed, not stopped: the kernel of a stopped one would still take in what is sent.
        for member in others:
            member.kill()
        assert isinstance(node.log, MongoLog)
        insert_unsafely(old, url, node.log)
        folded = seen_by(node)
        old.kill()
        for member in others:
            member.start()
        wait_until(lambda: any(member.is_primary() for member in others), "another primary")
        old.start()

        node.execute(cancellation(node, "2"))

        three_mongods.wait_until_whole()
        assert (folded[0], list(folded[1])) == (4, [2, 3])
        assert list(seen_by(node)[1]) == [1, 3]
        task = queue.get("1")
        assert task is not None
        assert task.state is TaskState.READY
        check_log(node.log)


@pytest.mark.parametrize("others_appended", [0, 1, 2])
@pytest.mark.parametrize("act", ACTS)
def test_history_that_was_taken_back(mongod: ReplicaSet, act: str, others_appended: int) -> None:
    """Whatever a node does first, and however long the log is by then, it decides by the log."""
    url = new_url(mongod)
    with Queue(url) as queue, hasty_node(url) as node:
        queue.new_many([{}, {}, {}])
        assert isinstance(node.log, MongoLog)
        insert_unsafely(mongod.members[0], url, node.log)
        folded = seen_by(node)
        take_back(mongod, url, 4)
        for _ in range(others_appended):
            queue.new()

        ACTS[act](node)

        with closing(open_log(url)) as log:
            truth = replay(log)
            check_log(log)
        assert folded[0] == 4
        assert 1 in truth.tasks
        assert seen_by(node) == (truth.seq, truth.tasks)


def take_back(servers: ReplicaSet, url: str, position: int) -> None:
    """Removes the last commit and has the primary elected anew, as a rollback does."""
    [member] = servers.members
    database = url.rpartition("/")[2].partition("?")[0]
    with member.client() as client:
        client[database][COMMITS].delete_one({"first": position})
        client.admin.command({"replSetStepDown": 1, "force": True})
        wait_until(member.is_primary, "the election")
