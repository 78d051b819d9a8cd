"""anchor keep, and what verify says is proven by anchors: by which key, kept where."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from eventq.core.commits import Commit
from tests.anchors.stamping import StampServer, make_authority, openssl
from tests.cli.harness import Cli, ended, finished, started, until
from tests.verify.tampering import COMMITS, LAST, body_at, resealed, with_body, write_sqlite

ONE_OPTION = "`eventq anchor keep --to-file FILE`, kept elsewhere, ends that"


@pytest.fixture
def story(cli: Cli) -> Cli:
    """The command, at a small log with every kind of event, in a folder of its own."""
    (cli.folder / "log").mkdir()
    cli.url = f"sqlite:///{cli.folder}/log/queue.db"
    write_over(cli, COMMITS)
    return cli


def write_over(cli: Cli, commits: list[Commit]) -> None:
    """Another log in the place of the one there was, or a first one."""
    for path in (cli.folder / "log").glob("queue.db*"):
        path.unlink()
    write_sqlite(cli.folder / "log" / "queue.db", commits)


def keep(cli: Cli, *words: str, folder: str = ".") -> str:
    """Keeps one anchor in a file, signed with what the words say; gives the path."""
    file = str(cli.folder / folder / "shop.anchors")
    cli.ok("anchor", "keep", "--once", "--to-file", file, "--by", "ada@vault", *words)
    return file


def pair(cli: Cli) -> tuple[str, str]:
    """The files of an Ed25519 key and of its public half."""
    private, public = cli.folder / "private.pem", cli.folder / "public.pem"
    private.write_bytes(openssl("genpkey", "-algorithm", "ed25519"))
    public.write_bytes(openssl("pkey", "-pubout", stdin=private.read_bytes()))
    return str(private), str(public)


def test_keep_adds_anchors_until_it_is_asked_to_stop(story: Cli) -> None:
    """The first at once; it says each, and ends with 0."""
    file = story.folder / "shop.anchors"
    words = ("anchor", "keep", "--url", story.url, "--to-file", str(file), "--json")
    with started(*words, folder=story.folder) as process:
        until(file.exists, "the first anchor")
        process.terminate()
        code, output, errors = ended(process)

    assert code == 0
    assert [json.loads(line)["seq"] for line in output.splitlines()] == [LAST]
    assert "no key: the anchors are not signed" in errors
    assert json.loads(file.read_text())["seq"] == LAST


def test_keep_once_is_for_cron(story: Cli) -> None:
    """It says what it kept, or that there is nothing new."""
    words = ("anchor", "keep", "--once", "--to-file", str(story.folder / "anchors"))

    assert f"kept an anchor of {LAST}" in story.ok(*words)
    second = story(*words)
    assert (second.exit_code, second.stdout) == (0, "")
    assert "has not grown" in second.stderr


def test_keep_fails_where_nothing_was_kept(story: Cli) -> None:
    """A program that fails: told, exit code 1; a place that is none: a wrong call."""
    failed = story("anchor", "keep", "--once", "--to-command", "false")

    assert (failed.exit_code, failed.stdout) == (1, "")
    assert "run it again" in failed.stderr
    assert "say where: --to-file" in story.one_error("anchor", "keep", code=2)
    for words in (
        ("--to-file", str(story.folder)),
        ("--to-file", "x", "--every", "now and then"),
        ("--to-git", str(story.folder)),
        ("--to-file", "x", "--key-file", "none"),
    ):
        assert story("anchor", "keep", *words).exit_code == 2, words


def test_verify_says_what_is_proven_by_what(story: Cli) -> None:
    """By which key, who held it, up to where; with the public key alone."""
    private, public = pair(story)
    file = keep(story, "--key-file", private)

    good = story.row("verify", "--anchors", file, "--key-file", public, "--require-anchor")
    said = story.ok("verify", "--anchors", file, "--key-file", public)

    assert (good["ok"], good["proven"], good["warning"]) == (True, LAST, None)
    [proof] = good["proofs"]
    assert (proof["kind"], proof["by"], proof["seq"]) == ("ed25519", "ada@vault", LAST)
    assert (proof["proven"], proof["doubt"], proof["anchors"]) == (True, None, 1)
    assert f"proven\t1 to {LAST}" in said
    assert f"ed25519 {proof['key']}\tada@vault" in said
    assert len(proof["key"]) == 16


def test_what_lies_beside_the_log_proves_nothing(story: Cli, tmp_path: Path) -> None:
    """An unsigned anchor there, or a signed one with its key there, is as good as none."""
    secret = story.folder / "log" / "secret"
    secret.write_text("s")
    beside = keep(story, folder="log")
    away = story.folder / "signed.anchors"
    story.ok("anchor", "keep", "--once", "--to-file", str(away), "--key-file", str(secret))

    unsigned = story("verify", "--anchors", beside, "--json")
    signed = story("verify", "--anchors", str(away), "--key-file", str(secret), "--json")
    elsewhere = tmp_path / "secret"
    secret.rename(elsewhere)
    proven = story.row("verify", "--anchors", str(away), "--key-file", str(elsewhere))

    for result in (unsigned, signed):
        assert result.exit_code == 0
        row = json.loads(result.stdout)
        assert (row["proven"], row["proofs"][0]["proven"]) == (0, False)
        assert "beside the log" in row["proofs"][0]["doubt"]
        assert "no anchor proves anything here" in row["warning"]
    assert proven["proven"] == LAST


def test_a_signed_anchor_beside_the_log_can_be_cut_with_it(story: Cli) -> None:
    """It proves what it says, and not that there was nothing behind it."""
    private, public = pair(story)
    file = keep(story, "--key-file", private, folder="log")

    [proof] = story.row("verify", "--anchors", file, "--key-file", public)["proofs"]

    assert proof["proven"]
    assert "cut" in proof["doubt"]


def test_without_an_anchor_verify_warns(story: Cli) -> None:
    """And names the one option that ends that; it is a finding where one is required."""
    warned = story("verify")
    required = story("verify", "--require-anchor")

    assert warned.exit_code == 0
    assert ONE_OPTION in warned.stderr
    assert "nothing, by anchors" in warned.stdout
    assert required.exit_code == 1
    assert "a complete rewrite or a cut tail would not be seen" in required.stdout


def test_the_environment_names_the_anchors(story: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the verifier's own configuration; what is given on the command line wins."""
    monkeypatch.setenv("EVENTQ_ANCHORS", keep(story))

    assert story.row("verify")["proven"] == LAST
    assert story("verify", "--anchors", str(story.folder / "none")).exit_code == 2


