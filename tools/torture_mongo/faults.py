"""What can happen to a primary. Each fault gives the new primary, and leaves the set whole."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tools.mongod import Member, Network, ReplicaSet

# How long a set of three may be without a primary before a round counts as failed.
ELECTED_S = 60.0
POLL_S = 0.02
# What a member's own log says once for each time that it takes back what it had written.
ROLLED_BACK = "Rollback summary"

# Called with the new primary as soon as there is one; the harm is undone after it has returned.
Elected = Callable[[Member], None]
Fault = Callable[[ReplicaSet, Elected], None]


def step_down(servers: ReplicaSet, elected: Elected) -> None:
    """The primary gives up its place of its own accord."""
    servers.step_down()
    elected(wait_for_primary(servers))


def kill_primary(servers: ReplicaSet, elected: Elected) -> None:
    """SIGKILL; it comes back when the others have gone on without it."""
    old = servers.wait_for_primary()
    old.kill()
    elected(wait_for_primary(servers, without=old))
    old.start()
    servers.wait_until_whole()


def stop_primary(servers: ReplicaSet, elected: Elected) -> None:
    """SIGSTOP: its connections stand open and say nothing; SIGCONT once the others went on."""
    old = servers.wait_for_primary()
    old.signal(signal.SIGSTOP)
    try:
        elected(wait_for_primary(servers, without=old))
    finally:
        old.signal(signal.SIGCONT)
    servers.wait_until_whole()


def kill_all(servers: ReplicaSet, elected: Elected) -> None:
    """SIGKILL for all at once, as when the power goes, and all are started again."""
    for member in servers.members:
        member.signal(signal.SIGKILL)
    for member in servers.members:
        member.kill()
    for member in servers.members:
        member.start()
    elected(wait_for_primary(servers))
    servers.wait_until_whole()


def cut_off_primary(servers: ReplicaSet, elected: Elected) -> None:
    """Its cable is pulled: clients and the others hear nothing of it until it is put back."""
    with _harmed(servers) as (network, index, old):
        network.cut_off(index)
        elected(wait_for_primary(servers, without=old))


def part_primary(servers: ReplicaSet, elected: Elected) -> None:
    """It does not hear of the others, and clients still reach it.

    What they write there until it gives up its place is rolled back when the others are heard.
    """
    with _harmed(servers) as (network, index, old):
        network.part(index)
        elected(wait_for_primary(servers, without=old))


FAULTS: dict[str, Fault] = {
    "step-down": step_down,
    "kill": kill_primary,
    "stop": stop_primary,
    "kill-all": kill_all,
}
# These need a set in a network.
PARTITIONS: dict[str, Fault] = {
    "cut-off": cut_off_primary,
    "part": part_primary,
}


@contextmanager
def _harmed(servers: ReplicaSet) -> Iterator[tuple[Network, int, Member]]:
    """The network, and the primary with its place; all is well again behind the block."""
    network = servers.network
    assert network is not None, "members in network namespaces"
    old = servers.wait_for_primary()
    index = servers.members.index(old)
    try:
        yield network, index, old
    finally:
        network.heal(index)
    servers.wait_until_whole()


def rollbacks(servers: ReplicaSet) -> int:
    """How often members have taken back what they had written, by their own logs."""
    logs = servers.folder.glob("node*/mongod.log")
    return sum(path.read_text(errors="replace").count(ROLLED_BACK) for path in logs)


def wait_for_primary(servers: ReplicaSet, *, without: Member | None = None) -> Member:
    """The primary, once there is one. Raises TimeoutError."""
    others = [member for member in servers.members if member is not without]
    ends_s = time.monotonic() + ELECTED_S
    while time.monotonic() < ends_s:
        for member in others:
            if member.is_primary():
                return member
        time.sleep(POLL_S)
    raise TimeoutError(f"no primary within {ELECTED_S:g} s")
