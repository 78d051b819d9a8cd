"""The intake of documents, played for some seconds: the log is judged by the tool itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.intake import Plan, play


@pytest.mark.slow
def test_documents_are_taken_in_while_processes_are_killed(tmp_path: Path) -> None:
    """All flows come to their ends, a page that is mended too; `why` names all that held one."""
    plan = Plan(seconds=5, kill_every=2.5, processes=2, pages=2, every="3s", ocr_ms=200)

    played = play(f"sqlite:///{tmp_path / 'intake.db'}", tmp_path / "pages", plan)

    assert (played.kills, played.refused) == (2, 0)
    assert played.flows >= 2
    verdicts = {answer.moment.held_by: answer.verdict for answer in played.answers}
    assert verdicts["limit"] == "limit ocr has no room: 2 at a time"
    assert verdicts["pause"].startswith("lane heavy is paused by ada since ")
    assert verdicts["pause"].endswith(": scanner is hot")
    assert "by their share's turn" in verdicts["turn"]
