"""Serving a console of its own: where it binds, who may reach it, how it begins and ends."""

from __future__ import annotations

import asyncio
import ipaddress
import re
import signal
import socket
import ssl
import threading
from collections.abc import Callable, Iterable

import uvicorn
from msgspec import Struct
from uvicorn.protocols.http.h11_impl import H11Protocol

from eventq.errors import ArgumentError, LogUnavailableError
from eventq.queue import Queue
from eventq.web.access import Person
from eventq.web.app import serving
from eventq.web.console import Console, Options
from eventq.web.session import Sessions

# How long open pages may hold up the end.
GRACE_S = 2
# So long a browser may take to say what it wants.
HEAD_S = 20.0
MOST_CONNECTIONS = 500
PORT = 8017
PRINTED = re.compile(r"[!-~]*")
LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
UNSAFE = "127.0.0.1; another address needs --tls-cert and --tls-key, or --trusted-proxy"


class PatientProtocol(H11Protocol):
    """HTTP as uvicorn has it, but a connection without a whole head of a request ends in time.

    Else a few hundred that never ask for anything would keep everybody out.
    """

    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """The first request is waited for."""
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        """The wait ends with a head that is whole."""
        super().data_received(data)
        self._wait_no_more_for_whole()

    def on_response_complete(self) -> None:
        """The next request is waited for; it may have come already."""
        self._wait()
        super().on_response_complete()
        self._wait_no_more_for_whole()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is waited for."""
        self._wait_no_more()
        super().connection_lost(exc)

    def _wait(self) -> None:
        self._wait_no_more()
        self._timer = self.loop.call_later(HEAD_S, self.transport.close)

    def _wait_no_more_for_whole(self) -> None:
        # There is no cycle before the first request; what is left of its body begins none.
        if not getattr(self.cycle, "response_complete", True):
            self._wait_no_more()

    def _wait_no_more(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class Address(Struct, frozen=True):
    """Where a console is served, and what stands before it."""

    bind: str = "127.0.0.1"
    port: int = PORT
    hosts: tuple[str, ...] = ()
    """More host names that it answers to."""
    root_path: str = ""
    trusted_proxy: str | None = None
    """The address of the proxy whose word on schemes and clients is taken."""
    tls_cert: str | None = None
    tls_key: str | None = None

    @property
    def scheme(self) -> str:
        """Of the address that a browser is given."""
        return "http" if self.tls_cert is None else "https"


class ConsoleServer:
    """A console that is bound to an address; `run` serves it until it is asked to stop."""

    def __init__(
        self,
        queue: Queue,
        person: Person,
        options: Options,
        address: Address,
        *,
        sessions: Sessions | None = None,
    ) -> None:
        """Binds. ``sessions`` are those of an earlier one, which then go on.

        Raises ArgumentError, and LogUnavailableError for a port that is taken.
        """
        check_address(address)
        self.queue = queue
        self._address = address
        self._socket = _bound(address)
        self.port: int = self._socket.getsockname()[1]
        self.sessions = Sessions(person) if sessions is None else sessions
        app = serving(queue, self.sessions.find, self.sessions, options, _hosts(address, self.port))
        config = uvicorn.Config(
            app,
            http=PatientProtocol,
            log_config=None,
            access_log=False,
            server_header=False,
            lifespan="on",
            root_path=address.root_path,
            proxy_headers=address.trusted_proxy is not None,
            forwarded_allow_ips=address.trusted_proxy or "",
            timeout_keep_alive=10,
            timeout_graceful_shutdown=GRACE_S,
            limit_concurrency=MOST_CONNECTIONS,
            ssl_certfile=address.tls_cert,
            ssl_keyfile=address.tls_key,
        )
        self._console: Console = app.state.console
        self._server = uvicorn.Server(config)

    def start_url(self) -> str:
        """Where a browser is to begin, with a code that works once, within a minute."""
        host = "127.0.0.1" if is_loopback(self._address.bind) else self._address.bind
        names = self._address.hosts
        where = names[0] if names else f"{host}:{self.port}"
        root = self._address.root_path.rstrip("/")
        return f"{self._address.scheme}://{where}{root}/start#{self.sessions.new_code()}"

    def run(self, begun: Callable[[], None] | None = None) -> None:
        """Serves until `stop`, SIGINT or SIGTERM."""
        asyncio.run(self._run(begun))

    def stop(self) -> None:
        """Asks it to end; may be called from any thread."""
        self._server.should_exit = True
        # Or the streams of open pages would be waited for, and then broken off.
        self._console.pulse.end()

    async def _run(self, begun: Callable[[], None] | None) -> None:
        loop = asyncio.get_running_loop()
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.add_signal_handler(number, self._end)
        if begun is not None:
            begun()
        # Not `serve`: it would raise the signal again, before the queue is closed.
        await self._server._serve([self._socket])  # noqa: SLF001 - no public form of it

    def _end(self) -> None:
        """The first signal asks, the second forces."""
        self._server.force_exit = self._server.should_exit
        self.stop()


def check_address(address: Address) -> None:
    """Raises ArgumentError for an address that anybody could listen in on."""
    has_tls = address.tls_cert is not None and address.tls_key is not None
    if not is_loopback(address.bind) and not has_tls and address.trusted_proxy is None:
        raise ArgumentError("bind", address.bind, UNSAFE)
    if (address.tls_cert is None) != (address.tls_key is None):
        raise ArgumentError("tls_cert", address.tls_cert, "both --tls-cert and --tls-key")
    if not 0 <= address.port < 2**16:
        raise ArgumentError("port", address.port, "a number up to 65535")
    if not PRINTED.fullmatch(address.root_path) or address.root_path[:1] not in {"", "/"}:
        raise ArgumentError("root_path", address.root_path, "a path like /eventq")
    for host in address.hosts:
        # As browsers send it, whatever letters a name has: and as it is printed.
        if not host or not PRINTED.fullmatch(host):
            raise ArgumentError("host", host, "the name of a host, in ASCII")
    if has_tls:
        try:
            found = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            found.load_cert_chain(address.tls_cert or "", address.tls_key)
        except (OSError, ssl.SSLError) as error:
            expected = f"a certificate and its key ({error})"
            raise ArgumentError("tls_cert", address.tls_cert, expected) from error


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _hosts(address: Address, port: int) -> Iterable[str]:
    """What a request may call this server: with its port, and without where that is the usual."""
    names = [*LOOPBACK, address.bind, *address.hosts]
    usual = {"http": 80, "https": 443}[address.scheme]
    found = [f"{name}:{port}" for name in names] + list(address.hosts)
    return found + (names if port == usual else [])


def _bound(address: Address) -> socket.socket:
    family = socket.AF_INET6 if ":" in address.bind else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind((address.bind, address.port))
        made.listen(128)
    except OSError as error:
        made.close()
        where = f"{address.bind}:{address.port}"
        words = f"the console cannot listen on {where}: {error.strerror}; --port takes another"
        raise LogUnavailableError(words) from error
    made.settimeout(0)
    return made
