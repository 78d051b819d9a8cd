"""Conditions on a queue, as people write them: parsed by Python's own parser, never run as code.

Only the nodes that `_Reader` visits have a meaning; all others are refused, with their place:

    and, or, not; == != < <= > >= in, not in, is, is not; + - *; numbers, texts, None, True, False,
    lists of these; the names of `vocabulary`; task("KEY").FIELD, leases("NODE"), count("KIND"),
    len(...), instant("..."), duration("...")

All of it is bounded: characters, depth, and the size of numbers.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any, NamedTuple, NoReturn

from eventq.audit.expression import vocabulary
from eventq.audit.expression.view import View
from eventq.audit.expression.vocabulary import FIELDS, LARGEST, NAMES, Rule
from eventq.core.commits import KINDS
from eventq.core.durations import parse_duration
from eventq.core.task import EPOCH, TaskState
from eventq.errors import ArgumentError

CHARACTERS = 1_000
# How deep parts may stand inside each other; far below where Python's own stack ends.
DEPTH = 60

_SIGNS: dict[type, str] = {
    ast.Eq: "==",
    ast.NotEq: "!=",
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
    ast.In: "in",
    ast.NotIn: "not in",
    ast.Is: "==",
    ast.IsNot: "!=",
    ast.Add: "+",
    ast.Sub: "-",
    ast.Mult: "*",
}
_HINTS = {"=": "== to compare", "!": "not or !=", "'": "a closing quote", '"': "a closing quote"}
_STATES = [str(state) for state in TaskState]
# A text in quotes, or what stands outside of any and must not reach the parser as it is.
_TEXT_OR_SPACE = re.compile(r"""("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')|\s|\#""", re.DOTALL)
_ESCAPE = re.compile(r"\\(.?)", re.DOTALL)


class Expression:
    """A condition that was read; `holds` asks a view about it."""

    def __init__(
        self,
        text: str,
        argument: str,
        rule: Rule,
        keys: frozenset[str],
        bases: list[Rule],
    ) -> None:
        self.text = text
        self.argument = argument
        self.keys = keys
        """Keys of the tasks it names, which its view must keep."""
        self._rule = rule
        self._bases = bases

    def begin(self, view: View) -> None:
        """Has `since_good` count from where the view stands now, instead of from nothing."""
        for rule in self._bases:
            view.bases[rule] = rule(view)

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
    reader = _Reader(text, argument)
    rule = reader.read()
    return Expression(text, argument, rule, frozenset(reader.keys), reader.bases)


class _Part(NamedTuple):
    """A part that was read: its rule, and its value where that never changes."""

    rule: Rule
    literal: Any = None
    is_literal: bool = False
    is_state: bool = False


