"""Everything wrong on a command line: one clear line, the right exit code, and no event."""

from __future__ import annotations

import shlex

import pytest

from tests.cli.harness import Cli

MISUSED = 2
REFUSED = 1


@pytest.mark.parametrize(
    "line,code,said",
    [
        # Numbers.
        ("new --priority x", MISUSED, "--priority"),
        ("new --priority 1.5", MISUSED, "--priority"),
        ("new --priority 2147483648", MISUSED, "priority: expected a whole number"),
        (f"new --priority {'9' * 5_000}", MISUSED, "--priority"),
        ("new --max-retries -1", MISUSED, "max_retries: expected a whole number from 0"),
        ("new --max-retries nan", MISUSED, "--max-retries"),
        ("update 1 --priority -2147483649", MISUSED, "priority: expected a whole number"),
        ("ls --limit -1", MISUSED, "--limit"),
        ("tail --after -1", MISUSED, "--after"),
        ("tail --after 99999999999999999999", MISUSED, "after: expected a whole number"),
        ("tail -n -1", MISUSED, "--lines"),
        # Durations.
        ("new --delay 5", MISUSED, "delay: expected a duration"),
        ("new --delay -5s", MISUSED, "delay: expected a duration"),
        ("new --delay nan", MISUSED, "delay: expected a duration"),
        ("new --delay ''", MISUSED, "delay: expected a duration"),
        ("new --delay 101000d", MISUSED, "delay: expected a duration of at most 100 years"),
        ("new --max-age 0s", MISUSED, "max_age: expected a duration above zero"),
        ("new --deadline 1h1h", MISUSED, "deadline: expected a duration"),
        ("new --backoff soon", MISUSED, "backoff: expected a duration"),
        ("new --backoff often:1s", MISUSED, "backoff: expected a duration, constant:10s"),
        ("new --backoff constant:1s:5m", MISUSED, "backoff: expected"),
        ("new --backoff linear:1s:soon", MISUSED, "cap: expected a duration"),
        ("update 1 --delay 5", MISUSED, "delay: expected a duration"),
        ("update 1 --lane a,b", MISUSED, "lane: expected 1 to 128 of"),
        (f"state --limit {2**64}", MISUSED, "--limit"),
        ("run tests.cli.workers:nothing --supervised-by -1", MISUSED, "--supervised-by"),
        ("run os:getcwd --grace 5", MISUSED, "os:getcwd takes ()"),
        ("run shutil:copy --grace 5", MISUSED, "grace: expected a duration"),
        ("run shutil:copy --lease-ttl 0s", MISUSED, "lease_ttl: expected a duration"),
        # Instants.
        ("new --at 2031-13-01T00:00:00", MISUSED, "expected an instant like"),
        ("new --at tomorrow", MISUSED, "--at"),
        ("new --at 1031-01-01T00:00:00Z", MISUSED, "scheduled_at: expected an instant after 1970"),
        ("new --expires-at 2000-01-01T00:00:00Z", MISUSED, "expires_at: expected"),
        ("new --at 2031-01-01T00:00:00Z --delay 1s", MISUSED, "either delay or scheduled_at"),
        ("new --expires-at 2031-01-01T00:00:00Z --max-age 1d", MISUSED, "either expires_at or"),
        ("update 1 --at 2031-01-01T00:00:00Z --delay 1s", MISUSED, "either delay or scheduled_at"),
        # Tags.
        ("new novalue", MISUSED, "expected NAME=VALUE or NAME:=JSON, got 'novalue'"),
        ("new =value", MISUSED, "expected NAME=VALUE"),
        ("new :=1", MISUSED, "expected NAME=VALUE"),
        ("new a:={", MISUSED, "what follows := is not JSON"),
        ("new a:=NaN", MISUSED, "tags['a']: expected finite numbers"),
        ("new a:=1e999", MISUSED, "tags['a']: expected finite numbers"),
        (f"new a:={'9' * 5_000}", MISUSED, "is not JSON"),
        ("new a:=99999999999999999999", MISUSED, "integers of at most 64 bits"),
        (f"new a:={'[' * 40}{']' * 40}", MISUSED, "nested at most 32 deep"),
        (f"new a:={'[' * 90_000}", MISUSED, "it nests too deep"),
        (r"""new 'a:="\u0000"'""", MISUSED, "text without NUL"),
        ("new a=\udcff", MISUSED, "no lone surrogates"),
        (f"new a={'x' * 70_000}", MISUSED, "tags: expected at most 65536 bytes"),
        ("new 1a=b", MISUSED, "tag names of the form"),
        ("new a=1 a=2", MISUSED, "tags: expected each name once, got 'a'"),
        ("new --json-tags []", MISUSED, "json-tags: expected a JSON object"),
        ("new --json-tags {", MISUSED, "json-tags: expected a JSON object"),
        ("new --json-tags {} a=b", MISUSED, "take one of"),
        ("update 1 --tag a", MISUSED, "expected NAME=VALUE"),
        ("update 1 --tag a=1 --tag a=2", MISUSED, "tag: expected each name once"),
        ("ls --tag a", MISUSED, "expected NAME=VALUE"),
        # Keys.
        ("new --key ''", MISUSED, "key: expected text that is not empty"),
        ("new --key 12", MISUSED, "key: expected a key that is not all digits"),
        ("new --key a\x1b[31m", MISUSED, "or direction marks), got 'a\\x1b[31m'"),
        (f"new --key {'ü' * 128}", MISUSED, "key: expected text of at most 255 bytes"),
        ("show 99", REFUSED, "no task has the key '99'"),
        ("show nobody", REFUSED, "no task has the key 'nobody'"),
        ("show ''", MISUSED, "key: expected text that is not empty"),
        ("history 99", REFUSED, "no task has the key '99'"),
        ("cancel 99", REFUSED, "no task has the key '99'"),
        ("retry 99", REFUSED, "no task has the key '99'"),
        ("update 99 --priority 1", REFUSED, "no task has the key '99'"),
        ("update 99 --tag a=1", REFUSED, "no task has the key '99'"),
        # Moves that are not allowed.
        ("update 2 --priority 1", REFUSED, "cannot update task '2': it is cancelled"),
        # Places.
        ("ls --url redis://x", MISUSED, "url: expected a URL: sqlite:///relative.db"),
        ("ls --url sqlite://", MISUSED, "url: expected three slashes"),
        ("ls --url ''", MISUSED, "url: expected a URL"),
        ("ls --url sqlite:////etc/passwd", REFUSED, "is not a database"),
        ("ls --url sqlite:////nowhere/at/all.db", REFUSED, "does not exist"),
        ("new --url sqlite:////nowhere/at/all.db", REFUSED, "does not exist"),
        ("new --url sqlite:////dev/null", REFUSED, "not a regular file"),
        ("ls --namespace 'a b'", MISUSED, "namespace: expected 1 to 64 of"),
        ("ls --namespace ''", MISUSED, "namespace: expected 1 to 64 of"),
        # Words.
        ("frobnicate", MISUSED, "No such command 'frobnicate'"),
        ("ls --frobnicate", MISUSED, "--frobnicate"),
        ("ls --\x1b[31m", MISUSED, "\\x1b[31m"),
        ("show", MISUSED, "Missing argument 'KEY'"),
        ("show 1 2", MISUSED, "unexpected extra argument"),
        ("ls --state asleep", MISUSED, "'asleep' is not one of 'waiting', 'scheduled', 'ready'"),
        ("ls --state failed", MISUSED, "'failed' is not one of"),
        ("update 1", MISUSED, "say what to change"),
        ("new --from nowhere.jsonl", MISUSED, "nowhere.jsonl"),
        ("new --from - --key k", MISUSED, "--key is for one task"),
        ("new --from - a=b", MISUSED, "take one of"),
        (f"cancel 1 --reason {'x' * 2_000}", MISUSED, "reason: expected text of at most"),
        # Workers.
        ("run jobs", MISUSED, "expected MODULE:FUNCTION, like jobs:work"),
        ("run :work", MISUSED, "expected MODULE:FUNCTION"),
        ("run jobs:", MISUSED, "expected MODULE:FUNCTION"),
        ("run ../jobs:work", MISUSED, "expected MODULE:FUNCTION"),
        ("run no_such_module:work", MISUSED, "there is no module no_such_module"),
        ("run os.no_such:work", MISUSED, "there is no module os.no_such"),
        ("run os:no_such", MISUSED, "module os has no no_such"),
        ("run os:name", MISUSED, "os:name is not callable but of type str"),
        ("run os:getcwd --workers 0", MISUSED, "--workers"),
        ("run os:getcwd --processes 0", MISUSED, "--processes"),
        # Places of output, and databases of others.
        ("report --html ''", MISUSED, "--html: expected the name of a file"),
        (f"metrics --port 0 --host {'x' * 300}", REFUSED, "is no name of a host"),
        ("outbox ls sqlite:////nowhere/at/all.db", REFUSED, "the outbox's database cannot be used"),
        ("outbox ls sqlite:///typo.db", REFUSED, "there is no file"),
        ("outbox retry sqlite:///typo.db", REFUSED, "there is no file"),
        ("relay sqlite:///typo.db --once", REFUSED, "there is no file"),
        ("outbox ls 'mongodb://a/b?c'", MISUSED, "url: expected a MongoDB URL"),
        ("console --no-open --port 0 --host '\x1b]0;owned\x07'", MISUSED, "host: expected"),
        ("console --no-open --port 0 --root-path '/\x9b'", MISUSED, "root_path: expected"),
        ("catalog info --namespace 'a\udcff'", MISUSED, "without lone surrogates"),
        (f"diff 1 3 --limit {2**63}", MISUSED, "--limit"),
        ("anchor export --by 'a\udcff'", MISUSED, "no lone surrogates"),
        ("anchor keep --once --to-file x --by 'a\udcff'", MISUSED, "no lone surrogates"),
        # The demo.
        ("demo /no/such/folder", MISUSED, "/no/such/folder"),
        ("demo --fail-share 1.5", MISUSED, "--fail-share"),
        ("demo --fail-share nan", MISUSED, "fail_share: expected a number"),
        ("demo --pace 5", MISUSED, "pace: expected a duration"),
        ("demo --limit-files 0", MISUSED, "--limit-files"),
        ("demo --url 'mongodb://[::1:9/x'", MISUSED, "url: expected"),
        ("demo --url memory://", MISUSED, "url: expected a log that outlives the demo"),
    ],
)
def test_wrong_words_are_told_and_do_nothing(cli: Cli, line: str, code: int, said: str) -> None:
    """The message names what was wrong; the log is as long as before."""
    cli.ok("new", "--key", "first")
    cli.ok("new")
    cli.ok("cancel", "2")
    error = cli.one_error(*shlex.split(line), code=code)

    assert said in error
    assert len(error) < 700
    assert error.isprintable()
    assert cli.row("stats")["seq"] == 3


