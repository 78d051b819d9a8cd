"""Connections cut around an append: it ends as one commit or none, and its caller knows which."""

from __future__ import annotations

import secrets
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from random import Random

import pytest

from eventq.errors import LogConflictError
from eventq.eventlog.mongo.documents import COMMITS
from eventq.eventlog.mongo.log import MongoLog
from tests.eventlog.commits import append, assert_tiles, commit_after, everything
from tests.eventlog.mongo.proxy import MOMENTS, Proxy
from tools.mongod import ReplicaSet

# Each thread has a log and a proxy of its own: the driver looks for a lost server twice a second.
THREADS = 8
CUTS_A_THREAD = 25


class Cutter:
    """Cuts the connection under an append up to three times, since the driver itself tries twice.

    Now and then somebody else takes the position meanwhile.
    """

    def __init__(self, rival: MongoLog, seed: int) -> None:
        self.cuts: Counter[str] = Counter()
        self.rivals = 0
        self._rival = rival
        self._random = Random(seed)
        self._left = 0

    def arm(self) -> None:
        """Decides about the next append."""
        self._left = self._random.randint(1, 3)

    def __call__(self) -> str | None:
        """What happens to a request of the append."""
        if self._left == 0:
            return None
        self._left -= 1
        moment = self._random.choice(MOMENTS)
        self.cuts[moment] += 1
        if self._random.random() < 0.25 and self._take_position():
            self.rivals += 1
        return moment

    def _take_position(self) -> bool:
        try:
            append(self._rival)
        except LogConflictError:
            # The append under the cut came just before it.
            return False
        return True


def cut_and_judge(servers: ReplicaSet, seed: int) -> tuple[Counter[str], Counter[bool]]:
    """Appends with cuts; gives how often it was cut where, and how many were made or refused."""
    told: Counter[bool] = Counter()
    database = f"cuts-{seed}-{secrets.token_hex(4)}"
    direct = MongoLog(servers.url(database), namespace="default", create=True)
    with closing(direct):
        cutter = Cutter(direct, seed)
        port = servers.members[0].port
        with (
            Proxy(port, command="insert", decide=cutter) as proxy,
            closing(MongoLog(proxy.url(database), namespace="default", create=False)) as log,
        ):
            while cutter.cuts.total() < CUTS_A_THREAD:
                commit = commit_after(log.head(), 3)
                cutter.arm()
                try:
                    log.append(commit)
                except LogConflictError:
                    is_made = False
                else:
                    is_made = True
                told[is_made] += 1
                found = [there.id for there in direct.read(after=0, limit=10**6)]
                assert found.count(commit.id) == is_made
        assert_tiles(everything(direct))
        with servers.members[0].client() as client:
            count = client[database][COMMITS].count_documents({})
        assert count == told[True] + cutter.rivals
    return cutter.cuts, told


@pytest.mark.slow
def test_each_append_is_one_commit_or_none(mongod: ReplicaSet) -> None:
    """In 200 cuts each append that returns is there once, and each that raises is not there."""
    with ThreadPoolExecutor(THREADS) as pool:
        results = list(pool.map(lambda seed: cut_and_judge(mongod, seed), range(THREADS)))

    cuts = sum((cuts for cuts, _ in results), Counter())
    told = sum((told for _, told in results), Counter())
    assert cuts.total() >= THREADS * CUTS_A_THREAD
    assert cuts.keys() == set(MOMENTS)
    assert told[True] > 20
    assert told[False] > 5
