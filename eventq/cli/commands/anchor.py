"""``anchor``: a position and its seal, exported, kept again and again, checked; never repaired."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import msgspec
from msgspec import Struct

from eventq.anchors.keeping import KEY_ENV, AnchorKeeper, KeepAnchors, find_key
from eventq.anchors.kept import FoundAnchor, KeptAnchors, read_anchors
from eventq.anchors.keys import KeyRing
from eventq.cli.ending import end_with_finding, misuse
from eventq.cli.output import Getter, Listing, flush, is_terminal, note, say, say_json, say_list
from eventq.cli.person import person
from eventq.cli.place import Place, check_there, expect_command, placed, point_of
from eventq.cli.supervise.background import on_asking
from eventq.cli.text import time_text
from eventq.cli.words import point_option
from eventq.core.validation import check_text
from eventq.eventlog import EventLog
from eventq.host.bell import Bell
from eventq.replay.points import END
from eventq.verify.anchor import Anchor, check_anchor, make_anchor

# The instant is that of the event there. When an anchor was made, only a time stamp can tell.
ANCHOR_COLUMNS: tuple[tuple[str, Getter], ...] = (
    ("SEQ", "seq"),
    ("EVENT AT", lambda anchor: time_text(anchor.at)),
    ("KEY", lambda anchor: "none" if anchor.key is None else f"{anchor.kind} {anchor.key}"),
    ("HELD BY", lambda anchor: anchor.by or "-"),
)
CHECKED_ANCHORS = Listing(
    ("FILE", "place"),
    *ANCHOR_COLUMNS,
    ("RESULT", lambda result: result.problem or "holds"),
)
TRUST = "the anchors are not signed: trust them as far as the place where they were kept"


class CheckedAnchor(Struct, frozen=True):
    """A checked anchor: where the log contradicts it and how, or None for both."""

    place: str
    seq: int
    at: int
    kind: str
    """What vouches for it: see `Proof`."""
    key: str | None
    by: str
    ok: bool
    position: int | None
    problem: str | None


key_env_option = click.option(
    "--key-env",
    default=KEY_ENV,
    metavar="NAME",
    help="The environment variable that holds the key.",
)
key_file_option = click.option(
    "--key-file",
    metavar="FILE",
    help="A file with the key instead: a secret, or an Ed25519 key in PEM.",
)
key_files_option = click.option(
    "--key-file",
    "key_files",
    multiple=True,
    metavar="FILE",
    help="A file with a key instead: a secret, or an Ed25519 public key; may come several times.",
)


def keeping_options(prefix: str = "") -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Gives a command the options that say how anchors are kept; see `KeepAnchors`."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        for name, metavar, text in reversed(
            (
                ("to-file", "FILE", "Add each anchor to this file, which lies elsewhere."),
                ("to-command", "WORDS", "Give each to this program on its standard input."),
                ("to-git", "DIR", "Commit each in this git repository, and push it."),
                ("stamp-url", "URL", "Have each stamped by this time stamp server (RFC 3161)."),
            )
        ):
            option = click.option(f"--{prefix}{name}", metavar=metavar, help=text)
            command = option(command)
        return command

    return decorate


@click.group("anchor", epilog="Example: eventq anchor export", invoke_without_command=True)
@placed
def anchor_group(*, place: Place) -> None:
    """Keep a position and its seal outside the log, and check the log against them."""
    del place
    expect_command()


@anchor_group.command(
    "export",
    epilog="""\b
Examples:
  eventq anchor export > anchor.json
  EVENTQ_ANCHOR_KEY=... eventq anchor export --at 2030-01-31T00:00:00Z > january.json""",
)
@point_option("--at", "point", text="Of when.", default=END)
@key_env_option
@key_file_option
@click.option("--by", default=person, show_default=False, metavar="NAME", help="Who makes it.")
@placed
def export(*, place: Place, point: str, key_env: str, key_file: str | None, by: str) -> None:
    """Print an anchor: the position, instant and seal of the last commit up to a point.

    It is one line of JSON. With a key, from a file or the environment, it is signed, so that only
    somebody with the key can have made it.
    """
    check_text(by, "by")
    key = find_key(key_file, key_env)
    if key is not None and not key.can_sign:
        misuse(f"{key_file or key_env} holds a public key, which signs nothing")
    with place.open_log() as log:
        check_there(log)
        found = point_of(log, point, "--at")
        anchor = make_anchor(log, found, by=by)
    if key is None:
        note(f"no key in {key_env}: the anchor is not signed, so anybody could forge it")
    else:
        anchor = key.sign(anchor)
    say_json(msgspec.to_builtins(anchor))


@anchor_group.command(
    "keep",
    epilog="""\b
