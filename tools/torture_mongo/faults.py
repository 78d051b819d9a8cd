"""What can happen to a primary. Each fault gives the new primary, and leaves the set whole."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable

from tools.mongod import Member, ReplicaSet

# How long a set of three may be without a primary before a round counts as failed.
ELECTED_S = 60.0
POLL_S = 0.02

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


FAULTS: dict[str, Fault] = {
    "step-down": step_down,
    "kill": kill_primary,
    "stop": stop_primary,
    "kill-all": kill_all,
}


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
