"""The log beside the page of recipes is a good one, and each recipe there is for both databases.

That the answers are those shown is tested with the other pages, in test_docs.py.
"""

from __future__ import annotations

import re
from contextlib import closing

import pytest

from eventq.eventlog import open_log
from eventq.replay.fold import replay
from tests.checker import check_log
from tests.docs.test_docs import blocks
from tests.driver import memory_log
from tests.recipes import LOG, PAGE, fill

RECIPES = re.findall(r"^## (.+)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)


def test_the_log_is_what_its_story_makes() -> None:
    """The file was written by ``python -m tests.recipes``, and nobody has edited it since."""
    made = memory_log()
    fill(made)
    with closing(open_log(f"file:///{LOG}", namespace="default", create=False)) as log:
        assert log.read(after=0) == made.read(after=0)


def test_the_log_is_legal() -> None:
    """A checker that shares nothing with the fold finds nothing, and the fold agrees."""
    with closing(open_log(f"file:///{LOG}", namespace="default", create=False)) as log:
        check_log(log)
        projection = replay(log)

    assert projection.final_counts() == {"completed": 3, "expired": 1, "cancelled": 0}
    assert sorted(projection.tasks) == [21]


@pytest.mark.parametrize("recipe", RECIPES)
def test_each_recipe_is_for_both_databases(recipe: str) -> None:
    """Under each heading stand a statement and its answer, for SQL and for the mongo shell."""
    text = PAGE.read_text(encoding="utf-8").partition(f"## {recipe}\n")[2]
    kinds = re.findall(r"^```(\w+)\n", text.partition("\n## ")[0], re.MULTILINE)

    assert kinds == ["sql", "output", "mongosh", "output"]
    assert len([block for block in blocks(PAGE) if block.kind == "sql"]) == len(RECIPES)
