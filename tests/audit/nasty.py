"""A log of a stranger, whose texts are commands to the terminal, or markup to rich."""

from __future__ import annotations

import re

from eventq.eventlog.memory import MemoryLog
from tests.audit.screens import Story
from tests.cli.harness import NASTY
from tests.driver import append_texts


def nasty_log() -> MemoryLog:
    """A log with such text in each place that takes any."""
    tale = Story()
    tale.log.url = f"sqlite:///{NASTY}.db"
    tale.after(1, tale.orders("cat"))
    text = NASTY.replace("\\", "").encode("unicode_escape").decode()
    text = re.sub(r"\\x(..)", r"\\u00\1", text)
    created = '{"kind":"created","policy":{"backoff":"linear","backoff_us":1}'
    bodies = [
        f'{created},"key":"{text}","tags":{{"a":"{text}","b":["{text}"]}}}}',
        f'{{"kind":"leased","attempt":1,"worker":"{text}","ttl_us":5}}',
        f'{{"kind":"renewed","worker":"{text}","ttl_us":5}}',
        f'{{"kind":"failed","fence":3,"error":{{"type":"{text}","message":"{text}"}}}}',
        f'{{"kind":"cancelled","reason":"{text}","by":"{text}"}}',
        f'{{"kind":"{text}","note":"{text}"}}',
        f'{created},"tags":[1],"scheduled_at":{2**62}}}',
    ]
    append_texts(tale.log, [2, 2, 0, 2, 2, 2, 8], *bodies)
    return tale.log
