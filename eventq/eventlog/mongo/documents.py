"""How a commit is stored in MongoDB: the document, its indexes, and the view for people.

Event bodies are kept as the exact text that the seal covers, never as BSON: a name like ``$where``
or ``a.b`` in somebody's tags is data to MongoDB, not an operator or a path.
"""

from __future__ import annotations

from typing import Any

from pymongo import ASCENDING, IndexModel

from eventq.core.commits import Commit
from eventq.errors import LogCorruptError
from eventq.eventlog.causes import causes_of

SCHEMA_VERSION = 2
COMMITS = "commits"
EVENTS_VIEW = "events"
MARKS = "eventq"

Document = dict[str, Any]

# The names are part of the stored format: creating an index that exists already is a no-op.
INDEXES = [
    # The first to insert a position has it: this is the compare-and-swap.
    IndexModel([("ns", ASCENDING), ("first", ASCENDING)], name="position", unique=True),
    IndexModel([("ns", ASCENDING), ("tasks", ASCENDING)], name="task"),
    IndexModel(
        [("ns", ASCENDING), ("keys", ASCENDING)],
        name="key",
        unique=True,
        partialFilterExpression={"keys": {"$exists": True}},
    ),
    IndexModel(
        [("ns", ASCENDING), ("causes", ASCENDING)],
        name="cause",
        partialFilterExpression={"causes": {"$exists": True}},
    ),
]

# One document an event, for people in the shell. `kind` is read off the body's beginning.
VIEW_PIPELINE: list[Document] = [
    {"$unwind": {"path": "$events", "includeArrayIndex": "index"}},
    {
        "$project": {
            "_id": 0,
            "ns": 1,
            "seq": {"$toLong": {"$add": ["$first", "$index"]}},
            "at": 1,
            "time": {"$toDate": {"$floor": {"$divide": ["$at", 1000]}}},
            "kind": {"$arrayElemAt": [{"$split": ["$events", '"']}, 3]},
            "task": {"$arrayElemAt": ["$tasks", {"$toInt": "$index"}]},
            "body": "$events",
            "commit": "$_id",
        }
    },
]


def to_document(namespace: str, commit: Commit) -> Document:
    """The document that holds the commit."""
    document: Document = {
        "_id": commit.id,
        "ns": namespace,
        "first": commit.first,
        "n": len(commit.bodies),
        "at": commit.at,
        "prev": commit.prev,
        "seal": commit.seal,
        "tasks": commit.tasks,
        "events": commit.bodies,
    }
    if commit.keys:
        document["keys"] = list(commit.keys)
        document["key_seqs"] = list(commit.keys.values())
    if causes := causes_of(commit.bodies):
        document["causes"] = list(causes.values())
        document["caused"] = [commit.tasks[index] for index in causes]
    return document


def to_commit(document: Document) -> Commit:
    """The commit that a document holds. Raises LogCorruptError where it does not fit together."""
    try:
        # int() because the driver gives 64-bit numbers in a class of its own.
        commit = Commit(
            id=document["_id"],
            first=int(document["first"]),
            at=int(document["at"]),
            prev=bytes(document["prev"]),
            seal=bytes(document["seal"]),
            tasks=list(map(int, document["tasks"])),
            keys=dict(
                zip(document.get("keys", ()), map(int, document.get("key_seqs", ())), strict=True)
            ),
            bodies=document["events"],
        )
        fits = len(commit.tasks) == len(commit.bodies) == document["n"] > 0
    except (KeyError, TypeError, ValueError) as error:
        raise LogCorruptError(_position(document), f"a commit is damaged: {error!r}") from error
    if not fits:
        raise LogCorruptError(commit.first, "tasks and events of the commit differ in number")
    return commit


def histories_pipeline(namespace: str, tasks: list[int]) -> list[Document]:
    """Has the server pick events of tasks, sorted, out of their commits: only those travel.

    What travels is of tasks from the first to the last of them, which a server finds fastest.
    """
    numbered = {"$zip": {"inputs": [{"$range": [0, {"$size": "$tasks"}]}, "$tasks", "$events"]}}
    task = {"$arrayElemAt": ["$$this", 1]}
    return [
        {"$match": {"ns": namespace, "tasks": {"$in": tasks}}},
        {"$sort": {"first": ASCENDING}},
        {
            "$project": {
                "first": 1,
                "at": 1,
                "found": {
                    "$filter": {
                        "input": numbered,
                        "cond": {"$and": [{"$gte": [task, tasks[0]]}, {"$lte": [task, tasks[-1]]}]},
                    }
                },
            }
        },
    ]


def _position(document: Document) -> int:
    first = document.get("first")
    return first if isinstance(first, int) else 0
