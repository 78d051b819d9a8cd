"""What a stranger's log, and a stranger on the machine, must not reach: code, and files."""

from __future__ import annotations

import ast
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from eventq import Queue
from eventq.cli import main
from tests.web.desk import Desk, fill

PACKAGE = Path(__file__).parent.parent.parent / "eventq"
IMPORTS = {
    *("__import__", "exec_module", "import_module", "import_string", "load_module"),
    *("run_module", "run_path", "spec_from_file_location"),
}
# Who may import by a name, and where the name comes from: never from a log.
IMPORTERS = {
    "cli/target.py": "the command line",
    "contrib/django/checks.py": "the settings",
    "contrib/django/management/commands/eventq.py": "itself: eventq",
    "contrib/django/results.py": "a log, within the installed applications alone",
    "contrib/django/settings.py": "the settings",
    "contrib/outbox/places.py": "a table of its own",
    "handlers/isolation.py": "the handlers of the process that began this one",
    "runner/isolation/child.py": "the process that began this one",
}


def importers() -> Iterator[str]:
    """The files that import by a name."""
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Attribute | ast.Name):
                continue
            name = node.attr if isinstance(node, ast.Attribute) else node.id
            if name in IMPORTS and isinstance(node.ctx, ast.Load):
                yield path.relative_to(PACKAGE).as_posix()


def test_nothing_is_imported_by_a_name_from_data() -> None:
    """Each place that imports by a name is known, with where the name comes from."""
    assert set(importers()) == set(IMPORTERS), "say where the name comes from, or do without it"


def test_files_are_their_owners_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the mask says: logs, catalogs, archives, snapshots, anchors, reports, caches."""
    monkeypatch.chdir(tmp_path)
    url = f"sqlite:///{tmp_path}/queue.db"
    before = os.umask(0)
    try:
        with Queue(url, workers=1, max_retries=0) as queue:
            fill(queue)
            queue.run(until="idle", signals=False, health=tmp_path / "health")
            desk = Desk(queue, tmp_path / "cache")
            desk.get("/?at=5")
            desk.close()
            end = str(queue.log.head().seq)
        for words in (
            ["catalog", "build"],
            ["snapshot", "create"],
            ["snapshot", "export", end, "one.snapshot"],
            ["anchor", "keep", "--once", "--to-file", "anchors"],
            ["report", "--html", "report.html"],
            ["copy", url, f"file:///{tmp_path}/copy.jsonl"],
            ["archive", "--before", "20", "old", "--yes"],
        ):
            result = CliRunner().invoke(main, words, env={"EVENTQ_URL": url})
            assert result.exit_code == 0, (words, result.output)
    finally:
        os.umask(before)

    found = {path: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("*")}
    names = {path.relative_to(tmp_path).as_posix() for path in found}
    assert {"queue.db", "queue.db.catalog", "copy.jsonl", "old", "report.html"} <= names
    assert [str(path) for path, mode in found.items() if mode & 0o077] == []
