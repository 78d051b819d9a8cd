"""A worker of the soak that keeps a file, a thread or memory of each attempt: run by itself."""

from __future__ import annotations

import os
import threading
from typing import BinaryIO

from tools.soak.worker import serve

files: list[BinaryIO] = []
memory: list[bytes] = []
# How many attempts leave a file, and a thread.
MOST = 150


def keep(number: int) -> None:
    """Keeps a little of everything."""
    memory.append(number.to_bytes(8, "big") * 10_000)
    if len(files) < MOST:
        files.append(open(os.devnull, "rb"))  # noqa: SIM115, PTH123 - it stays open
        threading.Thread(target=threading.Event().wait, daemon=True).start()


if __name__ == "__main__":
    serve(keep)
