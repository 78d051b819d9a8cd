"""The independent verifier, and anchors; nothing here shares a rule with what it verifies."""

from eventq.verify.anchor import Anchor, check_anchor, make_anchor, parse_anchor
from eventq.verify.base import base_at_start, base_of
from eventq.verify.verifier import Finding, Verdict, VerifyBase, verify

__all__ = [
    "Anchor",
    "Finding",
    "Verdict",
    "VerifyBase",
    "base_at_start",
    "base_of",
    "check_anchor",
    "make_anchor",
    "parse_anchor",
    "verify",
]
