"""The values of tags as the names of buckets and shares: one tag of many is read as all are."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from eventq.core import tag_texts
from eventq.core.tag_texts import TagTexts, tag_text

NAMES = ["host", "", "a b", 'a"b', "a\\b", "a\nb", "ä", "value", "kind", "\ud7ff"]
names = st.sampled_from(NAMES)
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | st.text(),
    lambda each: st.lists(each, max_size=2) | st.dictionaries(st.text(), each, max_size=2),
    max_leaves=4,
)


@given(names, st.dictionaries(names | st.text(), values, max_size=4))
@example("host", {"host": "1"})
@example('a"b', {'a"b': "1", "host": "2"})
@example("host", {"host": 1.5, "other": {"host": "3"}})
@example("host", {"other": "2"})
def test_one_tag_has_the_text_that_it_has_among_all(name: str, tags: dict[str, object]) -> None:
    """It is found by whatever name, and again when the value comes back."""
    tags_json = msgspec.json.encode(tags)
    texts = TagTexts(name)

    found = [texts.of(tags_json), texts.of(tags_json)]

    assert found == [tag_text(tags_json, name)] * 2


def test_values_are_not_remembered_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """A value of its own for each task costs no memory for ever."""
    monkeypatch.setattr(tag_texts, "VALUES_KEPT", 3)
    texts = TagTexts("host")

    found = [texts.of(b'{"host":"%d"}' % number) for number in range(20)]

    assert found == [str(number) for number in range(20)]
    assert len(texts._known) <= 5
