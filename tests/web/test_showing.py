"""What leaves the console of what users wrote."""

from __future__ import annotations

import json
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import msgspec
import pytest

import eventq
from eventq.core.values import ErrorInfo, Scope
from eventq.errors import shown
from eventq.runner.describing import describe
from eventq.web.access import Person, Right
from eventq.web.rule_veil import NO_SECRETS, RuleVeil, secrets_in
from eventq.web.showing import HIDDEN, Veil, check_redact

SEES = Person("ada")
BLIND = Person("bob", frozenset({Right.VIEW}))
TAGS = {"token": "t0k3n-é\n", "deep": {"token": [12345, True, "x"]}, "path": "a.png"}


def veil_of(person: Person, *redact: str) -> Veil:
    """A veil."""
    return Veil(person, frozenset(redact))


def test_a_secret_is_hidden_wherever_it_stands() -> None:
    """Also in other text of the task, as it is or as JSON has it, and as a number."""
    veil = veil_of(SEES, "token", "deep")
    hidden = veil.of_tags([msgspec.json.encode(TAGS)])

    assert veil.tags(TAGS) == {"token": HIDDEN, "deep": HIDDEN, "path": "a.png"}
    assert hidden.text("no t0k3n-é\n of 12345, True") == f"no {HIDDEN} of {HIDDEN}, True"
    assert hidden.value({"said": ["t0k3n-é\\n"]}) == {"said": [HIDDEN]}
    found = hidden.error(ErrorInfo("ValueError", "t0k3n-é\n", "line t0k3n-é\n"))
    assert found == ErrorInfo("ValueError", HIDDEN, f"line {HIDDEN}")
    assert hidden.body({"tags": TAGS, "key": "12345"})["key"] == HIDDEN


def test_what_is_too_short_to_be_told_apart_stays() -> None:
    """Or all text would be full of holes."""
    hidden = veil_of(SEES, "n").of_tags([b'{"n":"a"}'])

    assert hidden.text("a cat") == "a cat"


HELD = 't0k3n/é\'s "own"\nand its 2nd line'


def hidden_in(text: str) -> str:
    """A text of a task whose secret that is."""
    return veil_of(SEES, "token").of_tags([msgspec.json.encode({"token": HELD})]).text(text)


WRITTEN: dict[str, Callable[[str], str]] = {
    "repr": repr,
    "ascii": ascii,
    "bytes": lambda text: repr(text.encode()),
    "json": json.dumps,
    "unicode json": lambda text: json.dumps(text, ensure_ascii=False),
    "path": quote,
    "segment": lambda text: quote(text, safe=""),
    "query": quote_plus,
}


@pytest.mark.parametrize("written", WRITTEN.values(), ids=WRITTEN)
def test_a_secret_is_hidden_however_it_is_written(written: Callable[[str], str]) -> None:
    """As Python, JSON and addresses have it; and line by line, as a traceback does that was cut."""
    assert hidden_in(written(HELD)).strip("b\"'") == HIDDEN
    assert hidden_in("...\nand its 2nd line\n") == f"...\n{HIDDEN}\n"
    assert hidden_in(json.dumps({HELD: 1})) == f'{{"{HIDDEN}": 1}}'


def test_the_beginning_of_a_secret_is_hidden_where_a_text_was_cut() -> None:
    """By its length, by dots, in each form; a text that was not cut stays as it is."""
    for length in range(3, HELD.index("\n")):
        fill = "x" * (1_000 - length - 1)
        found = describe(ValueError(f"{fill} {HELD}"))
        lines = describe(ValueError(f"{'y' * 9_000}\n{'x' * (499 - length)} {HELD} {'z' * 600}"))

        assert hidden_in(found.message) == f"{fill} {HIDDEN}"
        assert "t0k" not in hidden_in(found.traceback)
        assert "t0k" not in hidden_in(lines.traceback)
    for limit in range(9, 40):
        assert "t0k" not in hidden_in(f"expected it, got {shown(HELD, limit=limit)} there")
    assert hidden_in("what begins so: t0k3n") == "what begins so: t0k3n"
    assert hidden_in("with t0... and others...") == "with t0... and others..."


def test_a_name_in_a_result_may_hold_a_secret() -> None:
    """It is text as any other."""
    hidden = veil_of(SEES, "token").of_tags([b'{"token":"t0k3n"}'])

    assert hidden.value({"of t0k3n": [1]}) == {f"of {HIDDEN}": [1]}
    assert hidden.body({"result": {"t0k3n": {"t0k3n": 1}}}) == {"result": {HIDDEN: {HIDDEN: 1}}}


def test_who_sees_no_values_sees_none() -> None:
    """Neither tags nor results nor messages, but what kind of error it was."""
    veil = veil_of(BLIND)
    hidden = veil.of_tags([])

    assert veil.tags(TAGS) == dict.fromkeys(TAGS, HIDDEN)
    assert hidden.value({"x": 1}) == HIDDEN
    assert hidden.value(None) is None
    assert hidden.error(ErrorInfo("ValueError", "m", "t")) == ErrorInfo(
        "ValueError", HIDDEN, HIDDEN
    )
    assert hidden.body({"result": 3, "fence": 7}) == {"result": HIDDEN, "fence": 7}
    rules = RuleVeil(veil, NO_SECRETS)
    assert rules.bucket("smtp", "mx1") == HIDDEN
    scope = Scope(lane="mail", limit="smtp", value="mx1", tags=(("host", '"mx1"'),))
    assert rules.scope(scope) == Scope("mail", None, "smtp", HIDDEN, (("host", HIDDEN),))


def test_tags_that_no_eventq_wrote_are_shown_or_hidden_whole() -> None:
    """A stranger's log may hold anything."""
    assert veil_of(SEES).tags([1]) == [1]
    assert veil_of(SEES, "token").tags([1]) == HIDDEN


def test_a_name_that_no_tag_can_have_is_refused() -> None:
    """A misspelled name would hide nothing."""
    with pytest.raises(eventq.ArgumentError):
        check_redact(["not a tag"])


def test_a_limit_that_is_counted_by_a_secret_tag_tells_no_value() -> None:
    """Of no task, while the tag is secret for one that is open, also where that is in no limit."""
    with eventq.Queue("memory://") as queue:
        queue.set_limit("smtp", running=1, per="email")
        queue.set_limit("disk", running=1, per="host")
        queue.new({"email": "right"}, secret=["email"])
        with queue._node.reading() as projection:
            rules = RuleVeil(veil_of(SEES), secrets_in(projection))

    assert rules.bucket("smtp", "ada") == HIDDEN
    assert rules.bucket("disk", "ada") == "ada"
    assert rules.scope(Scope(limit="smtp", value="ada")).value == HIDDEN
