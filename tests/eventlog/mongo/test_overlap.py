"""Doing something aside: it has ended when the block is left, or is never done."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest

from eventq.eventlog.mongo.overlap import Aside
from tests.support import PATIENCE_S

# Callbacks run in the reverse order, so that of the pools has run when this one is called.
LATE = """
import threading
ended = threading.Event()
threading._register_atexit(ended.set)
from eventq.eventlog.mongo.overlap import Aside

def go_on():
    ended.wait()
    with Aside().doing(lambda: None):
        print("went on")

threading.Thread(target=go_on).start()
"""


def test_it_has_ended_when_the_block_is_left() -> None:
    """On another thread, which serves the next one too."""
    aside = Aside()
    threads = []
    for _ in range(2):
        with aside.doing(lambda: threads.append(threading.current_thread())):
            pass
    aside.close()

    assert threads[0] is threads[1] is not threading.current_thread()


def test_nothing_is_done_once_the_main_thread_has_ended() -> None:
    """A program may run its queue in a thread that outlives it."""
    done = subprocess.run(
        [sys.executable, "-c", LATE], capture_output=True, text=True, timeout=PATIENCE_S, check=True
    )

    assert (done.stdout, done.stderr) == ("went on\n", "")


def test_what_found_no_thread_is_not_done_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """By then the world has changed."""
    aside = Aside()
    calls = []
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", _refuse)
        with aside.doing(lambda: calls.append("first")):
            pass
    with aside.doing(lambda: calls.append("second")):
        pass
    aside.close()

    assert calls == ["second"]


def _refuse(_: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")
