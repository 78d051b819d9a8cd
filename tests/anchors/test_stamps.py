"""Time stamps from a server of RFC 3161, which openssl plays."""

from __future__ import annotations

import base64
import socket
import threading
from pathlib import Path

import pytest
from msgspec.structs import replace

from eventq.anchors.stamps import ask_stamp, check_stamp_url, read_roots, stamped_at
from eventq.errors import AnchorError, ArgumentError
from eventq.verify.anchor import Anchor, signed_text
from tests.anchors.stamping import StampServer, make_authority, openssl

ANCHOR = Anchor("default", 24, 2_000, "0f" * 32, by="ada@vault")


def test_a_stamp_holds(authority: Path, stamping: StampServer) -> None:
    """For the server's own root, and for nothing but this anchor."""
    stamp = ask_stamp(stamping.url, ANCHOR)
    roots = read_roots(authority / "root.pem", "--stamp-roots")

    assert stamped_at(stamp, ANCHOR, roots) == stamped_at(stamp, ANCHOR)
    for roots_or_none in (roots, None):
        with pytest.raises(AnchorError, match="of something else"):
            stamped_at(stamp, replace(ANCHOR, seq=23), roots_or_none)


def test_openssl_verifies_the_stamp(tmp_path: Path, authority: Path, stamping: StampServer) -> None:
    """What is kept is the server's answer, as it came."""
    (tmp_path / "answer.tsr").write_bytes(base64.b64decode(ask_stamp(stamping.url, ANCHOR)))
    (tmp_path / "text").write_bytes(signed_text(ANCHOR))

    said = openssl(
        *("ts", "-verify", "-in", f"{tmp_path}/answer.tsr", "-data", f"{tmp_path}/text"),
        *("-CAfile", f"{authority}/root.pem"),
    )

    assert b"Verification: OK" in said


def test_another_authority_does_not_vouch(tmp_path: Path, stamping: StampServer) -> None:
    """Anybody can have a server."""
    roots = read_roots(make_authority(tmp_path) / "root.pem", "--stamp-roots")

    with pytest.raises(AnchorError, match="does not hold"):
        stamped_at(ask_stamp(stamping.url, ANCHOR), ANCHOR, roots)


@pytest.mark.parametrize("stamp", ["", "AAAA", "no base64", base64.b64encode(b"<html>").decode()])
def test_what_is_no_stamp_is_told(stamp: str) -> None:
    """Whatever stands there."""
    with pytest.raises(AnchorError, match="cannot be read"):
        stamped_at(stamp, ANCHOR)


def test_a_server_that_is_away_is_told(stamping: StampServer) -> None:
    """It answers with an error, or not at all."""
    stamping.away = True

    with pytest.raises(AnchorError, match="does not answer"):
        ask_stamp(stamping.url, ANCHOR)
    with pytest.raises(AnchorError, match="does not answer"):
        ask_stamp("http://127.0.0.1:9/", ANCHOR)


def test_a_server_that_speaks_no_http_is_told() -> None:
    """Its answer is none, and the next anchor asks again."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        answering = threading.Thread(target=answer_nonsense, args=(server,))
        answering.start()
        with pytest.raises(AnchorError, match="does not answer"):
            ask_stamp(f"http://127.0.0.1:{server.getsockname()[1]}/", ANCHOR)
        answering.join()


def answer_nonsense(server: socket.socket) -> None:
    """One line that is no HTTP, for one client."""
    client, _ = server.accept()
    with client:
        client.recv(65_536)
        client.sendall(b"nonsense\r\n\r\n")


def test_a_login_is_refused_and_not_shown() -> None:
    """It would not be used; and whoever writes one does not want it in a log."""
    with pytest.raises(ArgumentError, match=r"without a login, got 'http://...@host/'") as raised:
        check_stamp_url("http://ada:secret@host/")

    assert "secret" not in str(raised.value)


def test_what_is_no_url_is_refused(tmp_path: Path) -> None:
    """And so is a file without certificates."""
    (tmp_path / "roots.pem").write_text("nothing")

    for url in ("file:///etc/passwd", "http://", "http://h:abc/", "http://[::1/", "http:///x"):
        with pytest.raises(ArgumentError, match="stamp_url: expected an http"):
            check_stamp_url(url)
    with pytest.raises(ArgumentError, match="certificates"):
        read_roots(tmp_path / "roots.pem", "--stamp-roots")
