"""A server under load behind a proxy that cuts connections around appends, at chosen moments."""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from random import Random

from eventq.eventlog import open_log
from tests.eventlog.mongo.proxy import MOMENTS, Proxy
from tools.mongod import Member, ReplicaSet
from tools.torture_mongo.faults import Elected
from tools.torture_mongo.judging import Verdict, torture
from tools.torture_mongo.load import Load

# How many connections are cut in a round, and how many of the appends are.
CUTS = 25
SHARE = 0.2


def cut_wire(servers: ReplicaSet, database: str, seed: int) -> Verdict:
    """A round: producers and workers on one server, whose connections are cut under appends.

    Raises AssertionError where anything was lost, done twice or given up.
    """
    chance, cuts = Random(seed), Counter[str]()

    def decide() -> str | None:
        if cuts.total() >= CUTS or chance.random() >= SHARE:
            return None
        moment = chance.choice(MOMENTS)
        cuts[moment] += 1
        return moment

    def fault(servers: ReplicaSet, elected: Elected) -> None:
        elected(servers.wait_for_primary())

    member: Member = servers.members[0]
    with closing(open_log(servers.url(database))) as log:
        with (
            Proxy(member.port, command="insert", decide=decide) as proxy,
            Load(proxy.url(database)) as load,
        ):
            verdict = torture(servers, log, load, [fault])
        assert cuts.total() > 0, "no connection was cut"
    return verdict
