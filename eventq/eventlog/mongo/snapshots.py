"""Snapshots in the MongoDB database of their log: one document each, and their bytes in pieces.

A document holds at most 16 MB, so the pieces are documents of their own. They are written first: a
snapshot exists once it has a document in `snapshots`, and all its pieces.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pymongo import ASCENDING

from eventq.errors import LogCorruptError
from eventq.eventlog.contract import SnapshotEntry
from eventq.eventlog.mongo.connection import MongoConnection
from eventq.eventlog.mongo.documents import Document

SNAPSHOTS = "snapshots"
PIECES = "snapshot_pieces"
# Small enough for a slow link within the driver's timeouts.
PIECE_BYTES = 1024**2
# Pieces without a snapshot are of a writer at work or, after so many seconds, of one killed.
ABANDONED_S = 3_600


class MongoSnapshots:
    """The Snapshots of one namespace, through its log's connection."""

    def __init__(self, connection: MongoConnection, namespace: str) -> None:
        self._connection = connection
        self._namespace = namespace

    def entries(self) -> list[SnapshotEntry]:
        """See Snapshots.entries."""
        with self._reading():
            found = self._connection.collection(SNAPSHOTS).find(
                {"ns": self._namespace}, sort=[("seq", ASCENDING)]
            )
            return [_to_entry(document) for document in found]

    def get(self, seq: int) -> bytes | None:
        """See Snapshots.get."""
        with self._reading():
            found = self._connection.collection(SNAPSHOTS).find_one(self._name(seq))
            if found is None:
                return None
            names = piece_names(found)
            pieces = {
                piece["_id"]: bytes(piece["content"])
                for piece in self._connection.collection(PIECES).find({"_id": {"$in": names}})
            }
        if len(pieces) != len(names):
            # It was replaced or deleted between the two reads, or is damaged.
            return None
        return b"".join(pieces[name] for name in names)

    def put(self, entry: SnapshotEntry, data: bytes) -> None:
        """See Snapshots.put."""
        token = secrets.token_hex(16)
        document = {
            **self._name(entry.seq),
            "ns": self._namespace,
            "seq": entry.seq,
            "at": entry.at,
            "seal": entry.seal,
            "taken_at": entry.taken_at,
            "bytes": len(data),
            "token": token,
            "pieces": -(-len(data) // PIECE_BYTES),
        }
        with self._connection.translating():
            self._clear_abandoned()
            pieces = self._connection.collection(PIECES)
            now_us = time.time_ns() // 1_000
            for place, name in enumerate(piece_names(document)):
                start = place * PIECE_BYTES
                content = data[start : start + PIECE_BYTES]
                pieces.insert_one(
                    {"_id": name, "token": token, "written_at": now_us, "content": content}
                )
            before = self._connection.collection(SNAPSHOTS).find_one_and_replace(
                self._name(entry.seq), document, upsert=True
            )
            if before is not None:
                pieces.delete_many({"_id": {"$in": piece_names(before)}})

    def delete(self, seq: int) -> bool:
        """See Snapshots.delete."""
        with self._connection.translating():
            found = self._connection.collection(SNAPSHOTS).find_one_and_delete(self._name(seq))
            if found is None:
                return False
            self._connection.collection(PIECES).delete_many({"_id": {"$in": piece_names(found)}})
        return True

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """The driver's errors, and those of foreign documents, leave the block as ours."""
        try:
            with self._connection.translating():
                yield
        except (KeyError, TypeError, ValueError) as error:
            raise LogCorruptError(0, f"a snapshot's document is damaged: {error!r}") from error

    def _clear_abandoned(self) -> None:
        """Deletes the pieces of writers that were killed before their last piece."""
        long_ago_us = time.time_ns() // 1_000 - ABANDONED_S * 1_000_000
        pieces = self._connection.collection(PIECES)
        # Without this index the server would read all pieces for each new snapshot.
        pieces.create_index([("written_at", ASCENDING), ("token", ASCENDING)], name="age")
        old = pieces.distinct("token", {"written_at": {"$lt": long_ago_us}})
        whole = self._connection.collection(SNAPSHOTS).distinct("token", {"token": {"$in": old}})
        abandoned = sorted(set(old) - set(whole))
        if abandoned:
            pieces.delete_many({"token": {"$in": abandoned}})

    def _name(self, seq: int) -> Document:
        return {"_id": f"{seq}:{self._namespace}"}


def piece_names(document: Document) -> list[Any]:
    """The ids of the pieces of a snapshot, in order."""
    return [f"{document['token']}:{place}" for place in range(document["pieces"])]


def _to_entry(document: Document) -> SnapshotEntry:
    # int() because the driver gives 64-bit numbers in a class of its own.
    return SnapshotEntry(
        seq=int(document["seq"]),
        at=int(document["at"]),
        seal=bytes(document["seal"]),
        taken_at=int(document["taken_at"]),
        size_bytes=int(document["bytes"]),
    )
