"""``eventq console``: what it refuses, what it prints, how it ends."""

from __future__ import annotations

import re
import signal
import subprocess
import sys

import httpx2
import pytest

from tests.cli.harness import DEADLINE_S, Cli, command, environment


def test_it_serves_until_it_is_stopped(cli: Cli) -> None:
    """It prints where a browser is to begin; a signal ends it in order."""
    cli.ok("new")
    process = subprocess.Popen(
        command("console", "--port", "0", "--url", cli.url, "--no-open"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(XDG_CACHE_HOME=str(cli.folder)),
    )
    assert process.stdout is not None
    try:
        url = process.stdout.readline().strip()
        where, _, code = url.partition("#")
        base = where.removesuffix("/start")
        with httpx2.Client(timeout=DEADLINE_S) as client:
            form = {"code": code}
            entry = client.post(where, data=form, headers={"origin": base})
            page = client.get(f"{base}/")
        process.send_signal(signal.SIGTERM)
        _, notes = process.communicate(timeout=DEADLINE_S)
    finally:
        process.kill()

    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/start#\S{20,}", url)
    assert entry.status_code == 303
    assert 'data-count="ready">1<' in page.text
    assert notes == ""
    assert process.returncode == 0


@pytest.mark.parametrize(
    "words,code,told",
    [
        (("--bind", "192.0.2.1"), 2, "trusted-proxy"),
        (("--port", "99999"), 2, "port"),
        (("--redact", "a b"), 2, "tag"),
        (("--cache-size", "much"), 2, "cache_size"),
        (("--tls-cert", "cert.pem"), 2, "tls"),
        (("--json",), 2, "--json"),
        (("--port", "x"), 2, "port"),
    ],
)
def test_what_is_wrong_is_told_before_it_serves(
    cli: Cli, words: tuple[str, ...], code: int, told: str
) -> None:
    """One line, and nothing listens."""
    cli.ok("new")

    assert told in cli.one_error("console", *words, code=code)


def test_a_log_that_is_not_there_is_told(cli: Cli) -> None:
    """Nothing is made."""
    cli.one_error("console", code=1)

    assert list(cli.folder.iterdir()) == []


def test_without_its_parts_it_says_how_to_get_them(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The extra is named."""
    for name in [name for name in sys.modules if name.startswith("eventq.web")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "starlette.requests", None)
    cli.ok("new")

    assert "eventq[web]" in cli.one_error("console", code=1)
