"""Network namespaces for the members of a replica set, so that one can be cut off as by a cable.

It needs root and the program ``ip``; what it makes ends with it. Clients stand outside, on the
bridge between the members.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import subprocess
from contextlib import suppress
from types import TracebackType
from typing import Self

from tools.folders import lives

# Networks for measurements, which no host has: one for each set that stands at a time.
NETWORKS = [f"198.{18 + number // 256}.{number % 256}" for number in range(512)]
OUTSIDE = 1


class Network:
    """A bridge, and a namespace with a cable to it for each member."""

    def __init__(self, size: int) -> None:
        # The names of links have 15 characters at the most.
        mark = f"eq{os.getpid():x}x{secrets.token_hex(1)}"
        self._bridge = f"{mark}b"
        self._names = [f"{mark}n{index}" for index in range(size)]
        self._prefix = _unused_network()
        self.hosts = [f"{self._prefix}.{OUTSIDE + 1 + index}" for index in range(size)]

    @staticmethod
    def is_possible() -> bool:
        """Whether this user may make namespaces here."""
        if os.geteuid() != 0 or shutil.which("ip") is None:
            return False
        name = f"eq{secrets.token_hex(4)}try"
        tried = _ip("netns", "add", name, check=False)
        if tried:
            _ip("netns", "del", name)
        return tried

    def inside(self, index: int) -> list[str]:
        """What a member's command begins with."""
        return ["ip", "netns", "exec", self._names[index]]

    def cut_off(self, index: int) -> None:
        """Pulls the member's cable: nobody hears of it, and it hears of nobody."""
        _ip("link", "set", self._names[index], "down")

    def part(self, index: int) -> None:
        """The member and the others hear nothing of each other; clients reach all."""
        for host in self._others(index):
            _ip("-n", self._names[index], "route", "add", "blackhole", f"{host}/32")

    def heal(self, index: int) -> None:
        """Undoes both."""
        _ip("link", "set", self._names[index], "up")
        for host in self._others(index):
            _ip("-n", self._names[index], "route", "del", "blackhole", f"{host}/32", check=False)

    def __enter__(self) -> Self:
        """Makes it."""
        _clear()
        try:
            _ip("link", "add", self._bridge, "type", "bridge")
            _ip("addr", "add", f"{self._prefix}.{OUTSIDE}/24", "dev", self._bridge)
            _ip("link", "set", self._bridge, "up")
            for name, host in zip(self._names, self.hosts, strict=True):
                self._connect(name, host)
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        """Removes it; the members must have ended."""
        self._remove()

    def _connect(self, name: str, host: str) -> None:
        _ip("netns", "add", name)
        _ip("link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", name)
        _ip("link", "set", name, "master", self._bridge)
        _ip("link", "set", name, "up")
        _ip("-n", name, "addr", "add", f"{host}/24", "dev", "eth0")
        _ip("-n", name, "link", "set", "eth0", "up")
        _ip("-n", name, "link", "set", "lo", "up")

    def _others(self, index: int) -> list[str]:
        return [host for place, host in enumerate(self.hosts) if place != index]

    def _remove(self) -> None:
        for name in self._names:
            # With it its end of the cable goes, and so the other.
            _ip("netns", "del", name, check=False)
        _ip("link", "del", self._bridge, check=False)


def _clear() -> None:
    """Removes the namespaces and bridges of processes that were killed."""
    for kind, listed in (("netns", ["netns", "list"]), ("link", ["-brief", "link"])):
        said = subprocess.run(["ip", *listed], capture_output=True, text=True, check=False).stdout
        for name in re.findall(r"^eq[0-9a-f]+x[0-9a-f]{2}[bn]\d?", said, re.MULTILINE):
            if not lives(int(name[2 : name.index("x")], 16)):
                _ip(kind, "del", name, check=False)


def _unused_network() -> str:
    """One that no bridge of this machine has; two that begin at once look from other places on."""
    known = subprocess.run(["ip", "-4", "addr"], capture_output=True, text=True, check=True).stdout
    begin = secrets.randbelow(len(NETWORKS))
    turned = [*NETWORKS[begin:], *NETWORKS[:begin]]
    return next(network for network in turned if f" {network}." not in known)


def _ip(*words: str, check: bool = True) -> bool:
    """Whether it did it. Raises CalledProcessError where it must and does not."""
    with suppress(FileNotFoundError):
        done = subprocess.run(["ip", *words], capture_output=True, check=check)
        return done.returncode == 0
    return False