Examples:
  eventq anchor keep --every 1h --to-file /mnt/audit/shop.anchors
  eventq anchor keep --every 10000events --to-git /srv/anchors --key-file key.pem
  eventq anchor keep --to-command 'aws s3 cp - s3://audit/shop/{seq}.json'
  eventq anchor keep --once --to-file /mnt/audit/shop.anchors""",
)
@click.option(
    "--every",
    default="1h",
    metavar="DURATION|N",
    help="How often, if the log has grown: 1h, or 10000events.",
)
@click.option("--once", is_flag=True, help="Keep one now, and end; for cron.")
@keeping_options()
@key_env_option
@key_file_option
@click.option("--by", default=person, show_default=False, metavar="NAME", help="Who holds the key.")
@placed
def keep(*, place: Place, every: str, once: bool, **options: Any) -> None:  # noqa: ANN401
    """Keep anchors by themselves, until Ctrl-C or SIGTERM: one line each, added and never changed.

    What could not be kept or stamped waits, is told, and is tried again. Before each new anchor the
    log is compared with the last one. Exit code 1: the log did not hold that, or something waits.
    """
    if not any(options[name] for name in ("to_file", "to_command", "to_git")):
        misuse("say where: --to-file, --to-command or --to-git")
    plan = KeepAnchors(every, **options)
    if plan.key is None:
        note("no key: the anchors are not signed, and prove as much as the place they are kept in")
    with place.open_log() as log:
        check_there(log)

        def kept(anchor: Anchor) -> None:
            if place.as_json:
                say_json(msgspec.to_builtins(anchor))
            else:
                say(f"kept an anchor of {anchor.seq}, {time_text(anchor.at)}")
            flush()

        keeper = AnchorKeeper(log, plan, on_kept=kept)
        if once:
            made = keeper.keep()
            if keeper.waiting:
                note("some anchors were not kept, or not stamped: run it again")
            elif made is None and not keeper.problems:
                note("the log has not grown since the last anchor")
        else:
            _keep_on(keeper)
        if keeper.problems or keeper.waiting:
            end_with_finding()


@anchor_group.command("check", epilog="Example: eventq anchor check monday.json tuesday.json")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@key_env_option
@key_files_option
@placed
def check(
    *, place: Place, files: tuple[str, ...], key_env: str, key_files: tuple[str, ...]
) -> None:
    """Check that the log still holds what each anchor says. Exits with 1 if not.

    It is quick, since it reads one commit for each anchor. That the seal fits all commits before
    it, verify proves.
    """
    kept = find_anchors(files, place.namespace)
    keys = find_keys(kept.found, key_env, key_files)
    with place.open_log() as log:
        results = [_checked(log, each, keys) for each in kept.found]
    say_list(results, CHECKED_ANCHORS, as_json=place.as_json)
    for where, problem in kept.broken:
        note(f"{where}: {problem}")
    if kept.broken or not all(result.ok for result in results):
        end_with_finding()


def find_anchors(files: tuple[str, ...], namespace: str) -> KeptAnchors:
    """The anchors of all these files and folders. Raises ArgumentError as `read_anchors`."""
    kept = KeptAnchors()
    for file in files:
        kept = kept.plus(read_anchors(Path(file), namespace))
    return kept


def find_keys(found: tuple[FoundAnchor, ...], env: str, files: tuple[str, ...]) -> KeyRing:
    """The keys, which must be there when an anchor was made with one."""
    keys = [find_key(file, env) for file in files] or [find_key(None, env)]
    ring = KeyRing([key for key in keys if key is not None])
    lacking = {kind for each in found if (kind := ring.lacks(each.anchor)) is not None}
    if lacking:
        kind = min(lacking)
        what = "public key" if kind == "ed25519" else "key"
        misuse(f"set {env}, or --key-file, to the {what} ({kind}) of whoever made the anchors")
    if found and not ring.keys:
        note(TRUST)
    return ring


def _checked(log: EventLog, each: FoundAnchor, keys: KeyRing) -> CheckedAnchor:
    anchor = each.anchor
    forged = keys.flaw(anchor)
    found = check_anchor(log, anchor) if forged is None else (anchor.seq, forged)
    position, problem = found or (None, None)
    kind, name = keys.means_of(anchor)
    return CheckedAnchor(
        each.place, anchor.seq, anchor.at, kind, name, anchor.by, found is None, position, problem
    )


def _keep_on(keeper: AnchorKeeper) -> None:
    """Keeps anchors until a signal asks to stop."""
    bell = Bell()
    with on_asking(bell.ring):
        if is_terminal():
            note("keeping anchors; Ctrl-C stops")
        keeper.start()
        bell.wait(None)
        keeper.stop()
