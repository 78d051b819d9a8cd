"""Keys of anchors: what they sign, what fits them, what is refused."""

from __future__ import annotations

import hmac
import json
from hashlib import sha256
from pathlib import Path

import pytest
from msgspec.structs import replace

from eventq.anchors.keys import AnchorKey, KeyRing, parse_key
from eventq.errors import ArgumentError
from eventq.verify.anchor import Anchor
from tests.anchors.stamping import openssl

ANCHOR = Anchor("default", 24, 2_000, "0f" * 32, by="ada@vault")
SECRET = b"not so secret"


def pair() -> tuple[AnchorKey, AnchorKey]:
    """An Ed25519 key and its public half, made by openssl."""
    private = openssl("genpkey", "-algorithm", "ed25519")
    public = openssl("pkey", "-pubout", stdin=private)
    return parse_key(private, "private.pem"), parse_key(public, "public.pem")


def test_the_hmac_is_what_the_page_says() -> None:
    """HMAC-SHA256 over the JSON array of namespace, position, instant, seal and who made it."""
    anchor = parse_key(SECRET, "key").sign(ANCHOR)

    text = json.dumps(["default", 24, 2_000, ANCHOR.seal, "ada@vault"], separators=(",", ":"))
    assert anchor.hmac == hmac.new(SECRET, text.encode(), sha256).hexdigest()


def test_openssl_checks_the_signature(tmp_path: Path) -> None:
    """It needs no eventq: the text, the signature and the public key are enough."""
    private = openssl("genpkey", "-algorithm", "ed25519")
    anchor = parse_key(private, "private.pem").sign(ANCHOR)
    (tmp_path / "public.pem").write_bytes(openssl("pkey", "-pubout", stdin=private))
    (tmp_path / "text").write_text(f'["default",24,2000,"{ANCHOR.seal}","ada@vault"]')
    (tmp_path / "signature").write_bytes(bytes.fromhex(anchor.ed25519 or ""))

    said = openssl(
        *("pkeyutl", "-verify", "-pubin", "-inkey", f"{tmp_path}/public.pem", "-rawin"),
        *("-in", f"{tmp_path}/text", "-sigfile", f"{tmp_path}/signature"),
    )

    assert b"Verified Successfully" in said


@pytest.mark.parametrize("kind", ["hmac", "ed25519"])
def test_only_the_key_fits(kind: str) -> None:
    """Another key, no key, a changed field, a missing or odd signature: each is told."""
    key, public = pair() if kind == "ed25519" else (parse_key(SECRET, "key"),) * 2
    other = pair()[1] if kind == "ed25519" else parse_key(b"wrong", "key")
    anchor = key.sign(ANCHOR)
    changes: list[dict[str, object]] = [
        {"namespace": "other"},
        {"seq": 23},
        {"at": 1},
        {"seal": "00" * 32},
        {"by": "eve"},
        {kind: "00" * 32},
        {kind: "ü"},
        {kind: ""},
        {kind: None},
    ]
    ring = KeyRing([public])

    assert ring.flaw(anchor) is None
    assert "another key" in (KeyRing([other]).flaw(anchor) or "")
    assert "no key" in (KeyRing().flaw(anchor) or "")
    assert all(ring.flaw(replace(anchor, **change)) for change in changes)
    assert KeyRing().flaw(ANCHOR) is None
    assert KeyRing([other, public]).flaw(anchor) is None


def test_a_key_of_one_kind_says_nothing_of_the_other() -> None:
    """Which kind is needed is told."""
    anchor = pair()[0].sign(ANCHOR)

    ring = KeyRing([parse_key(SECRET, "key")])

    assert ring.lacks(anchor) == "ed25519"
    assert "no key to check it with" in (ring.flaw(anchor) or "")


def test_the_names_of_keys_tell_them_apart() -> None:
    """Both halves of a pair have one name; the name does not hold the secret."""
    private, public = pair()

    assert private.name == public.name
    assert (private.can_sign, public.can_sign) == (True, False)
    assert parse_key(b"a", "key").name != parse_key(b"b", "key").name
    assert SECRET.hex() not in parse_key(SECRET, "key").name


def test_a_line_break_at_the_end_is_no_part_of_a_secret() -> None:
    """Editors and `echo` put it there."""
    assert parse_key(b"abc\n", "key").name == parse_key(b"abc", "key").name


@pytest.mark.parametrize(
    "data", [b"", b"\n", b"-----BEGIN NOTHING-----\n", b"-----BEGIN PRIVATE KEY-----\nzz\n"]
)
def test_what_is_no_key_is_refused(data: bytes) -> None:
    """The message names where it is from, and shows nothing of it."""
    with pytest.raises(ArgumentError, match=r"^key\.pem: expected a secret") as caught:
        parse_key(data, "key.pem")

    assert "zz" not in str(caught.value)


def test_a_key_of_another_kind_is_refused() -> None:
    """RSA signs nothing here."""
    with pytest.raises(ArgumentError, match="another kind"):
        parse_key(openssl("genrsa", "2048"), "rsa.pem")
