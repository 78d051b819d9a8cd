"""Conditions on a queue, as people write them: read by a parser of our own, never run as code.

    open      = "or" of "and" of "not" of comparisons
    compared  = sums with == != < <= > >= in, "not in", is, "is not" between them, as in Python
    sum       = products with + and -; a product: factors with *; a factor may have a - before it
    factor    = number, text, None, True, False, a name, a function, (...) or a list [..., ...]
    function  = task("KEY").FIELD, leases("NODE"), count("KIND"), len(...), instant("..."),
                duration("...")

All of it is bounded: characters, depth, and the size of numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, NamedTuple, NoReturn

from eventq.audit.expression import vocabulary
from eventq.audit.expression.tokens import Token, split_tokens, text_of
from eventq.audit.expression.view import View
from eventq.audit.expression.vocabulary import COMPARISONS, CONSTANTS, FIELDS, NAMES, Rule
from eventq.core.durations import parse_duration
from eventq.core.events import KINDS
from eventq.core.task import EPOCH, TaskState
from eventq.errors import ArgumentError

CHARACTERS = 1_000
# Of brackets, not and minus signs inside each other; far below where Python's own stack ends.
DEPTH = 20
DIGITS = 18

_WORDS = {"and", "or", "not", "in", "is"}
_FUNCTIONS = ("task", "leases", "count", "len", "instant", "duration")
_STATES = [str(state) for state in TaskState]


class Expression:
    """A condition that was read; `holds` asks a view about it."""

    def __init__(self, text: str, argument: str, rule: Rule, keys: frozenset[str]) -> None:
        self.text = text
        self.argument = argument
        self.keys = keys
        """Keys of the tasks it names, which its view must keep."""
        self._rule = rule

    def holds(self, view: View) -> bool:
        """Whether it holds in the view; never raises. None, 0 and empty values do not hold."""
        return bool(self._rule(view))

    def value(self, view: View) -> Any:  # noqa: ANN401 - whatever the expression says
        """What it says in the view; never raises."""
        return self._rule(view)

    def __repr__(self) -> str:
        """The text as it was written."""
        return f"<Expression {self.text!r}>"


def parse_expression(text: str, argument: str = "expression") -> Expression:
    """The condition that a text means. Raises ArgumentError with the place of what is wrong.

    >>> parse_expression('expired > 0 and task("thumb:a").attempt >= 3').keys
    frozenset({'thumb:a'})
    """
    if not isinstance(text, str):
        raise ArgumentError(argument, text, "text")
    if len(text) > CHARACTERS:
        raise ArgumentError(argument, text, f"at most {CHARACTERS:,} characters")
    parser = _Parser(text, argument)
    rule = parser.read()
    return Expression(text, argument, rule, frozenset(parser.keys))


class _Part(NamedTuple):
    """A part that was read: its rule, where it began, and its value where that never changes."""

    rule: Rule
    column: int
    literal: Any = None
    is_literal: bool = False
    is_state: bool = False


class _Parser:
    def __init__(self, text: str, argument: str) -> None:
        self.keys: set[str] = set()
        self._text = text
        self._argument = argument
        self._depth = 0
        self._tokens = split_tokens(text, self._fail)
        self._place = 0

    def read(self) -> Rule:
        """The rule of the whole text."""
        if self._next.kind == "end":
            self._fail("a condition such as expired > 0", self._next)
        part = self._any_of()
        if self._next.kind != "end":
            self._fail("and, or, a comparison or the end", self._next)
        return part.rule

    # From what binds least to what binds most.

    def _any_of(self) -> _Part:
        return self._joined("or", self._all_of, any)

    def _all_of(self) -> _Part:
        return self._joined("and", self._negated, all)

    def _joined(self, word: str, read: Callable[[], _Part], join: Callable[[Any], bool]) -> _Part:
        first = read()
        rules = [first.rule]
        while self._take(word):
            rules.append(read().rule)
        if len(rules) == 1:
            return first
        return _Part(lambda view: join(rule(view) for rule in rules), first.column)

    def _negated(self) -> _Part:
        token = self._next
        if not self._take("not"):
            return self._compared()
        self._enter(token)
        rule = self._negated().rule
        self._depth -= 1
        return _Part(lambda view: not rule(view), token.column)

    def _compared(self) -> _Part:
        first = self._sum()
        parts, tests = [first], []
        while (sign := self._comparison()) is not None:
            parts.append(self._sum())
            self._check_states(parts[-2], parts[-1])
            tests.append(COMPARISONS[sign])
        if not tests:
            return first
        if len(tests) == 1:
            test, left, right = tests[0], first.rule, parts[1].rule
            return _Part(lambda view: test(left(view), right(view)), first.column)
        return _Part(_chain([part.rule for part in parts], tests), first.column)

    def _sum(self) -> _Part:
        return self._reckoned(("+", "-"), lambda: self._reckoned(("*",), self._factor))

    def _reckoned(self, signs: tuple[str, ...], read: Callable[[], _Part]) -> _Part:
        first = read()
        rest: list[tuple[str, Rule]] = []
        while self._next.kind == "sign" and self._next.text in signs:
            rest.append((self._advance().text, read().rule))
        if not rest:
            return first

        def rule(view: View) -> object:
            result = first.rule(view)
            for sign, operand in rest:
                result = vocabulary.reckon(sign, result, operand(view))
            return result

        return _Part(rule, first.column)

    def _factor(self) -> _Part:
        token = self._advance()
        if token.kind == "number":
            return self._literal(self._number(token), token)
        if token.kind == "text":
            return self._literal(text_of(token, self._fail), token)
        if token.kind == "name" and token.text not in _WORDS:
            return self._named(token)
        if token.kind != "sign" or token.text not in {"-", "(", "["}:
            self._fail("a value", token)
        self._enter(token)
        part = {"-": self._minus, "(": self._bracket, "[": self._list}[token.text](token)
        self._depth -= 1
        return part

    # Factors.

    def _minus(self, token: Token) -> _Part:
        operand = self._factor()
        if operand.is_literal and vocabulary.is_number(operand.literal):
            return self._literal(-operand.literal, token)
        return _Part(lambda view: vocabulary.reckon("-", 0, operand.rule(view)), token.column)

    def _bracket(self, token: Token) -> _Part:
        """One condition in brackets, or a list of literals, as Python's tuples are written."""
        part = self._any_of()
        if self._next.text != ",":
            self._need(")")
            return part
        return self._items([part], token, ")")

    def _list(self, token: Token) -> _Part:
        if self._take("]"):
            return self._literal((), token)
        return self._items([self._any_of()], token, "]")

    def _items(self, parts: list[_Part], token: Token, closing: str) -> _Part:
        while self._take(",") and self._next.text != closing:
            parts.append(self._any_of())
        self._need(closing)
        for part in parts:
            if not part.is_literal:
                place = Token("", "", part.column)
                self._fail("only texts and numbers in a list", place)
        return self._literal(tuple(part.literal for part in parts), token)

    def _named(self, token: Token) -> _Part:
        name = token.text
        if name in CONSTANTS:
            return self._literal(CONSTANTS[name], token)
        if self._next.text == "(" and name in _FUNCTIONS:
            self._advance()
            part = getattr(self, f"_call_{name}")(token)
            return part if isinstance(part, _Part) else _Part(part, token.column)
        if name not in NAMES:
            functions = ", ".join(f"{function}(...)" for function in _FUNCTIONS)
            self._fail(f"one of {', '.join(NAMES)}, {functions}", token)
        return _Part(NAMES[name], token.column)

    # Functions.

    def _call_task(self, token: Token) -> _Part:
        key = str(self._argument_of("task", (str, int), "a key"))
        self.keys.add(key)
        if not self._take("."):
            return _Part(lambda view: view.task(key) is not None, token.column)
        named = self._advance()
        field = FIELDS.get(named.text)
        if field is None:
            self._fail(f"a field of a task: {', '.join(FIELDS)}", named)
        below = self._below() if named.text in {"tags", "result"} else []

        def rule(view: View) -> object:
            task = view.task(key)
            if task is None:
                return None
            value = field(task, view.at)
            return vocabulary.part(value, below) if below else value

        return _Part(rule, token.column, is_state=named.text == "state")

    def _below(self) -> list[str]:
        names = []
        while self._take("."):
            token = self._advance()
            if token.kind != "name":
                self._fail("a name", token)
            names.append(token.text)
        return names

    def _call_leases(self, _: Token) -> Rule:
        node = self._argument_of("leases", (str,), "a node")
        return lambda view: len(view.projection.leases_of(node))

    def _call_count(self, _: Token) -> Rule:
        place = self._next
        kind = self._argument_of("count", (str,), "a kind of event")
        if kind not in KINDS:
            self._fail(f"one of the kinds {', '.join(sorted(KINDS))}", place)
        return lambda view: view.projection.counts[kind]

    def _call_len(self, _: Token) -> Rule:
        rule = self._any_of_inside()
        return lambda view: vocabulary.length(rule(view))

    def _call_instant(self, token: Token) -> _Part:
        place = self._next
        text = self._argument_of("instant", (str,), "an instant")
        try:
            at = datetime.fromisoformat(text)
        except ValueError:
            at = None
        if at is None or at.utcoffset() is None:
            self._fail("an instant with its time zone, like '2030-01-31T12:00:00Z'", place)
        elapsed = at - EPOCH
        at_us = (elapsed.days * 86_400 + elapsed.seconds) * 1_000_000 + elapsed.microseconds
        return self._literal(at_us, token)

    def _call_duration(self, token: Token) -> _Part:
        place = self._next
        text = self._argument_of("duration", (str,), "a duration")
        try:
            return self._literal(parse_duration(text, self._argument), token)
        except ArgumentError as error:
            self._fail(error.expected, place)

    def _argument_of(self, function: str, types: tuple[type, ...], what: str) -> Any:  # noqa: ANN401
        """The one argument of a function, which must be written out."""
        token = self._next
        self._enter(token)
        part = self._factor()
        self._depth -= 1
        if not part.is_literal or type(part.literal) not in types:
            self._fail(f"{what} written out, as in {function}('...')", token)
        self._need(")")
        return part.literal

    def _any_of_inside(self) -> Rule:
        self._enter(self._next)
        rule = self._any_of().rule
        self._depth -= 1
        self._need(")")
        return rule

    # Tokens.

    @property
    def _next(self) -> Token:
        return self._tokens[self._place]

    def _advance(self) -> Token:
        token = self._next
        if token.kind != "end":
            self._place += 1
        return token

    def _take(self, text: str) -> bool:
        """Whether the next token is this word or sign; if so it is passed."""
        if self._next.kind not in {"name", "sign"} or self._next.text != text:
            return False
        self._place += 1
        return True

    def _need(self, text: str) -> None:
        if not self._take(text):
            self._fail(f"a {text}", self._next)

    def _comparison(self) -> str | None:
        """The comparison that comes next, passed; None if none does."""
        if self._take("is"):
            return "!=" if self._take("not") else "=="
        if self._next.text == "not" and self._next.kind == "name":
            self._advance()
            self._need("in")
            return "not in"
        if self._take("in"):
            return "in"
        if self._next.kind == "sign" and self._next.text in COMPARISONS:
            return self._advance().text
        return None

    def _enter(self, token: Token) -> None:
        self._depth += 1
        if self._depth > DEPTH:
            self._fail(f"no more than {DEPTH} brackets and signs inside each other", token)

    def _literal(self, value: object, token: Token) -> _Part:
        return _Part(lambda _: value, token.column, value, is_literal=True)

    def _number(self, token: Token) -> int | float:
        if len(token.text) > DIGITS:
            self._fail(f"a number of at most {DIGITS} digits", token)
        return float(token.text) if "." in token.text else int(token.text)

    def _check_states(self, left: _Part, right: _Part) -> None:
        """A state that does not exist would never be met, and nobody would be told."""
        for one, other in ((left, right), (right, left)):
            if one.is_state and other.is_literal:
                values = other.literal if type(other.literal) is tuple else (other.literal,)
                if any(type(value) is str and value not in _STATES for value in values):
                    place = Token("", "", other.column)
                    self._fail(f"one of the states {', '.join(_STATES)}", place)

    def _fail(self, expected: str, token: Token) -> NoReturn:
        place = f"at column {token.column + 1}"
        raise ArgumentError(self._argument, self._text, f"{expected} {place}")


def _chain(rules: list[Rule], tests: list[Callable[[Any, Any], bool]]) -> Rule:
    """``a < b < c``: each value is asked for once, and only as far as it holds."""

    def rule(view: View) -> bool:
        left = rules[0](view)
        for test, following in zip(tests, rules[1:], strict=True):
            right = following(view)
            if not test(left, right):
                return False
            left = right
        return True

    return rule
