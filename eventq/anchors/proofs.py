"""What anchors that hold prove, and what they leave unproven: by which key, kept where.

Whoever can rewrite a log can rewrite what lies beside it; so that proves nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from eventq.anchors.kept import FoundAnchor
from eventq.anchors.keys import KeyRing
from eventq.anchors.stamps import stamped_at
from eventq.errors import AnchorError
from eventq.eventlog import file_of
from eventq.verify.anchor import Anchor
from eventq.verify.verifier import Verdict

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

BESIDE = "it lies beside the log and is not signed: whoever rewrites the log rewrites it"
KEY_BESIDE = "the key lies beside the log: whoever rewrites the log signs anew"
CUT_BESIDE = "it lies beside the log: whoever cuts the log's end can cut this file, too"
SHARED_KEY = "whoever can check them can also forge them, since the key is the same"
ONLY_STAMPED = "it proves no more than that nothing was changed since it was stamped"
NO_ROOTS = "the time stamp server was not checked: give its certificate with --stamp-roots"


class Proof(Struct, frozen=True):
    """What the anchors of one file, made with one key by one person, show of a log."""

    file: str
    kind: str
    """What vouches for them: ``hmac``, ``ed25519``, or ``place``, where they are kept."""
    key: str | None
    """The first digits of a hash of the key."""
    by: str
    """Who held the key, as they said."""
    anchors: int
    """How many hold."""
    seq: int
    """Everything up to this position is what it was when the last of them was made."""
    at: int
    """The instant there."""
    stamped: int
    """How many have a time stamp that is about them."""
    stamped_at: datetime | None
    """When a time stamp server says that the last of these was there."""
    proven: bool
    doubt: str | None
    """Why it proves nothing, or less than it might."""


class Proofs(Struct, frozen=True):
    """All that is proven of a log, and what is wrong with anchors."""

    proofs: tuple[Proof, ...]
    seq: int
    """Everything up to this position is proven; 0: nothing."""
    flaws: tuple[tuple[FoundAnchor, str], ...]
    """Anchors that somebody else made, or whose stamp does not hold."""


class Verified(Struct, frozen=True):
    """A verdict, and what anchors prove beside it."""

    verdict: Verdict
    proofs: tuple[Proof, ...]
    proven: int
    """Up to which position an anchor proves that nothing was changed since."""
    warning: str | None

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return self.verdict.ok


def prove(
    found: Sequence[FoundAnchor],
    held: Iterable[Anchor],
    keys: KeyRing,
    *,
    url: str,
    key_files: Sequence[Path] = (),
    roots: list[Certificate] | None = None,
) -> Proofs:
    """What anchors prove that were ``found`` and, as the verifier says, ``held``.

    ``url`` is that of the log, and ``key_files`` are where the keys were read from.
    """
    holding = set(held)
    flaws: list[tuple[FoundAnchor, str]] = []
    groups: dict[tuple[str, str, str | None, str], list[tuple[Anchor, datetime | None]]] = {}
    for each in found:
        anchor = each.anchor
        flaw = keys.flaw(anchor)
        stamp: datetime | None = None
        if anchor.stamp is not None:
            try:
                stamp = stamped_at(anchor.stamp, anchor, roots)
            except AnchorError as error:
                flaw = flaw or error.problem
        if flaw is not None:
            flaws.append((each, flaw))
        elif anchor in holding:
            kind, name = keys.means_of(anchor)
            groups.setdefault((each.file, kind, name, anchor.by), []).append((anchor, stamp))
    folder = _folder(url)
    key_beside = folder is not None and any(lies_in(path, folder) for path in key_files)
    proofs = tuple(
        _proof(name, group, folder=folder, key_beside=key_beside, checked=bool(roots))
        for name, group in groups.items()
    )
    seq = max((proof.seq for proof in proofs if proof.proven), default=0)
    return Proofs(proofs, seq, tuple(flaws))


def lies_in(path: Path, folder: Path) -> bool:
    """Whether a file is in the folder, or in one within it."""
    return path.resolve().is_relative_to(folder)


def _folder(url: str) -> Path | None:
    file = file_of(url)
    return None if file is None else file.resolve().parent


def _proof(
    name: tuple[str, str, str | None, str],
    group: list[tuple[Anchor, datetime | None]],
    *,
    folder: Path | None,
    key_beside: bool,
    checked: bool,
) -> Proof:
    file, kind, key, by = name
    beside = folder is not None and lies_in(Path(file), folder)
    doubt = _doubt(kind, beside=beside, key_beside=key_beside)
    proven = doubt is None
    if doubt is not None and checked:
        # What a server that is trusted has stamped cannot be made anew with an earlier time.
        stamped = [each for each in group if each[1] is not None]
        if stamped:
            group, proven, doubt = stamped, True, ONLY_STAMPED
    stamps = [stamp for _, stamp in group if stamp is not None]
    if doubt is None:
        doubt = _reserve(kind, beside=beside, stamped=bool(stamps), checked=checked)
    last = max((anchor for anchor, _ in group), key=lambda anchor: anchor.seq)
    return Proof(
        file=file,
        kind=kind,
        key=key,
        by=by,
        anchors=len({anchor.seq for anchor, _ in group}),
        seq=last.seq,
        at=last.at,
        stamped=len(stamps),
        stamped_at=max(stamps, default=None),
        proven=proven,
        doubt=doubt,
    )


def _doubt(kind: str, *, beside: bool, key_beside: bool) -> str | None:
    """Why anchors prove nothing against who may write the log; None where they do."""
    if kind == "place":
        return BESIDE if beside else None
    return KEY_BESIDE if key_beside else None


def _reserve(kind: str, *, beside: bool, stamped: bool, checked: bool) -> str | None:
    """What anchors that prove something leave open; None for nothing."""
    found = []
    if beside:
        found.append(CUT_BESIDE)
    if stamped and not checked:
        found.append(NO_ROOTS)
    if kind == "hmac":
        found.append(SHARED_KEY)
    return "; ".join(found) or None
