"""A worker of the soak that keeps a file, a thread or memory of each attempt: run by itself."""

from __future__ import annotations

import os
import threading
import time
from typing import BinaryIO

from tools.soak.worker import serve

files: list[BinaryIO] = []
memory: list[bytes] = []
# Of the attempts of so long, one leaves a file and a thread: the quickest machine has no more.
EACH_S = 0.05
begun_s = time.monotonic()


def keep(number: int) -> None:
    """Keeps a little of everything."""
    memory.append(number.to_bytes(8, "big") * 10_000)
    if len(files) < (time.monotonic() - begun_s) / EACH_S:
        files.append(open(os.devnull, "rb"))  # noqa: SIM115, PTH123 - it stays open
        threading.Thread(target=threading.Event().wait, daemon=True).start()


if __name__ == "__main__":
    serve(keep)
