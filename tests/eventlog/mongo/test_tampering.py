"""Whatever is changed in the documents of a MongoDB log is found, and the position named."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pymongo
import pytest
from bson import Binary
from pymongo.collection import Collection
from pymongo.uri_parser import parse_uri

from eventq.eventlog import open_log
from eventq.eventlog.mongo.documents import COMMITS as COLLECTION
from eventq.eventlog.mongo.documents import Document
from eventq.verify import Anchor, Verdict, verify
from tests.servers import new_url
from tests.verify.tampering import COMMITS, LAST, append_all
from tools.mongod import ReplicaSet

LAST_ANCHOR = Anchor("default", LAST, COMMITS[-1].at, COMMITS[-1].seal.hex())
BODY = COMMITS[3].bodies[0]


@pytest.fixture
def url(mongod: ReplicaSet) -> str:
    """The story, in a database of its own."""
    url = new_url(mongod)
    with closing(open_log(url)) as log:
        append_all(log)
    return url


@pytest.fixture
def commits(url: str) -> Iterator[Collection[Document]]:
    """The documents, as anybody with a password can change them."""
    with pymongo.MongoClient[dict[str, Any]](url) as client:
        yield client[parse_uri(url)["database"]][COLLECTION]


def verdict_of(url: str, *anchors: Anchor) -> Verdict:
    """What the verifier says of the log at the URL."""
    with closing(open_log(url, create=False)) as log:
        return verify(log, anchors=anchors, indexes="full")


def test_what_nobody_changed_is_good(url: str) -> None:
    """The log that the tests here change is good before."""
    verdict = verdict_of(url, LAST_ANCHOR)

    assert (verdict.findings, verdict.seq, verdict.anchors) == ((), LAST, 1)


# What is done to the commit of the positions 7 and 8.
SETS: list[tuple[dict[str, Any], int]] = [
    ({"first": 70}, 7),
    ({"n": 1}, 7),
    ({"at": 1_201}, 7),
    ({"prev": Binary(bytes(32))}, 7),
    ({"seal": Binary(bytes(32))}, 7),
    ({"tasks": [2, 1]}, 7),
    ({"tasks": [2]}, 7),
    ({"keys": ["mine"], "key_seqs": [7]}, 7),
    ({"events": COMMITS[3].bodies[::-1]}, 7),
    ({"events": [BODY.replace("no space", "no room"), COMMITS[3].bodies[1]]}, 7),
    ({"events": ["", COMMITS[3].bodies[1]]}, 7),
    ({"events": []}, 7),
    ({"ns": "other"}, 7),
]


@pytest.mark.parametrize("fields, seq", SETS, ids=[str(fields)[:40] for fields, _ in SETS])
def test_a_changed_field_is_found(
    url: str, commits: Collection[Document], fields: dict[str, Any], seq: int
) -> None:
    """Each field of the document."""
    commits.update_one({"first": 7}, {"$set": fields})

    assert verdict_of(url).findings[0].seq == seq


def test_another_id_is_found(url: str, commits: Collection[Document]) -> None:
    """The id is sealed, too; it changes only with the whole document."""
    document = commits.find_one_and_delete({"first": 7})
    commits.insert_one({**(document or {}), "_id": "other"})

    assert verdict_of(url).findings[0].seq == 7


def test_a_deleted_commit_is_found(url: str, commits: Collection[Document]) -> None:
    """In the middle it leaves a hole."""
    commits.delete_one({"first": 7})

    assert verdict_of(url).findings[0].seq == 7


def test_a_cut_tail_is_found_by_an_anchor(url: str, commits: Collection[Document]) -> None:
    """What is left is a good log, and only an anchor knows that there was more."""
    commits.delete_many({"first": {"$gt": 8}})

    alone, anchored = verdict_of(url), verdict_of(url, LAST_ANCHOR)

    assert alone.ok
    assert [(finding.seq, finding.rule) for finding in anchored.findings] == [(9, "anchor")]


def test_a_commit_before_the_first_position_is_found(
    url: str, commits: Collection[Document]
) -> None:
    """No reader of commits comes by it, but a task's history would show its events."""
    document = commits.find_one({"first": 7}) or {}
    commits.insert_one({**document, "_id": "other", "first": -5})

    [finding] = verdict_of(url).findings
    assert (finding.seq, finding.rule) == (-5, "position")
