"""Outputs as they may be: full, closed, without colour, or in an encoding that lacks letters."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from eventq import Queue
from eventq.cli import main
from tests.cli.harness import Cli, command, environment, finished, on_terminal

# Every command by its help; what prints more than a message by that.
PRINTING = [
    ["--version"],
    ["--help"],
    *[[name, "--help"] for name in sorted(main.commands)],
    ["anchor", "export", "--help"],
    ["new", "a=b"],
    ["cancel", "x"],
    ["retry", "1"],
    ["ls"],
    ["show", "1"],
    ["stats"],
    ["tail"],
    ["sql", "SELECT * FROM history"],
    ["history", "1"],
    ["why", "1"],
    ["state"],
    ["replay"],
    ["diff", "1", "end"],
    ["bisect", "--expr", "expired"],
    ["whatif"],
    ["verify"],
    ["anchor", "export"],
    ["snapshot", "create"],
    ["export"],
    ["export", "1"],
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder whose queue holds an expired and a ready task."""
    with Queue(f"sqlite:///{tmp_path}/eventq.db", max_retries=0) as queue:
        queue.new({"name": "n\u00e9\U0001f40d"})
        queue.run(lambda *_: 1 / 0, until="idle")
        queue.new({"name": "x"}, key="x")
    return tmp_path


def ran(
    *words: str, folder: Path, stdout: str | None = None, stderr: str | None = None
) -> subprocess.CompletedProcess[bytes]:
    """A process with its output, or its errors, sent to a file."""
    streams = {
        name: subprocess.PIPE if path is None else os.open(path, os.O_WRONLY)
        for name, path in (("stdout", stdout), ("stderr", stderr))
    }
    try:
        return subprocess.run(
            command(*words),
            cwd=folder,
            env=environment(),
            stdout=streams["stdout"],
            stderr=streams["stderr"],
            check=False,
        )
    finally:
        for descriptor in streams.values():
            if descriptor != subprocess.PIPE:
                os.close(descriptor)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's full device")
@pytest.mark.parametrize("words", PRINTING, ids=" ".join)
def test_a_full_output_is_one_message(folder: Path, words: list[str]) -> None:
    """No traceback, neither at once nor at Python's end; exit code 1."""
    done = ran(*words, folder=folder, stdout="/dev/full")

    lines = done.stderr.decode().splitlines()
    assert (done.returncode, lines[-1]) == (1, "eventq: output: No space left on device")
    assert all(line.startswith("eventq: ") for line in lines)


@pytest.mark.parametrize("words", [["--help"], ["ls", "--help"], ["ls"]], ids=" ".join)
def test_a_reader_that_has_gone_is_no_error(folder: Path, words: list[str]) -> None:
    """As for any command of a pipe: 128 + SIGPIPE, and not a word."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            command(*words),
            cwd=folder,
            env=environment(),
            stdout=writing,
            stderr=subprocess.PIPE,
            check=False,
        )
    finally:
        os.close(writing)

    assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's full device")
@pytest.mark.parametrize(
    "case",
    [("", 2), ("nothing", 2), ("show 77", 1), ("ls", 0), ("anchor", 2)],
    ids=str,
)
def test_full_errors_do_not_change_the_exit_code(folder: Path, case: tuple[str, int]) -> None:
    """What cannot be said is not said; the code still tells."""
    words, code = case
    done = ran(*words.split(), folder=folder, stderr="/dev/full")

    assert done.returncode == code


@pytest.mark.parametrize("encoding", ["latin-1", "ascii", "cp1252", "utf-8"])
@pytest.mark.parametrize(
    "words",
    [["ls", "--state", "all"], ["show", "1"], ["history", "1"], ["tail"], ["export", "1"]],
    ids=" ".join,
)
def test_json_is_json_in_any_encoding(folder: Path, words: list[str], encoding: str) -> None:
    """What reads it decodes UTF-8, as JSON is; letters beyond ASCII arrive as they are."""
    done = subprocess.run(
        command(*words, "--json"),
        cwd=folder,
        env=environment(PYTHONIOENCODING=encoding),
        capture_output=True,
        check=True,
    )

    rows = [json.loads(line) for line in done.stdout.decode("utf-8").splitlines()]
    assert "n\u00e9\U0001f40d" in json.dumps(rows, ensure_ascii=False)


COLOUR = re.compile(r"\x1b\[[0-9;]*?(?:3[0-9]|4[0-9]|9[0-7]|10[0-7])[0-9;]*m")


@pytest.mark.parametrize(
    "words",
    [
        ["history", "1"],
        ["tail"],
        ["replay"],
        ["ls", "--state", "all"],
        ["state"],
        ["state", "--at", "3"],
        ["why", "x"],
        ["diff", "1", "end"],
        ["snapshot", "list"],
        ["verify"],
        ["stats"],
    ],
    ids=" ".join,
)
def test_no_color_is_heeded(folder: Path, words: list[str]) -> None:
    """Where NO_COLOR is set and not empty, no command colours anything."""
    _, plain = on_terminal(*words, folder=folder, NO_COLOR="1")
    _, coloured = on_terminal(*words, folder=folder, NO_COLOR="")

    assert COLOUR.search(plain) is None
    if words[0] in {"history", "tail", "replay"}:
        assert COLOUR.search(coloured) is not None


@pytest.mark.parametrize("word", ["ls", "stats", "tail", "state", "replay"])
def test_a_namespace_that_holds_nothing_is_said_to(folder: Path, word: str) -> None:
    """With the names that are there, on standard error; the answer stays what it was."""
    done = finished(word, "--namespace", "defualt", folder=folder)
    good = finished(word, folder=folder)

    assert done.stderr.endswith("namespace 'defualt' holds nothing yet (there: default)\n")
    assert (done.returncode, good.stderr) == (0, "")


def test_limits_are_refused_alike(tmp_path: Path) -> None:
    """0 is no limit neither here nor there; both say how to ask for all."""
    cli = Cli(tmp_path)
    cli.ok("new", "a=b")

    for words in (["ls", "--limit"], ["rerun", "--all", "--worker", "a:b", "--limit"]):
        for word in ("0", "-1", "x", "\u0663"):
            assert "above 0, or none" in cli.one_error(*words, word, code=2)
    assert len(cli.rows("ls", "--limit", "none")) == 1
