"""What leaves the console of what users wrote."""

from __future__ import annotations

import msgspec
import pytest

import eventq
from eventq.core.values import ErrorInfo, Scope
from eventq.web.access import Person, Right
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
    assert veil.bucket("mx1") == HIDDEN
    scope = Scope(lane="mail", limit="smtp", value="mx1", tags=(("host", '"mx1"'),))
    assert veil.scope(scope) == Scope("mail", None, "smtp", HIDDEN, (("host", HIDDEN),))


def test_tags_that_no_eventq_wrote_are_shown_or_hidden_whole() -> None:
    """A stranger's log may hold anything."""
    assert veil_of(SEES).tags([1]) == [1]
    assert veil_of(SEES, "token").tags([1]) == HIDDEN


def test_a_name_that_no_tag_can_have_is_refused() -> None:
    """A misspelled name would hide nothing."""
    with pytest.raises(eventq.ArgumentError):
        check_redact(["not a tag"])
