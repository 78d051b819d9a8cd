"""Fixtures of the command's tests."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.harness import Cli


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cli:
    """The command in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return Cli(tmp_path)


@pytest.fixture(autouse=True, scope="session")
def _hears_ctrl_c() -> Iterator[None]:
    """Processes hear Ctrl-C even when the tests were started where it is ignored (`pytest &`)."""
    before = signal.getsignal(signal.SIGINT)
    if before is signal.SIG_IGN:
        # A handler of ours becomes the default again in a process that is started.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
