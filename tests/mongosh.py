"""Runs what pages show for the mongo shell, as far as pages go: calls whose arguments are JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from bson.json_util import RELAXED_JSON_OPTIONS, dumps
from pymongo import MongoClient

from tools.mongod import ReplicaSet

BEGINNING = re.compile(r"db\.(\w+)")
CALL = re.compile(r"\s*\.(\w+)\(")
BETWEEN = re.compile(r"[\s,]*")

_decoder = json.JSONDecoder()

CALLS: dict[str, Callable[..., Any]] = {
    "find": lambda collection, *arguments: collection.find(*arguments),
    "aggregate": lambda collection, pipeline: collection.aggregate(pipeline),
    "countDocuments": lambda collection, query: [collection.count_documents(query)],
    "getIndexes": lambda collection: collection.list_indexes(),
    "sort": lambda cursor, order: cursor.sort(list(order.items())),
    "limit": lambda cursor, count: cursor.limit(count),
}


def emptied(servers: ReplicaSet, databases: set[str]) -> str:
    """The address of a server without these databases."""
    with servers.members[0].client() as client:
        for database in databases:
            client.drop_database(database)
    return servers.members[0].address


def run(address: str, database: str, text: str) -> str:
    """What one statement such as ``db.events.find({...}).limit(3)`` finds, a line a document."""
    with MongoClient[dict[str, Any]](f"mongodb://{address}/?directConnection=true") as client:
        return "".join(
            dumps(row, json_options=RELAXED_JSON_OPTIONS) + "\n"
            for row in _found(client[database], text.strip())
        )


def _found(database: Any, text: str) -> Any:  # noqa: ANN401 - whatever the calls give
    named = BEGINNING.match(text)
    assert named, f"a statement begins with db.collection: {text!r}"
    found = database[named[1]]
    place = named.end()
    while place < len(text):
        call = CALL.match(text, place)
        assert call, f"no call of a method: {text[place:]!r}"
        arguments, place = _arguments(text, call.end())
        found = CALLS[call[1]](found, *arguments)
    return found


def _arguments(text: str, place: int) -> tuple[list[Any], int]:
    """The JSON values up to the closing bracket, and where the text goes on."""
    arguments: list[Any] = []
    while True:
        between = BETWEEN.match(text, place)
        assert between
        place = between.end()
        if text[place] == ")":
            return arguments, place + 1
        value, place = _decoder.raw_decode(text, place)
        arguments.append(value)
