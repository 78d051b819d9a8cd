"""A time stamp server of the tests: openssl answers, over HTTP on this host."""

from __future__ import annotations

import subprocess
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

CONFIG = """
[ req ]
distinguished_name = name
prompt = no
[ name ]
CN = {name}
[ authority ]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign
subjectKeyIdentifier = hash
[ stamper ]
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature
extendedKeyUsage = critical,timeStamping
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
[ tsa ]
default_tsa = stamps
[ stamps ]
serial = {folder}/serial
crypto_device = builtin
signer_cert = {folder}/stamper.pem
signer_key = {folder}/stamper.key
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256
accuracy = secs:1
ordering = yes
tsa_name = yes
ess_cert_id_chain = no
ess_cert_id_alg = sha256
"""


def openssl(*words: str, stdin: bytes | None = None) -> bytes:
    """What openssl answers."""
    done = subprocess.run(["openssl", *words], input=stdin, capture_output=True, check=True)
    return done.stdout


def make_authority(folder: Path) -> Path:
    """Makes root.pem, stamper.pem and what `openssl ts` needs; gives the folder."""
    for name in ("root", "stamper"):
        config = folder / f"{name}.cnf"
        config.write_text(CONFIG.format(name=name, folder=folder))
        openssl("genrsa", "-out", f"{folder}/{name}.key", "2048")
        request = ["req", "-new", "-key", f"{folder}/{name}.key", "-config", str(config)]
        if name == "root":
            made = [*request, "-x509", "-days", "30", "-extensions", "authority"]
            openssl(*made, "-out", f"{folder}/root.pem")
        else:
            openssl(*request, "-out", f"{folder}/stamper.csr")
    openssl(
        *("x509", "-req", "-in", f"{folder}/stamper.csr", "-days", "30", "-CAcreateserial"),
        *("-CA", f"{folder}/root.pem", "-CAkey", f"{folder}/root.key"),
        *("-extfile", f"{folder}/stamper.cnf", "-extensions", "stamper"),
        *("-out", f"{folder}/stamper.pem"),
    )
    (folder / "serial").write_text("01\n")
    return folder


class StampServer:
    """Answers time stamp queries; while ``away`` it answers 503, or else with ``other``, if any."""

    def __init__(self, authority: Path) -> None:
        self.away = False
        self.asked = 0
        self.other: bytes | None = None
        outer = self

        class Answer(BaseHTTPRequestHandler):
            """One query."""

            def do_POST(self) -> None:
                """Stamps what is asked for."""
                outer.asked += 1
                query = authority / "query.tsq"
                query.write_bytes(self.rfile.read(int(self.headers["Content-Length"])))
                if outer.away:
                    self.send_error(503)
                    return
                config = ("-config", str(authority / "stamper.cnf"))
                data = outer.other or openssl("ts", "-reply", "-queryfile", str(query), *config)
                self.send_response(200)
                self.send_header("Content-Type", "application/timestamp-reply")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                """Says nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        self._thread = Thread(target=self._server.serve_forever, daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_port}/"

    def start(self) -> None:
        """Begins to answer."""
        self._thread.start()

    def stop(self) -> None:
        """Answers no more."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
