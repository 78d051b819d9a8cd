"""Tags that are secret on the command line: which are is said there, and what they hold is not.

JSON is the log itself, and has all of it.
"""

from __future__ import annotations

import asyncio
import shlex
from contextlib import closing
from typing import Any

import pytest

import eventq
from eventq.eventlog import EventLog, open_log
from tests.audit.screens import press, screen, stepping
from tests.cli.harness import Cli

VALUE = "c4n4ry-of-ada"
OLD = "0ld-canary"
TAGS = {"token": VALUE, "n": 1}
SECRET = ["token"]


def test_which_tags_are_secret_is_said(cli: Cli) -> None:
    """By an option for one task or all lines, and by a line for itself."""
    one = cli.row("new", f"token={VALUE}", "n:=1", "--secret", "token", "--secret", "n")
    lines = '{"tags": {"token": "a"}}\n{"tags": {"n": 1}, "secret": ["n"]}\n'
    many = cli.rows("new", "--from", "-", "--secret", "token", stdin=lines)

    assert (one["tags"], one["secret"]) == ({"token": VALUE, "n": 1}, ["n", "token"])
    assert [task["secret"] for task in many] == [["token"], ["n"]]
    assert "token=(secret) n=(secret)" in cli.ok("show", "1")


@pytest.mark.parametrize(
    "words, stdin",
    [
        (["token=a", "--secret", "tokn"], None),
        (["--json-tags", '{"token": 1}', "--secret", "tokn"], None),
        (["--secret", "tokn"], None),
        (["--from", "-"], '{"tags": {"token": 1}, "secret": ["tokn"]}'),
        (["--from", "-", "--secret", "tokn"], '{"tags": {"token": 1}}'),
        (["--from", "-"], '{"secret": ["tokn"]}'),
    ],
)
def test_a_name_of_no_tag_is_refused(cli: Cli, words: list[str], stdin: str | None) -> None:
    """A misspelled one would hide nothing; nothing is made."""
    line = cli.one_error("new", *words, code=2, stdin=stdin)

    assert "secret: expected one of the tags" in line
    assert "tokn" in line
    assert not list(cli.folder.iterdir())


def fill(url: str) -> None:
    """Tasks in all states, with a value that is in a secret tag and nowhere else."""
    with eventq.Queue(url, workers=1, max_retries=0) as queue:

        def work(_ctx: eventq.Context, task: eventq.Task) -> None:
            if task.tags["n"] == 2:
                raise ConnectionError("refused")

        queue.limit("smtp", running=1)
        queue.new(TAGS, secret=SECRET, limits=["smtp"])
        queue.new({**TAGS, "n": 2}, key="failed", secret=SECRET)
        queue.new({"token": OLD, "n": 3}, key="edited", secret=SECRET, delay="1h")
        queue.update("edited", tags=TAGS, priority=2, by="ada", reason="why")
        with queue.flow("together") as flow:
            first = flow.new(TAGS, key="first", secret=SECRET)
            flow.new(TAGS, secret=SECRET, after=[first])
        queue.run(work, until="idle", signals=False)
        queue.new(TAGS, name="nobody", key="held", unique="u", secret=SECRET)
        queue.new(TAGS, name="nobody", key="behind", after=["held"], secret=SECRET)
        queue.new(TAGS, delay="1h", key="off", secret=SECRET)
        queue.cancel("off", by="ada")
        queue.select(state="expired").retry().apply(by="ada")
        queue.cancel("failed")


ASKED = """
ls --state all
ls --state cancelled
ls --tag n=1
show 2
show failed
show edited
show first
stats
tail
flow together
history failed
history edited
history off
history first
why 2
why held
why behind
state
state --at 12
state held
state edited --at 5
replay
replay --task edited
diff 0 20
diff 4 16
find --columns key,tags,error,state
find --each attempt
find --tag n=1
report
catalog build
ls --state all
find --columns key,tags,error,state
bulk retry --state cancelled
bulk cancel --name nobody
undo 6
limits
pauses
schedules
followers
verify
metrics
whatif --workers 2
bisect --expr 'task("edited").priority == 2'
update edited --priority 3
cancel held
retry held
repeat failed
"""


