"""A page as one file, for a ticket: whole by itself, and without what users wrote."""

from __future__ import annotations

import re

import pytest

from tests.web.desk import SECRET, Desk


@pytest.mark.parametrize(
    "path", ["/", "/tasks/img%2F1", "/limits", "/charts", "/tasks/img%2F1/why"]
)
def test_a_page_is_saved_as_one_file(full: Desk, path: str) -> None:
    """Nothing is loaded, asked or done from it; the position that it is of stands in it."""
    head = full.queue.log.head().seq
    page = full.get(f"{path}?as=file")
    answer = full.client.get(f"{path}?as=file&at={head}")

    assert SECRET not in page
    assert f"as of position {head}" in page
    assert not re.search(r"<form|<script|<link|src=|action=|data-root=\"/\"", page)
    assert set(re.findall(r'href="([^"]*)"', page)) <= {"#", "#main"}
    assert "attachment" in answer.headers["content-disposition"]
    assert f"-{head}.html" in answer.headers["content-disposition"]


def test_each_page_leads_to_its_file(full: Desk) -> None:
    """As of the same moment, with the same question."""
    assert 'href="/compare?a=3&amp;b=end&amp;as=file"' in full.get("/compare?a=3&b=end")
    assert 'href="/?at=9&amp;as=file"' in full.get("/?at=9")
    assert "as=file" not in full.get("/help")


def test_the_error_keeps_its_type_alone(full: Desk) -> None:
    """What went wrong is told, and not with whose values."""
    page = full.get("/tasks/img%2F1?as=file")

    assert "ConnectionError" in page
    assert "refused" not in page
