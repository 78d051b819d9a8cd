"""Logs to copy, and how tests name and open them."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from eventq import Queue, Retry
from eventq.archive.copy import copy_log
from eventq.eventlog import open_log

KINDS = ["memory", "sqlite", "mongo", "file"]
# Those that outlive a process, and can be damaged by hand.
STORED = ["sqlite", "mongo", "file"]

# Makes the URL, by kind, of a log that does not exist yet.
NewUrl = Callable[[str], str]


def fill(url: str, *, namespace: str = "default", tasks: int = 12) -> None:
    """Leaves a log with every state, keys, errors, odd text and commits of several events."""

    def work(_: object, task: Any) -> object:  # noqa: ANN401 - a Task, or what a test makes of it
        if task.tags["n"] == 1:
            raise Retry(delay="1h")
        if task.tags["n"] == 2:
            raise ValueError('not\u2028 "this"\\')
        return {"ü\u0001": [task.tags["n"], None, 1.5]}

    # No queue runs on a file, so that is filled by a copy.
    is_file = url.startswith("file:")
    place = f"memory://{secrets.token_hex(8)}" if is_file else url
    with Queue(place, namespace=namespace, max_retries=0, workers=2) as queue:
        queue.new_many([{"n": n, "text": '漢字 \\ " \u007f $where a.b'} for n in range(tasks)])
        queue.new({"n": 98}, key="schlüssel:1")
        queue.new({"n": 99}, key="$where", delay="1d")
        queue.cancel(queue.new({"n": 97}).key, reason="why\nnot")
        queue.run(work, until="idle")
    if is_file:
        with closing(open_log(url, namespace=namespace)) as log:
            copy_log(open_log(place, namespace=namespace), log)


def path_of(url: str) -> Path:
    """The file of a URL."""
    return Path(url.split(":///", 1)[1])