def test_no_text_has_what_a_secret_tag_holds(cli: Cli) -> None:
    """Whatever is asked, of tasks in any state; other tags are told."""
    fill(cli.url)
    said = {}
    for line in ASKED.strip().splitlines():
        result = cli(*shlex.split(line))
        said[line] = f"{result.stdout}{result.stderr}"
        assert result.exit_code in {0, 1}, (line, said[line])

    told = "".join(said.values())
    assert "token=(secret)" in told
    assert "n:=1" in told
    assert {line for line, text in said.items() if VALUE in text or OLD in text} == set()


def test_what_else_holds_a_secret_has_stars(cli: Cli) -> None:
    """Unique values, shares, limits and other tags of the task; not its key, nor what it gave."""
    with eventq.Queue(cli.url, workers=1) as queue:
        queue.limit("mail", running=1, per="token")
        queue.fair(per="token")
        tags = {"token": VALUE, "copy": f"cc {VALUE}", "deep": [VALUE]}
        own: dict[str, Any] = {"secret": SECRET, "unique": VALUE, "exclusive": [VALUE]}
        queue.new(tags, key=f"one/{VALUE}", limits=["mail"], **own)
        queue.run(lambda _ctx, _task: {"sent": VALUE}, until="idle", signals=False)
        queue.new(tags, key="two", name="nobody", share=VALUE, limits={"host": VALUE}, **own)
        queue.pause(limit="host", value=VALUE, by="ada")
        queue.new(tags, key="off", delay="1h", **{**own, "unique": "off"})
        queue.cancel("off", by="ada", reason=f"for {VALUE}")
    asked = [
        "ls",
        "show two",
        "show off",
        "history off",
        "history two",
        "tail",
        "state two",
        "why two",
        "replay",
    ]
    said = {words: cli.ok(*words.split()) for words in asked}
    for words in ("tail", "replay"):
        said[words] = "\n".join(each for each in said[words].splitlines() if "\ttwo\t" in each)
    done = cli.ok("show", f"one/{VALUE}")

    assert {words for words, text in said.items() if VALUE in text} == set()
    assert 'copy=cc *** deep:=["***"]' in said["ls"]
    assert "pause of limit host of ***" in said["ls"]
    assert "the only open one of ***" in said["history two"]
    assert "exclusive of ***, host of ***" in said["show two"]
    assert "for ***" in said["show off"]
    assert "for ***" in said["history off"]
    assert [line for line in done.splitlines() if VALUE in line] == [
        f"key\tone/{VALUE}",
        f'result\t{{"sent":"{VALUE}"}}',
    ]


def test_json_is_what_the_log_has(cli: Cli) -> None:
    """All of it, with the names of what is secret; what the catalog tells has none of it."""
    fill(cli.url)
    shown = cli.row("show", "edited")
    [created, edited] = cli.rows("history", "edited")
    found = cli.row("find", "--key", "edited")

    assert (shown["tags"], shown["secret"]) == ({**TAGS, "n": 1}, SECRET)
    assert (created["body"]["tags"]["token"], created["body"]["secret"]) == (OLD, SECRET)
    assert (edited["body"]["tags"]["token"], edited["body"]["secret"]) == (VALUE, SECRET)
    assert (found["tags"], found["secret"]) == ({"n": 1}, SECRET)
    assert cli.ok("export").count(VALUE) == cli.ok("sql", "SELECT body FROM events").count(VALUE)


def test_no_screen_of_the_stepper_has_it(cli: Cli) -> None:
    """At any event: what it changes, and the whole of it."""
    fill(cli.url)
    with eventq.Queue(cli.url) as queue:

        @queue.task("sweep", secret=SECRET)
        def sweep(token: str = VALUE) -> None: ...

        queue.every("1h", sweep, schedule="sweeping")
        queue.run(until="idle", signals=False)
        queue.retry("off")
        last = queue.log.head().seq
    screens = []

    async def look(log: EventLog) -> None:
        async with stepping(log, size=(160, 90)) as pilot:
            for _ in range(last):
                for keys in (["right"], ["enter"], ["escape"]):
                    await press(pilot, *keys)
                    screens.append(screen(pilot))

    with closing(open_log(cli.url)) as log:
        asyncio.run(look(log))
    told = "".join(screens)

    assert "token=(secret)" in told
    for kind in ("created", "updated", "retried", "planned"):
        assert any(f'"{kind}"' in each and '"token": "(secret)"' in each for each in screens), kind
    assert not any(value in told for value in (VALUE, OLD))
