"""A console that serves: where it may listen, what a browser meets there, how it ends."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx2
import pytest

import eventq
from eventq.web.access import Person
from eventq.web.console import Options
from eventq.web.serve import Address, ConsoleServer, check_address, is_loopback

PATIENT_S = 60.0


def server_of(queue: eventq.Queue, tmp_path: Path, address: Address) -> ConsoleServer:
    """A console that is bound."""
    options = Options(cache=tmp_path / "cache")
    return ConsoleServer(queue, Person("ada@here", authenticated=False), options, address)


@pytest.fixture
def server(queue: eventq.Queue, tmp_path: Path) -> Iterator[ConsoleServer]:
    """A console that serves, in a thread."""
    server = server_of(queue, tmp_path, Address(port=0))
    thread = threading.Thread(target=server.run, name="console")
    thread.start()
    yield server
    server.stop()
    thread.join(PATIENT_S)
    assert not thread.is_alive()


def come_in(server: ConsoleServer) -> httpx2.Client:
    """A browser that has come in."""
    where, _, code = server.start_url().partition("#")
    client = httpx2.Client(timeout=PATIENT_S)
    base = where.removesuffix("/start")
    # The socket listens before the server runs.
    answer = client.post(where, data={"code": code}, headers={"origin": base})
    assert answer.status_code == 303
    client.base_url = base
    return client


def test_a_browser_comes_in_and_watches(server: ConsoleServer, queue: eventq.Queue) -> None:
    """The stream says how it stands, and then what happens."""
    with closing(come_in(server)) as client:
        assert client.get("/").status_code == 200
        with client.stream("GET", "/events") as stream:
            lines = stream.iter_lines()
            first = next(line for line in lines if line.startswith("data:"))
            queue.new({"n": 1})
            second = next(line for line in lines if line.startswith("data:"))

    assert '"seq":0' in first
    assert '"seq":1' in second


def test_the_end_does_not_wait_for_open_pages(queue: eventq.Queue, tmp_path: Path) -> None:
    """A stream that is open ends with the server."""
    server = server_of(queue, tmp_path, Address(port=0))
    thread = threading.Thread(target=server.run, name="console")
    thread.start()
    with closing(come_in(server)) as client, client.stream("GET", "/events") as stream:
        lines = stream.iter_lines()
        next(line for line in lines if line.startswith("data:"))
        server.stop()
        thread.join(PATIENT_S)

    assert not thread.is_alive()


def test_a_request_that_is_cut_off_changes_nothing(
    server: ConsoleServer, queue: eventq.Queue
) -> None:
    """Half a form is no form."""
    with socket.create_connection(("127.0.0.1", server.port), PATIENT_S) as connection:
        host = f"127.0.0.1:{server.port}"
        head = (
            f"POST /new HTTP/1.1\r\nHost: {host}\r\nOrigin: http://{host}\r\n"
            "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 100\r\n\r\na=b"
        )
        connection.sendall(head.encode())
        connection.shutdown(socket.SHUT_WR)
        connection.recv(1000)

    assert queue.log.head().seq == 0


def test_a_port_in_use_is_told(server: ConsoleServer, queue: eventq.Queue, tmp_path: Path) -> None:
    """With what to do about it."""
    with pytest.raises(eventq.LogUnavailableError, match="--port"):
        server_of(queue, tmp_path, Address(port=server.port))


@pytest.mark.parametrize(
    "address",
    [
        Address(bind="0.0.0.0"),  # noqa: S104 - it is refused
        Address(bind="192.0.2.1"),
        Address(bind="queue.example.org"),
        Address(tls_cert="cert.pem"),
        Address(tls_cert="none.pem", tls_key="none.key"),
        Address(port=70_000),
        Address(root_path="eventq"),
    ],
)
def test_an_address_that_is_not_safe_is_refused(address: Address) -> None:
    """Another address than this machine's own needs TLS, or a proxy that has it."""
    with pytest.raises(eventq.ArgumentError):
        check_address(address)


def test_an_address_of_this_machine_is_safe() -> None:
    """And any other, behind a proxy that is named."""
    assert all(map(is_loopback, ("127.0.0.1", "127.8.8.8", "localhost", "::1")))
    check_address(Address(bind="0.0.0.0", trusted_proxy="10.0.0.1"))  # noqa: S104


def test_behind_a_proxy_every_link_has_its_path(queue: eventq.Queue, tmp_path: Path) -> None:
    """A console at a path of another site works there."""
    address = Address(port=0, root_path="/q", hosts=("queue.example.org",))
    server = server_of(queue, tmp_path, address)
    thread = threading.Thread(target=server.run, name="console")
    thread.start()
    url = server.start_url()
    host = {"host": "queue.example.org"}
    with httpx2.Client(base_url=f"http://127.0.0.1:{server.port}", timeout=PATIENT_S) as client:
        answer = client.get("/start", headers=host)
        other = client.get("/start", headers={"host": "evil.example"})
    server.stop()
    thread.join(PATIENT_S)

    assert url.startswith("http://queue.example.org/q/start#")
    assert 'action="/q/start"' in answer.text
    assert 'src="/q/static/console.js"' in answer.text
    assert other.status_code == 421


def test_who_asks_for_nothing_is_not_waited_for(
    server: ConsoleServer, queue: eventq.Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing, half a head, half of a second one: the connection ends; one that listens stays."""
    monkeypatch.setattr("eventq.web.serve.HEAD_S", 0.3)
    whole = f"GET /static/icon.svg HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n\r\n".encode()
    for sent in (b"", whole[:30], whole + whole[:30]):
        with socket.create_connection(("127.0.0.1", server.port), 20.0) as connection:
            connection.sendall(sent)
            found = b""
            while more := connection.recv(1000):
                found += more
        assert found.startswith(b"HTTP/1.1 200") == sent.startswith(whole)
    with closing(come_in(server)) as client, client.stream("GET", "/events") as stream:
        lines = stream.iter_lines()
        next(line for line in lines if line.startswith("data:"))
        threading.Event().wait(1.0)
        queue.new({"n": 1})
        assert '"seq":1' in next(line for line in lines if line.startswith("data:"))
