"""What all processes of one simulation find out alike, found out once.

They are handed the same commits, which never change: whether a seal is right, and what the bodies
say, is as true for the next process as for the first. Whoever judges in the end shares nothing with
this.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

from eventq.catalog import passing
from eventq.core import projection
from eventq.core.commits import AnyBody, Commit, Unknown, decode_at
from eventq.core.seal import check_seal
from eventq.replay import fold


class Once:
    """The seals and bodies of one simulation's commits."""

    def __init__(self) -> None:
        # By identity, with what has it, so that it is given to nothing else.
        self._sealed: dict[int, Commit] = {}
        self._decoded: dict[int, tuple[list[str], list[AnyBody | Unknown]]] = {}

    @contextmanager
    def shared(self) -> Iterator[None]:
        """While a block of ``with`` lasts, all folds of this process ask here."""
        with (
            patch.object(fold, "check_seal", self.check_seal),
            patch.object(passing, "check_seal", self.check_seal),
            patch.object(projection, "decode_at", self.decode_at),
        ):
            yield

    def check_seal(self, commit: Commit, *, prev: bytes) -> None:
        """See `core.seal`; a commit is hashed again unless it was found right."""
        if commit.prev != prev or self._sealed.get(id(commit)) is not commit:
            check_seal(commit, prev=prev)
            self._sealed[id(commit)] = commit

    def decode_at(self, seq: int, texts: list[str]) -> list[AnyBody | Unknown]:
        """See `core.commits`."""
        known = self._decoded.get(id(texts))
        if known is None:
            known = self._decoded[id(texts)] = texts, decode_at(seq, texts)
        return known[1]