def rewritten() -> list[Commit]:
    """The log as somebody else would have it, with fresh seals."""
    return resealed(with_body(COMMITS, 20, {**body_at(20), "by": "nobody"}))


@pytest.mark.parametrize("seq, commits", [(LAST, rewritten()), (24, COMMITS[:-1])])
def test_tampering_after_an_anchor_is_found(story: Cli, seq: int, commits: list[Any]) -> None:
    """A rewrite with fresh seals and a cut tail; the anchor is named."""
    file = keep(story)
    write_over(story, commits)

    result = story("verify", "--anchors", file, "--json")

    assert result.exit_code == 1
    [finding] = json.loads(result.stdout)["findings"]
    assert (finding["seq"], finding["rule"]) == (min(seq, commits[-1].last + 1), "anchor")
    assert finding["problem"].startswith(f"{file}:1: ")
    assert story("anchor", "check", file).exit_code == 1


def test_a_changed_archive_segment_is_found(story: Cli) -> None:
    """Written anew with fresh seals, it contradicts the anchor."""
    archive = story.folder / "old"
    file = keep(story)
    write_over(story, rewritten())
    story.ok("archive", str(archive), "--before", "22", "--yes")

    result = story("verify", "--archive", str(archive), "--anchors", file, "--json")

    assert result.exit_code == 1
    [finding] = json.loads(result.stdout)["findings"]
    assert finding["problem"].startswith(f"{file}:1: the anchor has another seal")