def test_the_bare_command_shows_its_help(cli: Cli) -> None:
    """As lines to read, on standard error, since nothing was asked for."""
    result = cli()

    assert result.exit_code == MISUSED
    assert result.stdout == ""
    assert result.stderr.startswith("Usage: ")
    assert "\n  demo " in result.stderr


def test_a_module_that_fails_is_told_with_its_place(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error in the user's module is one line with file and line, and no usage error."""
    (cli.folder / "broken_worker.py").write_text("\n\nraise ValueError('\x1b[31mboom')\n")
    (cli.folder / "unparsable_worker.py").write_text("def (\n")
    (cli.folder / "wanting_worker.py").write_text("import no_such_module_at_all\n")
    (cli.folder / "leaving_worker.py").write_text("raise SystemExit(0)\n")
    monkeypatch.chdir(cli.folder)
    monkeypatch.setattr("sys.path", [str(cli.folder)])

    error = cli.one_error("run", "broken_worker:work", code=1)
    assert "broken_worker.py:3 with ValueError: \\x1b[31mboom" in error
    error = cli.one_error("run", "unparsable_worker:work", code=1)
    assert "SyntaxError: invalid syntax (unparsable_worker.py, line 1)" in error
    error = cli.one_error("run", "wanting_worker:work", code=1)
    assert "wanting_worker.py:1 with ModuleNotFoundError: No module named 'no_such" in error
    error = cli.one_error("run", "leaving_worker:work", code=1)
    assert "leaving_worker.py:1 with SystemExit: 0" in error


def test_a_running_or_completed_task_is_not_retried(cli: Cli) -> None:
    """The state that forbids it is named."""
    cli.ok("new")
    cli.ok("run", "tests.cli.workers:nothing", "--until-idle")

    assert "cannot retry task '1': it is completed" in cli.one_error("retry", "1", code=1)
    assert "cannot cancel task '1': it is completed" in cli.one_error("cancel", "1", code=1)