class _Reader(ast.NodeVisitor):
    """Turns the nodes of one text into rules; a node without a method of its own is refused."""

    def __init__(self, text: str, argument: str) -> None:
        self.keys: set[str] = set()
        self.bases: list[Rule] = []
        """What is counted since the view's begin."""
        self._text = text
        self._argument = argument
        self._depth = 0
        self._functions: dict[str, Callable[[ast.expr], _Part]] = {
            "task": self._task,
            "leases": self._leases,
            "count": self._count,
            "since_good": self._since_good,
            "len": self._length,
            "instant": self._instant,
            "duration": self._duration,
        }
        self._names = ", ".join(f"{function}(...)" for function in self._functions)
        # What is parsed: the text from its first sign on.
        self._source = ""
        self._blanks = 0

    def read(self) -> Rule:
        """The rule of the whole text."""
        tree = self._parse()
        if isinstance(tree, ast.Tuple) and not self._source.startswith("("):
            self._fail("brackets around a list", self._column(tree))
        return self.visit(tree).rule

    def _parse(self) -> ast.expr:
        for escape in _ESCAPE.finditer(self._text):
            if escape[1] not in {"\\", "'", '"'}:
                self._fail("a backslash only before a quote or a backslash", escape.start())
        if "\0" in self._text:
            self._fail("no null character", self._text.index("\0"))
        # Line ends outside of texts are as good as spaces, which is more than Python allows.
        source = _TEXT_OR_SPACE.sub(self._text_or_space, self._text)
        self._source = source.strip()
        self._blanks = len(source) - len(source.lstrip())
        if not self._source:
            self._fail("a condition such as expired > 0", 0)
        try:
            with warnings.catch_warnings():
                # What Python only warns of, as in 3and, is no condition either.
                warnings.simplefilter("error", SyntaxWarning)
                return ast.parse(self._source, mode="eval").body
        except SyntaxError as error:
            self._fail_to_parse(error)
        except UnicodeEncodeError as error:
            self._fail("no half of a surrogate pair", self._blanks + error.start)
        except (RecursionError, MemoryError):
            self._fail("fewer parts inside each other", self._blanks)

    def _text_or_space(self, found: re.Match[str]) -> str:
        if found[0] == "#":
            self._fail("no comment", found.start())
        return found[1] or " "

    def _fail_to_parse(self, error: SyntaxError) -> NoReturn:
        place = (error.offset or 0) - 1
        # Where something is missing at the end, the offset is 0 or lies behind.
        if not 0 <= place < len(self._source):
            self._fail("a value", self._blanks + len(self._source))
        sign = self._source[place]
        expected = _HINTS.get(sign, "what Python's grammar allows")
        if "never closed" in error.msg:
            expected = "a bracket that closes this one"
        self._fail(expected, self._blanks + place)

    def visit(self, node: ast.AST) -> _Part:
        """The part that a node means, by the method of its kind."""
        assert isinstance(node, ast.expr), "only these are visited"
        self._depth += 1
        if self._depth > DEPTH:
            self._fail(f"no more than {DEPTH} parts inside each other", self._column(node))
        part: _Part = super().visit(node)
        self._depth -= 1
        return part

    def generic_visit(self, node: ast.AST) -> NoReturn:
        """Refuses a node that has no meaning here."""
        assert isinstance(node, ast.expr), "only these are visited"
        kinds = "a comparison, and, or, not, a name, number, text, list or function"
        self._fail(kinds, self._column(node))

    # Operators.

    def visit_BoolOp(self, node: ast.BoolOp) -> _Part:
        """``and`` and ``or``."""
        join = any if isinstance(node.op, ast.Or) else all
        rules = [self.visit(value).rule for value in node.values]
        return _Part(lambda view: join(rule(view) for rule in rules))

    def visit_UnaryOp(self, node: ast.UnaryOp) -> _Part:
        """``not`` and a minus sign."""
        operand = self.visit(node.operand)
        if isinstance(node.op, ast.Not):
            return _Part(lambda view: not operand.rule(view))
        if not isinstance(node.op, ast.USub):
            self._fail("only - or not", self._column(node))
        if operand.is_literal and vocabulary.is_number(operand.literal):
            return _literal(-operand.literal)
        return _Part(lambda view: vocabulary.reckon("-", 0, operand.rule(view)))

    def visit_Compare(self, node: ast.Compare) -> _Part:
        """Comparisons, also chained ones."""
        nodes = [node.left, *node.comparators]
        parts = [self.visit(operand) for operand in nodes]
        for (left, one), (right, other) in pairwise(zip(nodes, parts, strict=True)):
            self._check_states(one, other, right)
            self._check_states(other, one, left)
        tests = [vocabulary.COMPARISONS[_SIGNS[type(op)]] for op in node.ops]
        first, *others = (part.rule for part in parts)

        def rule(view: View) -> bool:
            """Each value is asked for once, and only as far as it holds."""
            left = first(view)
            for test, other in zip(tests, others, strict=True):
                right = other(view)
                if not test(left, right):
                    return False
                left = right
            return True

        return _Part(rule)

    def visit_BinOp(self, node: ast.BinOp) -> _Part:
        """A sum or product of many: its nodes stand inside each other on the left."""
        rest: list[tuple[str, Rule]] = []
        first: ast.expr = node
        while isinstance(first, ast.BinOp):
            sign = _SIGNS.get(type(first.op))
            if sign is None:
                hint = {ast.BitAnd: "and", ast.BitOr: "or"}.get(type(first.op), "only + - *")
                self._fail(hint, self._column_behind(first.left))
            rest.append((sign, self.visit(first.right).rule))
            first = first.left
        rest.reverse()
        first_rule = self.visit(first).rule

        def rule(view: View) -> object:
            result = first_rule(view)
            for sign, operand in rest:
                result = vocabulary.reckon(sign, result, operand(view))
            return result

        return _Part(rule)

    # Values.

    def visit_Constant(self, node: ast.Constant) -> _Part:
        """A text, a number, None, True or False."""
        value = node.value
        if not (value is None or isinstance(value, str | int | float)):
            self._fail("a text or a number", self._column(node))
        if isinstance(value, int | float) and value >= LARGEST:
            self._fail("a number of at most 18 digits", self._column(node))
        return _literal(value)

    def visit_List(self, node: ast.Tuple | ast.List) -> _Part:
        """A list of texts and numbers, in either kind of brackets."""
        parts = [self.visit(item) for item in node.elts]
        for part, item in zip(parts, node.elts, strict=True):
            if not part.is_literal:
                self._fail("only texts and numbers in a list", self._column(item))
        return _literal(tuple(part.literal for part in parts))

    visit_Tuple = visit_List  # noqa: N815 - the parser's name

    def visit_Name(self, node: ast.Name) -> _Part:
        """A number of the view."""
        if node.id not in NAMES:
            self._fail(f"one of {', '.join(NAMES)}, {self._names}", self._column(node))
        return _Part(NAMES[node.id])

    # Functions.

    def visit_Call(self, node: ast.Call) -> _Part:
        """One of the functions."""
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        if name not in self._functions:
            self._fail(f"a function: {self._names}", self._column(node.func))
        if len(node.args) != 1 or node.keywords:
            self._fail(f"one argument of {name}", self._column(node))
        return self._functions[name](node.args[0])

    def _length(self, argument: ast.expr) -> _Part:
        rule = self.visit(argument).rule
        return _Part(lambda view: vocabulary.length(rule(view)))

    def _task(self, argument: ast.expr) -> _Part:
        key = self._key_of(argument)
        return _Part(lambda view: view.task(key) is not None)

    def _leases(self, argument: ast.expr) -> _Part:
        worker = self._written_out(argument, (str,), "a node")
        return _Part(lambda view: len(view.projection.leases_of(worker)))

    def _count(self, argument: ast.expr) -> _Part:
        kind = self._written_out(argument, (str,), "a kind of event")
        if kind not in KINDS:
            expected = f"one of the kinds {', '.join(sorted(KINDS))}"
            self._fail(expected, self._column(argument))
        return _Part(lambda view: view.projection.counts[kind])

    def _since_good(self, argument: ast.expr) -> _Part:
        rule = self.visit(argument).rule
        self.bases.append(rule)
        return _Part(lambda view: vocabulary.reckon("-", rule(view), view.bases.get(rule, 0)))

    def _instant(self, argument: ast.expr) -> _Part:
        text = self._written_out(argument, (str,), "an instant")
        try:
            at = datetime.fromisoformat(text)
        except ValueError:
            at = None
        if at is None or at.utcoffset() is None:
            expected = "an instant with its time zone, like '2030-01-31T12:00:00Z'"
            self._fail(expected, self._column(argument))
        return _literal((at - EPOCH) // timedelta(microseconds=1))

    def _duration(self, argument: ast.expr) -> _Part:
        text = self._written_out(argument, (str,), "a duration")
        try:
            return _literal(parse_duration(text, self._argument))
        except ArgumentError as error:
            self._fail(error.expected, self._column(argument))

    def visit_Attribute(self, node: ast.Attribute | ast.Subscript) -> _Part:
        """``task("KEY").FIELD``, and what stands below that in tags and results."""
        names: list[tuple[str, int]] = []
        base: ast.expr = node
        while isinstance(base, ast.Attribute | ast.Subscript):
            names.append(self._name_below(base))
            first, base = base, base.value
        names.reverse()
        self.visit(base)
        if not (isinstance(base, ast.Call) and ast.unparse(base.func) == "task"):
            self._fail('a field only of a task, as in task("...").state', names[0][1])
        key = self._key_of(base.args[0])
        (name, column), *below = names
        if name not in FIELDS or isinstance(first, ast.Subscript):
            self._fail(f"a field of a task: {', '.join(FIELDS)}", column)
        if below and name not in {"tags", "result"}:
            self._fail("a comparison or the end", below[0][1])
        field, path = FIELDS[name], [name for name, _ in below]

        def rule(view: View) -> object:
            task = view.task(key)
            if task is None:
                return None
            value = field(task, view.at)
            return vocabulary.part(value, path) if path else value

        return _Part(rule, is_state=name == "state")

    visit_Subscript = visit_Attribute  # noqa: N815 - the parser's name

    def _name_below(self, node: ast.Attribute | ast.Subscript) -> tuple[str, int]:
        """The name behind a dot or in square brackets, and its column."""
        if isinstance(node, ast.Attribute):
            return node.attr, self._column_of(node.end_col_offset or 0) - len(node.attr)
        return self._written_out(node.slice, (str,), "a name"), self._column(node.slice)

    def _key_of(self, argument: ast.expr) -> str:
        key = str(self._written_out(argument, (str, int), "a key"))
        self.keys.add(key)
        return key

    def _written_out(self, node: ast.expr, types: tuple[type, ...], what: str) -> Any:  # noqa: ANN401
        """The value of a literal of one of the types; anything else is refused."""
        part = self.visit(node)
        if not part.is_literal or type(part.literal) not in types:
            self._fail(f"{what} written out, in quotes", self._column(node))
        return part.literal

    def _check_states(self, field: _Part, value: _Part, node: ast.expr) -> None:
        """Refuses a state that does not exist: the condition would never hold, without a word."""
        if field.is_state and value.is_literal:
            values = value.literal if type(value.literal) is tuple else (value.literal,)
            if any(type(each) is str and each not in _STATES for each in values):
                self._fail(f"one of the states {', '.join(_STATES)}", self._column(node))

    # Places.

    def _column(self, node: ast.expr) -> int:
        return self._column_of(node.col_offset)

    def _column_behind(self, node: ast.expr) -> int:
        """Where the operator behind an operand stands."""
        column = self._column_of(node.end_col_offset or 0)
        behind = self._text[column:]
        return column + len(behind) - len(behind.lstrip(") \t\n"))

    def _column_of(self, offset: int) -> int:
        """The column in the text of an offset of the parser, which counts bytes."""
        return self._blanks + len(self._source.encode()[:offset].decode())

    def _fail(self, expected: str, column: int) -> NoReturn:
        place = f"at column {column + 1}"
        raise ArgumentError(self._argument, self._text, f"{expected} {place}")


def _literal(value: object) -> _Part:
    return _Part(lambda _: value, value, is_literal=True)
