"""Keys that sign anchors: a secret for HMAC-SHA256, or an Ed25519 key; none is ever shown.

A key comes in as bytes: text that begins as a PEM does is an Ed25519 key, all other bytes a secret.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from hashlib import sha256
from typing import TYPE_CHECKING

from msgspec.structs import replace

from eventq.errors import ArgumentError
from eventq.verify.anchor import Anchor, signed_text

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (
        Ed25519PrivateKey,
        Ed25519PublicKey,
    )

INSTALL = "pip install 'eventq[anchors]'"
PEM = b"-----BEGIN "
EXPECTED = "a secret, or an Ed25519 key in PEM, as `openssl genpkey -algorithm ed25519` makes it"
# How much of a key's hash names it: enough to tell one's own keys apart.
NAME_DIGITS = 16


class HmacKey:
    """A secret: whoever has it can make anchors, and check them."""

    kind = "hmac"
    can_sign = True

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        # Keyed, so that a weak secret cannot be guessed from its name any better than from an hmac.
        self.name = hmac.new(secret, b"eventq anchor key", sha256).hexdigest()[:NAME_DIGITS]

    def sign(self, anchor: Anchor) -> Anchor:
        """The anchor with its keyed hash."""
        return replace(anchor, hmac=self._mac(anchor))

    def fits(self, anchor: Anchor) -> bool:
        """Whether the anchor was made with this key."""
        # Compared in constant time, and as bytes, since the file may hold any text.
        return anchor.hmac is not None and hmac.compare_digest(
            self._mac(anchor).encode(), anchor.hmac.encode()
        )

    def _mac(self, anchor: Anchor) -> str:
        return hmac.new(self._secret, signed_text(anchor), sha256).hexdigest()


class Ed25519Key:
    """A key pair, or its public half, which checks anchors and cannot make them."""

    kind = "ed25519"

    def __init__(self, public: Ed25519PublicKey, private: Ed25519PrivateKey | None = None) -> None:
        self._public = public
        self._private = private
        self.can_sign = private is not None
        self.name = sha256(public.public_bytes_raw()).hexdigest()[:NAME_DIGITS]

    def sign(self, anchor: Anchor) -> Anchor:
        """The anchor with its signature."""
        assert self._private is not None, "a public key signs nothing"
        return replace(anchor, ed25519=self._private.sign(signed_text(anchor)).hex())

    def fits(self, anchor: Anchor) -> bool:
        """Whether the anchor was made with this key."""
        from cryptography.exceptions import InvalidSignature  # noqa: PLC0415 - an extra

        try:
            self._public.verify(bytes.fromhex(anchor.ed25519 or ""), signed_text(anchor))
        except (InvalidSignature, ValueError):
            return False
        return True


AnchorKey = HmacKey | Ed25519Key


def parse_key(data: bytes, name: str) -> AnchorKey:
    """The key in these bytes; one line break at the end is not part of a secret.

    Raises ArgumentError naming where it is from; the message never holds the key.
    """
    text = data.removesuffix(b"\n").removesuffix(b"\r")
    if not text:
        raise ArgumentError(name, "", EXPECTED)
    return _parse_pem(text, name) if text.startswith(PEM) else HmacKey(text)


class KeyRing:
    """The keys that anchors are checked with: each may be made with any of them."""

    def __init__(self, keys: Sequence[AnchorKey] = ()) -> None:
        self.keys = tuple(keys)

    def find(self, anchor: Anchor) -> AnchorKey | None:
        """The key that the anchor was made with; None for none of these."""
        return next((key for key in self.keys if key.fits(anchor)), None)

    def means_of(self, anchor: Anchor) -> tuple[str, str | None]:
        """The kind and the name of the key that vouches for the anchor; else its place does."""
        key = self.find(anchor)
        return ("place", None) if key is None else (key.kind, key.name)

    def lacks(self, anchor: Anchor) -> str | None:
        """The kind of key that is needed to check the anchor and is not here; None if none is."""
        signed = [kind for kind in ("hmac", "ed25519") if getattr(anchor, kind) is not None]
        if not signed or any(key.kind in signed for key in self.keys):
            return None
        return signed[0]

    def flaw(self, anchor: Anchor) -> str | None:
        """What is wrong with who made the anchor; None when one of the keys did.

        Without a key nothing can be said, so an anchor that is signed is then refused as well.
        """
        lacking = self.lacks(anchor)
        if lacking is not None:
            return f"the anchor has an {lacking} signature, and there is no key to check it with"
        if self.find(anchor) is not None or not (self.keys or _is_signed(anchor)):
            return None
        if not _is_signed(anchor):
            return "the anchor is not signed, so anybody may have made it"
        return "the signature does not fit: another key made the anchor, or the anchor was changed"


def _is_signed(anchor: Anchor) -> bool:
    return anchor.hmac is not None or anchor.ed25519 is not None


def _parse_pem(text: bytes, name: str) -> Ed25519Key:
    try:
        from cryptography.hazmat.primitives import serialization  # noqa: PLC0415 - an extra
        from cryptography.hazmat.primitives.asymmetric import ed25519  # noqa: PLC0415 - an extra
    except ImportError:
        raise ArgumentError(name, "a PEM", f"a secret; Ed25519 keys need {INSTALL}") from None
    try:
        if b" PRIVATE KEY-" in text.partition(b"\n")[0]:
            private = serialization.load_pem_private_key(text, password=None)
            if isinstance(private, ed25519.Ed25519PrivateKey):
                return Ed25519Key(private.public_key(), private)
        else:
            public = serialization.load_pem_public_key(text)
            if isinstance(public, ed25519.Ed25519PublicKey):
                return Ed25519Key(public)
    except (ValueError, TypeError):
        raise ArgumentError(name, "a PEM that cannot be read", EXPECTED) from None
    raise ArgumentError(name, "a key of another kind", EXPECTED)
