"""Output on terminals and in pipes: data takes no hold of a terminal, pipes stay plain."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from eventq import Queue
from eventq.cli.text import json_text, visible
from tests.cli.harness import (
    FORBIDDEN,
    NASTY,
    Cli,
    command,
    ended,
    environment,
    finished,
    on_terminal,
    started,
    until,
)

LOOKING = [
    ["ls", "--state", "all"],
    ["show", "1"],
    ["history", "1"],
    ["history", "2"],
    ["state", "--at", "1"],
    ["state", "1"],
    ["why", "1"],
    ["tail", "--after", "0"],
    ["stats"],
]


@pytest.fixture
def nasty(tmp_path: Path) -> Path:
    """A folder whose queue is full of what wants to take hold of a terminal."""
    with Queue(f"sqlite:///{tmp_path}/eventq.db", max_retries=0) as queue:
        queue.new({"path": NASTY, "deep": {NASTY: [NASTY]}})
        queue.new({"path": "b"})

        def work(_: object, task: object) -> list[str]:
            if getattr(task, "key", "") == "1":
                raise type(f"Odd{NASTY}", (Exception,), {})(NASTY)
            return [NASTY]

        queue.run(work, until="idle")
        queue.retry("1", by=NASTY)
        queue.update("1", tags={"path": NASTY}, by=NASTY)
        queue.cancel("1", reason=NASTY, by=NASTY)
    return tmp_path


@pytest.mark.parametrize("words", LOOKING, ids=" ".join)
def test_data_never_reaches_a_terminal_raw(nasty: Path, words: list[str]) -> None:
    """Control characters and direction marks are escaped, markup and emoji names stay text."""
    code, received = on_terminal(*words, folder=nasty, columns=250)

    assert code == 0
    assert [bad for bad in FORBIDDEN if bad in received] == []
    if words != ["stats"]:
        assert "]0;owned\\" in received
    if words[0] == "show":
        assert "[bold]:smile:[/bold]" in received


@pytest.mark.parametrize("words", LOOKING, ids=" ".join)
def test_json_never_reaches_a_terminal_raw(nasty: Path, words: list[str]) -> None:
    """JSON for programs is as safe to look at, and reads back as what it was."""
    code, received = on_terminal(*words, "--json", folder=nasty)

    assert code == 0
    rows = [json.loads(line) for line in received.splitlines()]
    assert all(line.isprintable() for line in received.splitlines())
    if words == ["show", "1"]:
        assert rows[0]["tags"] == {"path": NASTY}


@pytest.mark.parametrize("words", LOOKING, ids=" ".join)
def test_pipes_get_plain_lines(nasty: Path, words: list[str]) -> None:
    """No colour, no box, no raw character: only printable text, tabs and line ends."""
    done = finished(*words, folder=nasty, FORCE_COLOR="1", TERM="xterm-256color")

    assert done.returncode == 0
    assert done.stderr == ""
    assert done.stdout.replace("\t", " ").replace("\n", " ").isprintable()
    assert not set(done.stdout) & set("━─│┃┏┓└┘")


def test_a_terminal_gets_colours_and_a_table(nasty: Path) -> None:
    """A person sees bold names and aligned columns."""
    code, received = on_terminal("ls", "--state", "all", folder=nasty, columns=250)

    assert code == 0
    assert "\x1b[1mKEY" in received
    assert "\x1b[32mcompleted" in received


@pytest.mark.parametrize("words", LOOKING, ids=" ".join)
def test_a_dumb_terminal_gets_plain_lines(nasty: Path, words: list[str]) -> None:
    """Where nothing understands escape sequences none are sent."""
    code, received = on_terminal(*words, folder=nasty, TERM="dumb")

    assert code == 0
    assert "\x1b" not in received


def test_keys_are_never_cut(tmp_path: Path) -> None:
    """However narrow the terminal, a key can be read in full."""
    key = "k" * 60
    with Queue(f"sqlite:///{tmp_path}/eventq.db") as queue:
        queue.new({"path": "p" * 200}, key=key)
    _, received = on_terminal("ls", folder=tmp_path, columns=60)

    assert received.count("k") == len(key)


def test_ls_stays_readable_on_a_small_terminal(tmp_path: Path) -> None:
    """With every column in use, 80 columns still show each state in full."""
    with Queue(f"sqlite:///{tmp_path}/eventq.db", backoff="1h") as queue:

        def fail_once(_ctx: object, _task: object) -> None:
            queue.stop()
            raise ValueError("e" * 40)

        queue.new({"path": "p" * 40})
        queue.run(fail_once)
        queue.new({"path": "q" * 40}, delay="100d")
    _, received = on_terminal("ls", folder=tmp_path, columns=80)

    assert received.count(" scheduled ") == 2
    assert " 100d " in received
    assert " Val" in received


def test_any_encoding_will_do(cli: Cli) -> None:
    """What an encoding lacks is escaped, not an error."""
    cli.ok("new", "name=größe 𝄞")
    done = finished("ls", "--url", cli.url, folder=cli.folder, PYTHONIOENCODING="ascii")

    assert done.returncode == 0
    assert "name=gr\\xf6\\xdfe \\U0001d11e" in done.stdout


def test_a_reader_that_leaves_ends_it_quietly(cli: Cli) -> None:
    """`eventq tail | head -1` ends with the exit code of a broken pipe and no complaint."""
    with Queue(cli.url) as queue:
        # More than a pipe holds.
        queue.new_many([{"text": "x" * 1_000}] * 500)
    with started("tail", "--after", "0", "--json", "--url", cli.url, folder=cli.folder) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.close()
        process.wait(60)
        assert process.stderr is not None

        assert process.stderr.read() == b""
        assert process.returncode == 128 + signal.SIGPIPE


def test_a_reader_that_never_came_is_no_traceback(cli: Cli) -> None:
    """Also when all output is still in a buffer at the end, nobody complains."""
    cli.ok("new")
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as pipe:
        done = subprocess.run(
            command("ls", "--url", cli.url),
            env=environment(),
            cwd=cli.folder,
            stdout=pipe,
            stderr=subprocess.PIPE,
            check=False,
        )

    assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, b"")


def test_ctrl_c_ends_it_quietly(cli: Cli) -> None:
    """A person who has seen enough of `tail -f` gets no traceback."""
    cli.ok("new")
    with started("tail", "-f", "--url", cli.url, folder=cli.folder) as process:
        assert process.stdout is not None
        lines = process.stdout.readline(), process.stdout.readline()
        assert [b"created" in line for line in lines] == [False, True]
        process.send_signal(signal.SIGINT)
        code, output, errors = ended(process)

    assert (code, output, errors) == (128 + signal.SIGINT, "", "")


def test_tail_follows(cli: Cli) -> None:
    """What another process appends comes through a pipe at once, line by line."""
    cli.ok("new", "n=1")
    with started("tail", "-f", "--json", "--url", cli.url, folder=cli.folder) as process:
        assert process.stdout is not None
        first = json.loads(process.stdout.readline())
        cli.ok("new", "n=2")
        second = json.loads(process.stdout.readline())

    assert (first["seq"], second["seq"]) == (1, 2)
    assert second["body"]["tags"] == {"n": "2"}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has /dev/full")
def test_a_full_disk_is_told(cli: Cli) -> None:
    """Output that cannot be written is a failure, not silence."""
    cli.ok("new")
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            command("ls", "--url", cli.url),
            env=environment(),
            cwd=cli.folder,
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
        )

    assert done.returncode == 1
    assert done.stderr == b"eventq: output: No space left on device\n"


def test_closed_standard_output_is_no_traceback(cli: Cli) -> None:
    """Even `eventq ls >&-` ends in an orderly way."""
    cli.ok("new")
    done = subprocess.run(
        ["sh", "-c", f"{' '.join(command('ls', '--url', cli.url))} >&-"],
        env=environment(),
        cwd=cli.folder,
        capture_output=True,
        check=False,
    )

    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize("code", [*range(0x20), *range(0x7F, 0xA1), 0xAD, 0x200E, 0x202E, 0xFEFF])
def test_every_character_that_does_not_print_is_escaped(code: int) -> None:
    """All of C0, DEL and C1, soft hyphens and direction marks; and JSON reads back the same."""
    text = f"a{chr(code)}b"

    if code != 0x20:
        assert visible(text).isascii() or visible(text).isprintable()
        assert chr(code) not in visible(text)
        assert json_text(text).isprintable()
    assert json.loads(json_text(text)) == text


def test_a_file_of_another_program_is_left_alone(cli: Cli) -> None:
    """A wrong URL changes no byte, and leaves nothing beside the file."""
    path = cli.folder / "notes.txt"
    path.write_text("dear diary, " * 100)
    for words in (["ls"], ["new"], ["tail"], ["demo", os.fspath(Path(__file__).parent)]):
        error = cli.one_error(*words, "--url", f"sqlite:///{path}", code=1)

        assert "notes.txt: is not a database" in error
    assert [entry.name for entry in cli.folder.iterdir()] == ["notes.txt"]
    assert path.read_text() == "dear diary, " * 100


def test_until_is_patient() -> None:
    """The helper that waits gives up only when nothing changes."""
    seen: list[int] = []

    def later() -> bool:
        seen.append(1)
        return len(seen) > 2

    until(later, "three looks were taken")

    assert len(seen) == 3
