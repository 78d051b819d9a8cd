"""Which tasks a node may run: names, patterns, lanes, needs; and what a name may be."""

from __future__ import annotations

import pytest

from eventq.core.audience import Audience, audience_of
from eventq.core.queue_events import Joined
from eventq.core.task import PLAIN_ROUTE, Route
from eventq.core.validation import check_name, check_patterns
from eventq.errors import ArgumentError

NAMED = Audience(("docs.ocr", "mail.*"), unnamed=False)


@pytest.mark.parametrize(
    "audience, route, accepted",
    [
        (Audience(), PLAIN_ROUTE, True),
        (Audience(), Route(None, "heavy"), True),
        (Audience(), Route("docs.ocr"), False),
        (NAMED, PLAIN_ROUTE, False),
        (NAMED, Route("docs.ocr"), True),
        (NAMED, Route("docs.ocr", "heavy"), True),
        (NAMED, Route("docs.ocr2"), False),
        (NAMED, Route("mail.send"), True),
        (NAMED, Route("mail."), True),
        (NAMED, Route("mail"), False),
        (NAMED, Route("Mail.send"), False),
        (Audience(("*",), unnamed=False), PLAIN_ROUTE, True),
        (Audience(("*",), unnamed=False), Route("any/thing:at-all"), True),
        (Audience(("a*c*",), unnamed=False), Route("abcd"), True),
        (Audience(("a*c*",), unnamed=False), Route("abd"), False),
        (Audience(lanes=("heavy",)), PLAIN_ROUTE, False),
        (Audience(lanes=("heavy",)), Route(None, "heavy"), True),
        (Audience(lanes=("default",)), PLAIN_ROUTE, True),
        (Audience(("*",), lanes=()), Route("a"), False),
        (Audience(("*",)), Route("a", None, ("telepathy",)), False),
    ],
)
def test_an_audience_takes_its_names_lanes_and_needs(
    audience: Audience,
    route: Route,
    accepted: bool,  # noqa: FBT001
) -> None:
    """All of the three must fit; a pattern's star is any text, and nothing else is special."""
    assert audience.accepts(route) is accepted


def test_a_node_takes_what_it_said() -> None:
    """Its slots a lane tell which lanes."""
    body = Joined("n", 30, 4, "1", names=("a",), lanes={"z": 1, "b": 2})

    assert audience_of(body) == Audience(("a",), unnamed=False, lanes=("b", "z"))
    assert audience_of(Joined("n", 30, 4, "1", unnamed=True)) == Audience()


@pytest.mark.parametrize("name", ["a", "docs.ocr", "A_1:b/c-d", "_x", "7", "a" * 128])
def test_a_name_is_kept_as_it_is(name: str) -> None:
    """Letters, digits and a few signs."""
    assert check_name(name, "lane") == name


@pytest.mark.parametrize(
    "name", ["", "a b", "a*", "é", ".a", "-a", "a\n", "a" * 129, "a[b]", 7, None, b"a"]
)
def test_an_odd_name_is_refused(name: object) -> None:
    """What would have to be quoted, or mean something in a pattern, is no name."""
    with pytest.raises(ArgumentError, match="lane: expected 1 to 128 of A-Z"):
        check_name(name, "lane")


@pytest.mark.parametrize("patterns", [["a", "b.*"], ("*",)])
def test_patterns_are_names_with_stars(patterns: list[str]) -> None:
    """They come back as a tuple."""
    assert check_patterns(patterns, "names") == tuple(patterns)


@pytest.mark.parametrize("patterns", ["a", b"b", {"a": 1}, 7, None, [], [7], ["a?"], ["[a]"], [""]])
def test_odd_patterns_are_refused(patterns: object) -> None:
    """One text is no list of names, and no list is not everything."""
    with pytest.raises(ArgumentError, match="names: expected"):
        check_patterns(patterns, "names")
