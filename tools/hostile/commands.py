"""Every argument and option of every command with every text: one line and an exit code."""

from __future__ import annotations

import logging
import os
import shutil
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import product
from pathlib import Path
from types import FrameType
from unittest.mock import patch

import click
from click.testing import CliRunner, Result
from msgspec import Struct

from eventq import Queue
from eventq.cli import main
from eventq.eventlog import open_log
from eventq.web.serve import ConsoleServer
from tests.checker import check_log
from tests.web.desk import fill
from tools.hostile.values import CANARY, TEXTS

# What no command may take for one text; one that serves is told to stop much sooner.
HANGS_S = 60.0
SERVES_S = 0.5
# By Ctrl-C.
INTERRUPTED = 130
# A warning of a password, a note that no key was given or which zone a time is of, and the error.
MOST_LINES = 3
SERVING = {"metrics"}
# What these are given is a program to start, or the URL of a server to ask.
LEFT_OUT = {"to_command", "anchor_to_command", "stamp_url", "anchor_stamp_url"}
# A thousand processes begin, as is asked.
TOO_MANY = ("processes", "underscores")
# Good words for what must be given, by command and by argument.
WORDS = {
    "key": ["img/0"],
    "source": ["{url}"],
    "target": ["sqlite:///target.db"],
    "file": ["somewhere"],
    "folder": ["archive"],
    "before": ["end"],
    "after": ["end"],
    "text": ["ready > 3"],
    "number": ["2"],
    "change": ["2"],
    "a": ["1"],
    "b": ["end"],
    "name": ["check_mail"],
    "seq": ["5"],
    "query": ["SELECT 1"],
    "worker": ["tests.cli.workers:nothing"],
    "database": ["sqlite:///shop.db"],
    "files": ["somewhere"],
    "since": ["2026-01-01T00:00:00Z"],
    "until": ["2026-01-01T02:00:00Z"],
}
BY_COMMAND = {
    "run": {"target": ["tests.cli.workers:nothing"], "until_idle": ["--until-idle"]},
    "handlers": {"target": ["tests.cli.workers:nothing"]},
    "schedules prune": {"target": ["tests.cli.workers:nothing"]},
    "snapshot show": {"source": ["5"]},
    "snapshot diff": {"before": ["5"], "after": ["now"]},
    "relay": {"once": ["--once"]},
    "anchor keep": {"once": ["--once"], "to_file": ["--to-file", "anchors"]},
    "demo": {"directory": ["."], "pace": ["--pace", "0s"]},
    "console": {"no_open": ["--no-open"], "port": ["--port", "0"]},
    "metrics": {"port": ["--port", "0"]},
}


class Word(Struct, frozen=True):
    """A parameter of a command that takes a text."""

    path: tuple[str, ...]
    name: str
    option: str | None
    required: bool


class Commands:
    """A queue with a past in a folder of its own, and click's own tree of commands."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "commands"
        self._folder.mkdir()
        self._url = f"sqlite:///{self._folder}/queue.db"
        with Queue(self._url, workers=1, max_retries=0) as queue:
            fill(queue)
        self._whole = folder / "whole.db"
        shutil.copy(self._folder / "queue.db", self._whole)
        self.words = list(_words(main, (), click.Context(main)))
        names = [name for name in TEXTS if name != "nul"]
        cases = product(self.words, names)
        self.cases = [(word, name) for word, name in cases if (word.name, name) != TOO_MANY]

    def play(self, number: int) -> Counter[str]:
        """Calls one command with one text. Raises AssertionError where it ends otherwise."""
        word, name = self.cases[number]
        text = TEXTS[name]
        result = self._called(self._line(word, text))
        said = f"{' '.join(word.path)} {word.option or word.name} {name}: {result.output[-500:]!r}"
        broke = result.exception
        assert broke is None or isinstance(broke, SystemExit), f"{broke!r}, {said}"
        codes = {0, 1, 2, INTERRUPTED} if word.path[0] in SERVING else {0, 1, 2}
        assert result.exit_code in codes, f"exit code {result.exit_code}, {said}"
        # On standard output one may stand that an attempt has left.
        assert "Traceback" not in result.stderr, said
        assert result.output.replace("\n", "").replace("\t", "").isprintable(), said
        if result.exit_code == 2:
            lines = result.stderr.splitlines()
            assert result.stdout == "", said
            # A group without a command shows its help.
            if "Usage: " not in result.stderr:
                assert all(line.startswith("eventq: ") for line in lines), said
                assert 0 < len(lines) <= MOST_LINES, said
        assert not list(self._folder.rglob(CANARY)), f"a stranger's command ran: {said}"
        return Counter([f"exit code {result.exit_code}"])

    def check(self) -> None:
        """Raises AssertionError where the log is not good; then begins with a fresh one."""
        with closing(open_log(self._url, create=False)) as log:
            assert log.head().seq, "the log is empty"
            check_log(log)
        for path in self._folder.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        shutil.copy(self._whole, self._folder / "queue.db")

    def close(self) -> None:
        """Nothing is held."""
        self.check()

    def _line(self, word: Word, text: str) -> list[str]:
        """The command's words: what it must be given, and the text where it belongs."""
        good = BY_COMMAND.get(" ".join(word.path), {})
        options: list[str] = []
        arguments: list[str] = []
        for each in (each for each in self.words if each.path == word.path):
            if each.name == word.name:
                words = [text] if each.option is None else [f"{each.option}={text}"]
            elif each.required:
                given = good.get(each.name) or WORDS[each.name]
                words = [each_word.format(url=self._url) for each_word in given]
                words = words if each.option is None else [each.option, *words]
            else:
                continue
            (arguments if each.option is None else options).extend(words)
        taken = {each.name for each in self.words if each.path == word.path and each.required}
        taken.add(word.name)
        rest = [each for name, words in good.items() if name not in taken for each in words]
        return [*word.path, *rest, *options, *arguments]

    def _called(self, words: list[str]) -> Result:
        logger = logging.getLogger("eventq")
        handlers, level = logger.handlers[:], logger.level
        before = Path.cwd()
        os.chdir(self._folder)
        try:
            # A console is made, bound and said to be there; nobody asks it for anything.
            with (
                patch.object(ConsoleServer, "run", _end),
                _patience(SERVES_S if words[0] in SERVING else HANGS_S, words),
            ):
                return CliRunner().invoke(main, words, env={"EVENTQ_URL": self._url}, input="")
        finally:
            os.chdir(before)
            logger.handlers[:], logger.level = handlers, level


def _end(server: ConsoleServer) -> None:
    """Gives up what a console holds that has served nobody."""
    server._socket.close()  # noqa: SLF001 - by `run`, it is closed by the server
    server._console.close()  # noqa: SLF001


def _words(command: click.Command, path: tuple[str, ...], context: click.Context) -> Iterator[Word]:
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None, "it is listed"
            yield from _words(found, (*path, name), context)
        if not command.invoke_without_command or not path:
            return
    for each in command.params:
        if getattr(each, "is_flag", False) or each.name in LEFT_OUT:
            continue
        option = None if isinstance(each, click.Argument) else max(each.opts, key=len)
        yield Word(path, each.name, option, each.required)


@contextmanager
def _patience(seconds: float, words: list[str]) -> Iterator[None]:
    """Ctrl-C after a while: what serves ends by it, and what hangs is told."""

    def press(_number: int, _frame: FrameType | None) -> None:
        if seconds == HANGS_S:
            raise AssertionError(f"it hangs: {words}"[:500])
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, press)
    # Again and again, since the first one may come where nobody heeds it.
    signal.setitimer(signal.ITIMER_REAL, seconds, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
