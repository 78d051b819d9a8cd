"""Keeping anchors where a log's owner cannot change them, and saying what they prove."""

from eventq.anchors.keeping import AnchorKeeper, KeepAnchors
from eventq.anchors.kept import FoundAnchor, KeptAnchors, read_anchors
from eventq.anchors.keys import Ed25519Key, HmacKey, KeyRing, parse_key
from eventq.anchors.proofs import Proof, prove

__all__ = [
    "AnchorKeeper",
    "Ed25519Key",
    "FoundAnchor",
    "HmacKey",
    "KeepAnchors",
    "KeptAnchors",
    "KeyRing",
    "Proof",
    "parse_key",
    "prove",
    "read_anchors",
]