def test_an_edited_file_of_anchors_is_told(story: Cli) -> None:
    """A changed line contradicts the log or the key; a line that is none is named."""
    private, public = pair(story)
    file = Path(keep(story, "--key-file", private))
    line = file.read_text()
    edits = {
        line.replace("ada@vault", "eve@vault"): "signature",
        f"nonsense\n{line}": "anchor",
        line.replace('"default"', '"other"'): "signature",
    }

    for text, rule in edits.items():
        file.write_text(text)
        result = story("verify", "--anchors", str(file), "--key-file", public, "--json")
        assert result.exit_code == 1
        assert json.loads(result.stdout)["findings"][0]["rule"] == rule
    file.write_text("")
    assert "a file of anchors" not in story.one_error("verify", "--anchors", str(file), code=2)


def test_a_missing_key_is_a_wrong_call(story: Cli) -> None:
    """It says which kind is needed."""
    file = keep(story, "--key-file", pair(story)[0])

    line = story.one_error("verify", "--anchors", file, code=2)

    assert "public key (ed25519)" in line


def test_a_time_stamp_is_said_and_checked(story: Cli) -> None:
    """With the server's root it proves more than the place alone."""
    authority = make_authority(story.folder)
    server = StampServer(authority)
    server.start()
    file = keep(story, "--stamp-url", server.url, folder="log")
    server.stop()
    words = ("verify", "--anchors", file)

    [alone] = story.row(*words)["proofs"]
    [checked] = story.row(*words, "--stamp-roots", f"{authority}/root.pem")["proofs"]

    assert (alone["proven"], alone["stamped"]) == (False, 1)
    assert checked["proven"]
    assert "since it was stamped" in checked["doubt"]
    assert checked["stamped_at"].endswith("Z")


def test_what_is_not_stamped_is_not_proven_by_the_stamp_before(story: Cli) -> None:
    """Beside the log, whoever rewrites it can add a line for each commit that follows the stamp."""
    authority = make_authority(story.folder)
    write_over(story, COMMITS[:-1])
    server = StampServer(authority)
    server.start()
    file = keep(story, "--stamp-url", server.url, folder="log")
    server.stop()
    write_over(story, COMMITS)
    keep(story, folder="log")

    row = story.row("verify", "--anchors", file, "--stamp-roots", f"{authority}/root.pem")

    [proof] = row["proofs"]
    assert (proof["proven"], proof["anchors"], row["anchors"]) == (True, 1, 2)
    assert proof["seq"] == row["proven"] == COMMITS[-2].last


def test_a_secret_that_checks_can_forge(story: Cli) -> None:
    """It is said in both commands, which name columns alike."""
    secret = story.folder / "secret"
    secret.write_text("s")
    file = keep(story, "--key-file", str(secret))

    verified = story.ok("verify", "--anchors", file, "--key-file", str(secret))
    checked = story.ok("anchor", "check", file, "--key-file", str(secret))

    assert "can also forge them" in verified
    columns = "SEQ\tEVENT AT\tKEY\tHELD BY"
    assert columns in verified
    assert columns in checked
    [row] = story.rows("anchor", "check", file, "--key-file", str(secret))
    assert f"hmac {row['key']}\tada@vault" in verified
    assert f"hmac {row['key']}\tada@vault" in checked


def test_a_folder_without_the_file_of_anchors_is_told(story: Cli) -> None:
    """With the name that it needs, and with what there is."""
    keep(story)

    line = story.one_error("verify", "--anchors", ".", code=2)

    assert "default.anchors" in line
    assert "shop.anchors" in line


def test_run_keeps_anchors(cli: Cli) -> None:
    """In one process, and in the first of several."""
    (cli.folder / "jobs.py").write_text("def work(ctx, task):\n    return 1\n")
    for number, more in enumerate(([], ["--processes", "2"])):
        cli.ok("new", "n=1")
        file = cli.folder / f"{number}.anchors"
        words = ("--until-idle", "--url", cli.url, "--anchor-to-file", str(file), *more)
        done = finished("run", "jobs:work", *words, folder=cli.folder)

        assert done.returncode == 0, done.stderr
        found = [json.loads(line)["seq"] for line in file.read_text().splitlines()]
        assert found == sorted(set(found))
        assert found
    assert cli.row("verify", "--anchors", str(file))["proofs"][0]["by"]
