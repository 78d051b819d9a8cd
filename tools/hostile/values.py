"""The values: whatever a program, a person or a stranger may hand in that nobody expects.

None of them does harm where it is taken at its word: no path of a file that matters, no command.
"""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any, NoReturn

ESCAPES = "\x1b]0;owned\x07\x1b[31m\x1b[2J\x9b31m\r\b"
BIDI = "\u202egnp\u2066.exe"
MARKUP = "<script>alert(1)</script>"
CANARY = "owned-by-a-stranger"


class OwnError(Exception):
    """What a value's own methods raise; it may come through."""


class Unshowable:
    """A value whose repr raises."""

    def __repr__(self) -> str:
        """Raises."""
        raise OwnError


class Unruly:
    """A value that raises whatever is asked of it."""

    def _refuse(self, *_: object) -> NoReturn:
        raise OwnError

    __str__ = __eq__ = __bool__ = __len__ = __iter__ = __index__ = __float__ = _refuse
    __hash__ = object.__hash__


class LoudText(str):
    """A text whose own methods lie."""

    __slots__ = ()

    def __str__(self) -> str:
        """Another text."""
        return ESCAPES

    def encode(self, *_: object) -> bytes:
        """Other bytes."""
        return b"\xff"


def _cycle() -> list[Any]:
    found: list[Any] = []
    found.append(found)
    return found


def _deep(depth: int) -> Any:  # noqa: ANN401 - JSON
    found: Any = 1
    for _ in range(depth):
        found = [found]
    return found


# What can stand on a command line, in a query and in a form.
TEXTS: dict[str, str] = {
    "empty": "",
    "a blank": " ",
    "blanks around": "  k  ",
    "a line end": "a\nb",
    "a carriage return": "a\rb",
    "a tab": "a\tb",
    "a bell": "\x07",
    "escapes": ESCAPES,
    "a title": f"\x1b]0;{CANARY}\x07",
    "a hyperlink": f"\x1b]8;;http://evil/{CANARY}\x1b\\x\x1b]8;;\x1b\\",
    "8-bit controls": "\x9b31m\x85\x90",
    "bidi": BIDI,
    "zero width": "a\u200bb\ufeff",
    "a line separator": "a\u2028b\u2029",
    "combining": "e" + "\u0301" * 500,
    "emoji": "👩‍👩‍👧‍👦" * 20,
    "not normalised": "ﬁ①Å",
    "private use": "\ue000\uffff\U0010ffff",
    "a surrogate": "a\udcff",
    "other digits": "٣",
    "long": "x" * 5_000,
    "huge": "y" * 200_000,
    "many lines": "\n" * 5_000,
    "sql": "'; DROP TABLE events; --",
    "sql or": "' OR 1=1 --",
    "sql union": '" UNION SELECT * FROM events --',
    "glob": "[a-z]*?{x}",
    "like": "%_\\%",
    "regex": "(a+)+$" + "a" * 40,
    "mongo": '{"$gt": ""}',
    "mongo name": "$where",
    "dots": "a.b.c",
    "format": "%s%n%(x)s{0}{x.__class__}",
    "template": "{{7*7}}${7*7}#{7*7}",
    "markup": MARKUP,
    "attribute": '" onmouseover="alert(1)',
    "script url": "javascript:alert(1)",
    "cdata": "]]><!--<!DOCTYPE x>",
    "rich": "[bold]x[/bold][link=http://evil]:smile:",
    "shell": f"$(touch {CANARY}); `touch {CANARY}` | touch {CANARY}",
    "option": "--help-me",
    "dash": "-",
    "two dashes": "--",
    "git option": f"--upload-pack=touch {CANARY}",
    "at file": "@/nowhere/at/all",
    "path up": "../../../../nowhere/at/all",
    "path absolute": "/nowhere/at/all",
    "path encoded": "%2e%2e%2f%2e%2e%2fnowhere",
    "path windows": "..\\..\\nowhere",
    "path null": "a%00b",
    "bad percent": "%zz%",
    "directory": ".",
    "url": "http://evil.example/x?y=1#z",
    "url credentials": "sqlite://user:pw@host/x.db",
    "url sqlite": "sqlite:////nowhere/at/all.db",
    "url escapes": "sqlite:////nowhere/%1b%5d0;owned%07/x%9b.db",
    "url file": "file:////nowhere/%e2%80%ae/x.jsonl",
    "url mongo": "mongodb://[::1:99999/x?y",
    "url memory": "memory://a/b?c",
    "header": "a\r\nSet-Cookie: x=1",
    "zero": "0",
    "minus one": "-1",
    "2**31": str(2**31),
    "2**63": str(2**63),
    "2**64": str(2**64),
    "huge number": "9" * 5_000,
    "float": "1.5",
    "tiny": "1e-400",
    "exponent": "1e999",
    "nan": "nan",
    "inf": "-inf",
    "hex": "0x10",
    "underscores": "1_000",
    "true": "true",
    "null": "null",
    "json": '{"a": [1, {"b": null}]}',
    "json deep": "[" * 5_000,
    "json twice": '{"a": 1, "a": 2}',
    "json nan": '{"a": NaN}',
    "duration": "99999999999d",
    "negative duration": "-5s",
    "instant far": "9999-12-31T23:59:59.999999Z",
    "instant beyond": "10000-01-01T00:00:00Z",
    "instant before": "0001-01-01T00:00:00+23:59",
    "instant wrong": "2031-02-30T25:61:61Z",
    "ago": "-99999999999999h",
    "zone": "../../etc/localtime",
    "cron": "*/0 99 * * *",
    "cron long": "0 " * 2_000,
    "assignment": "a=b=c",
    "assignment odd": "=:=",
    "comma": ",,,",
}

