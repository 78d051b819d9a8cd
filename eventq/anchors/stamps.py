"""Time stamps of anchors: a server's signed word (RFC 3161) that an anchor was there by then.

The server gets a hash of the anchor and nothing else.
"""

from __future__ import annotations

import base64
from datetime import datetime
from hashlib import sha256
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from eventq.anchors.keys import INSTALL
from eventq.errors import AnchorError, ArgumentError
from eventq.host.urls import without_login
from eventq.verify.anchor import Anchor, signed_text

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

ANSWER_S = 10.0
# Some certificates and a signature; an answer of more is none.
ANSWER_BYTES = 64 * 1024
# How each answer of a time stamp server begins, even one that says no (DER).
SEQUENCE = b"\x30"
QUERY = "application/timestamp-query"
NO_CLIENT = f"time stamps need {INSTALL}"


def check_stamp_url(url: str) -> str:
    """The URL of a server. Raises ArgumentError where it is none, or what asks it is missing."""
    if not _is_server(url):
        expected = "an http:// or https:// URL of a server, without a login"
        raise ArgumentError("stamp_url", without_login(url), expected)
    try:
        import rfc3161_client  # noqa: F401, PLC0415 - an extra
    except ImportError:
        raise ArgumentError("stamp_url", without_login(url), f"none: {NO_CLIENT}") from None
    return url


def ask_stamp(url: str, anchor: Anchor, *, timeout_s: float = ANSWER_S) -> str:
    """The server's answer about the anchor, in base64.

    Raises AnchorError when there is none, or none that can be read. A server that answers in a form
    that is not read, such as one with unsorted certificates, would answer so again.
    """
    from rfc3161_client import (  # noqa: PLC0415 - an extra
        HashAlgorithm,
        TimestampRequestBuilder,
    )

    builder = TimestampRequestBuilder().data(signed_text(anchor))
    query = builder.hash_algorithm(HashAlgorithm.SHA256).cert_request(cert_request=True).build()
    request = Request(url, data=query.as_bytes(), headers={"Content-Type": QUERY})  # noqa: S310 - checked
    try:
        with urlopen(request, timeout=timeout_s) as answer:  # noqa: S310 - see above
            data = answer.read(ANSWER_BYTES)
    except (OSError, HTTPException) as error:
        raise AnchorError(f"the time stamp server {url} does not answer: {error}") from error
    stamp = base64.b64encode(data).decode()
    try:
        stamped_at(stamp, anchor)
    except AnchorError as error:
        problem = f"the time stamp server {url}: {error.problem}"
        raise AnchorError(problem, again=error.again or not data.startswith(SEQUENCE)) from error
    return stamp


def read_roots(path: Path, name: str) -> list[Certificate]:
    """The certificates in a PEM file. Raises ArgumentError where there are none."""
    try:
        from cryptography.x509 import load_pem_x509_certificates  # noqa: PLC0415 - an extra
    except ImportError:
        raise ArgumentError(name, str(path), f"none: {NO_CLIENT}") from None
    try:
        return load_pem_x509_certificates(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ArgumentError(name, f"{path}: {error}", "a file of certificates in PEM") from None


def stamped_at(stamp: str, anchor: Anchor, roots: list[Certificate] | None = None) -> datetime:
    """When a server says that the anchor was there.

    With ``roots`` it is checked that one of them vouches for the server; without, that the answer
    is about this anchor. Raises AnchorError where it is not so, or what reads it is missing.
    """
    try:
        from rfc3161_client import (  # noqa: PLC0415 - an extra
            VerificationError,
            VerifierBuilder,
            decode_timestamp_response,
        )
    except ImportError:
        raise AnchorError(NO_CLIENT) from None
    text = signed_text(anchor)
    try:
        answer = decode_timestamp_response(base64.b64decode(stamp, validate=True))
    except ValueError as error:
        raise AnchorError(f"the time stamp cannot be read: {error}", again=False) from None
    try:
        told = answer.tst_info
        if told.message_imprint.message != sha256(text).digest():
            raise AnchorError("the time stamp is of something else")
        if roots:
            builder = VerifierBuilder(roots=list(roots))
            builder.build().verify_message(answer, text)
    except VerificationError as error:
        raise AnchorError(f"the time stamp does not hold: {error}") from None
    except ValueError as error:
        raise AnchorError(f"the time stamp cannot be read: {error}") from None
    return told.gen_time


def _is_server(url: str) -> bool:
    """Whether it names a server that can be asked. One that wants a login is not asked with it."""
    try:
        parts = urlsplit(url)
        is_named = bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    return is_named and parts.scheme in {"http", "https"} and "@" not in parts.netloc
