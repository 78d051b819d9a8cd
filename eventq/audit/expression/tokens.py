"""Expressions cut into numbers, texts, names and signs; nothing here knows what they mean."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple, NoReturn

_TOKEN = re.compile(
    r"""\s*(?:
        (?P<number>[0-9]+(?:\.[0-9]+)?(?![\w.]))
      | (?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
      | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
      | (?P<sign>==|!=|<=|>=|[-+*<>()\[\],.])
      | (?P<end>$)
    )""",
    re.VERBOSE | re.DOTALL,
)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)

# What to write instead of a character that is no part of the language.
_HINTS = {
    "=": "== to compare",
    "&": "and",
    "|": "or",
    "!": "not or !=",
    "/": "only + - *",
    "%": "only + - *",
    '"': "a closing quote",
    "'": "a closing quote",
}
_NO_HINT = "a name, number, text or sign that conditions have"


class Token(NamedTuple):
    """A piece of the text; the kind is number, text, name, sign or end."""

    kind: str
    text: str
    column: int
    """Counted from 0."""


Fail = Callable[[str, Token], NoReturn]


def split_tokens(text: str, fail: Fail) -> list[Token]:
    """All pieces in order, the end last. Calls ``fail`` with what was expected, and where."""
    tokens: list[Token] = []
    place = 0
    while not tokens or tokens[-1].kind != "end":
        found = _TOKEN.match(text, place)
        if found is None or found.lastgroup is None:
            place += len(text[place:]) - len(text[place:].lstrip())
            fail(_HINTS.get(text[place], _NO_HINT), Token("", text[place], place))
        kind = found.lastgroup
        tokens.append(Token(kind, found[kind], found.start(kind)))
        place = found.end()
    return tokens


def text_of(token: Token, fail: Fail) -> str:
    """A text without its quotes; a backslash stands before a quote or a backslash only."""
    for escape in _ESCAPE.finditer(token.text):
        if escape[1] not in "\\'\"":
            place = Token("", escape[0], token.column + escape.start())
            fail("a backslash only before a quote or a backslash", place)
    return _ESCAPE.sub(r"\1", token.text[1:-1])