VALUES: dict[str, Any] = {
    **TEXTS,
    "nul": "a\0b",
    "surrogates": "\ud800\udc00",
    "loud text": LoudText("k"),
    "none": None,
    "a bool": True,
    "int zero": 0,
    "int minus one": -1,
    "int 2**31": 2**31,
    "int 2**63": 2**63,
    "int 2**64": 2**64,
    "int huge": 10**5_000,
    "a float": 1.5,
    "float nan": math.nan,
    "float inf": math.inf,
    "float minus inf": -math.inf,
    "float huge": 1e300,
    "complex": 1j,
    "decimal": Decimal("NaN"),
    "fraction": Fraction(1, 3),
    "bytes": b"\xff\0k",
    "bytearray": bytearray(b"k"),
    "memoryview": memoryview(b"k"),
    "empty list": [],
    "list": [1, "a", None],
    "tuple": ("k", "k"),
    "set": {"k"},
    "cycle": _cycle(),
    "deep": _deep(33),
    "very deep": _deep(50_000),
    "empty dict": {},
    "dict of odd names": {"": 1, "a b": 2, "$x": 3, MARKUP: 4},
    "dict of numbers": {1: 2},
    "dict of nan": {"a": math.nan},
    "dict of objects": {"a": object()},
    "object": object(),
    "type": int,
    "function": len,
    "lambda": lambda: 1,
    "module": math,
    "generator": (x for x in [1]),
    "range": range(10**9, 10**9 + 3),
    "ellipsis": ...,
    "exception": ValueError(CANARY),
    "unshowable": Unshowable(),
    "unruly": Unruly(),
    "timedelta": timedelta(days=999_999_999),
    "negative timedelta": timedelta(microseconds=-1),
    "naive": datetime(2031, 1, 1),  # noqa: DTZ001 - that it has no zone is the point
    "first instant": datetime.min.replace(tzinfo=UTC),
    "last instant": datetime.max.replace(tzinfo=UTC),
    "date": date(2031, 1, 1),
}
