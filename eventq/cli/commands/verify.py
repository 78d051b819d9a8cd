"""``verify`` and ``anchor``: check that a log is unaltered; never change or repair it."""

from __future__ import annotations

import os
from typing import IO

import click
import msgspec
from msgspec import Struct
from msgspec.structs import replace

from eventq.cli.ending import end_with_finding, misuse
from eventq.cli.output import Listing, Pairs, note, progress, say_json, say_list, say_record
from eventq.cli.place import Place, check_there, expect_command, log_time, placed, point_of
from eventq.cli.words import point_option
from eventq.eventlog import EventLog
from eventq.host.clock import warn_if_ahead
from eventq.replay.points import END
from eventq.verify.anchor import Anchor, check_anchor, check_mac, make_anchor, parse_anchor
from eventq.verify.base import base_at_start
from eventq.verify.indexes import IndexMode
from eventq.verify.verifier import MOST_FINDINGS, Finding, Verdict, verify

KEY_ENV = "EVENTQ_ANCHOR_KEY"
# An anchor's problem that is not about a position of the log.
UNPROVEN = "hmac"
TRUSTED = "what comes behind is verified, trusting the snapshot there; --archive verifies all"

FINDINGS = Listing(("SEQ", "seq"), ("RULE", "rule"), ("PROBLEM", "problem"))
CHECKED_ANCHORS = Listing(
    ("FILE", "file"), ("SEQ", "seq"), ("RESULT", lambda result: result.problem or "holds")
)


class CheckedAnchor(Struct, frozen=True):
    """A checked anchor: where the log contradicts it and how, or None for both."""

    file: str
    seq: int
    ok: bool
    position: int | None
    problem: str | None


_key_env = click.option(
    "--key-env",
    default=KEY_ENV,
    metavar="NAME",
    help="The environment variable that holds the key.",
)


@click.command(
    "verify",
    epilog="""\b
Examples:
  eventq verify
  eventq verify --all --json
  eventq verify --anchor monday.json --anchor tuesday.json""",
)
@click.option(
    "--all", "go_on", is_flag=True, help=f"Go on after the first finding, up to {MOST_FINDINGS:,}."
)
@click.option(
    "--anchor",
    "files",
    multiple=True,
    type=click.File("rb"),
    metavar="FILE",
    help="Check this anchor too; may come several times.",
)
@_key_env
@click.option(
    "--indexes",
    type=click.Choice(["sample", "full", "none"]),
    default="sample",
    help="Of how many tasks to compare what the log's indexes say.",
)
@placed
def verify_command(
    *, place: Place, go_on: bool, files: tuple[IO[bytes], ...], key_env: str, indexes: IndexMode
) -> None:
    """Prove that the log was not altered, and that all its events are legal.

    Recomputes every seal and checks, by separate rules, every position, move, lease, fence,
    instant and key, and the order of dispatch. Names the first wrong position, if there is one,
    and then exits with 1.
    """
    anchors = [(file.name, parse_anchor(file.read(), file.name)) for file in files]
    key = _find_key(key_env, [anchor for _, anchor in anchors])
    with place.open_log() as log:
        if not anchors:
            check_there(log)
        base = base_at_start(log)
        if base is not None:
            note(f"the events up to {base.seq} were archived: {TRUSTED}")
        with progress("verifying") as tell:
            verdict = verify(
                log,
                anchors=[anchor for _, anchor in anchors],
                base=base,
                indexes=indexes,
                limit=MOST_FINDINGS if go_on else 1,
                progress=tell,
            )
        warn_if_ahead(verdict.at, log_time(log))
    forged = [
        Finding(anchor.seq, UNPROVEN, f"{name}: {problem}")
        for name, anchor in anchors
        if (problem := check_mac(anchor, key)) is not None
    ]
    verdict = replace(verdict, findings=(*forged, *verdict.findings))
    if place.as_json or verdict.ok:
        say_record(verdict, _verdict_pairs, as_json=place.as_json)
    else:
        say_list(verdict.findings, FINDINGS, as_json=False)
        if not verdict.complete:
            rest = "the rest is lost" if go_on else "see --all"
            note(f"verified {_span(verdict)} only; {rest}")
    if not verdict.ok:
        end_with_finding()


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
@_key_env
@placed
def export(*, place: Place, point: str, key_env: str) -> None:
    """Print an anchor: the position, instant and seal of the last commit up to a point.

    It is one line of JSON. With a key in the environment it has an HMAC-SHA256, so that only
    somebody with the key can have made it.
    """
    key = _key(key_env)
    with place.open_log() as log:
        check_there(log)
        found = point_of(log, point, "--at")
        anchor = make_anchor(log, found, key=key)
    if key is None:
        note(f"no {key_env} in the environment: the anchor has no hmac, so anybody could forge it")
    say_json(msgspec.structs.asdict(anchor))


@anchor_group.command("check", epilog="Example: eventq anchor check monday.json tuesday.json")
@click.argument("files", nargs=-1, required=True, type=click.File("rb"), metavar="FILE...")
@_key_env
@placed
def check(*, place: Place, files: tuple[IO[bytes], ...], key_env: str) -> None:
    """Check that the log still holds what each anchor says. Exits with 1 if not.

    It is quick, since it reads one commit for each anchor. That the seal fits all commits before
    it, verify proves.
    """
    anchors = [(file.name, parse_anchor(file.read(), file.name)) for file in files]
    key = _find_key(key_env, [anchor for _, anchor in anchors])
    with place.open_log() as log:
        results = [_checked(log, name, anchor, key) for name, anchor in anchors]
    say_list(results, CHECKED_ANCHORS, as_json=place.as_json)
    if not all(result.ok for result in results):
        end_with_finding()


def _span(verdict: Verdict) -> str:
    if verdict.seq > verdict.begin:
        return f"{verdict.begin + 1} to {verdict.seq}"
    return f"none behind {verdict.begin}"


def _verdict_pairs(verdict: Verdict) -> Pairs:
    return [
        ("namespace", verdict.namespace),
        ("positions", _span(verdict)),
        ("events", verdict.events),
        ("commits", verdict.commits),
        ("open tasks", verdict.open),
        ("seal", verdict.seal),
        ("anchors", verdict.anchors),
        ("verified", "nothing is wrong"),
    ]


def _checked(log: EventLog, name: str, anchor: Anchor, key: bytes | None) -> CheckedAnchor:
    forged = check_mac(anchor, key)
    found = check_anchor(log, anchor) if forged is None else (anchor.seq, forged)
    return CheckedAnchor(name, anchor.seq, found is None, *(found or (None, None)))


def _key(name: str) -> bytes | None:
    """The key in the environment; an empty one is none."""
    return os.environ.get(name, "").encode(errors="surrogateescape") or None


def _find_key(name: str, anchors: list[Anchor]) -> bytes | None:
    """The key, which must be there when an anchor was made with one."""
    key = _key(name)
    if key is None and any(anchor.hmac is not None for anchor in anchors):
        misuse(f"set {name} to the key with which the anchor was made")
    if key is None and anchors:
        note("the anchors have no hmac: trust them as far as the place where they were kept")
    return key
