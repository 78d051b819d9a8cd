"""``verify``: check that a log is unaltered, and say what is proven by what; never change it."""

from __future__ import annotations

import os
from pathlib import Path

import click
from msgspec.structs import replace

from eventq.anchors.kept import KeptAnchors
from eventq.anchors.proofs import Proof, Proofs, Verified, prove
from eventq.anchors.stamps import read_roots
from eventq.cli.commands.anchor import (
    ANCHOR_COLUMNS,
    find_anchors,
    find_keys,
    key_env_option,
    key_files_option,
)
from eventq.cli.ending import end_with_finding
from eventq.cli.output import Listing, Pairs, note, progress, say_list, say_record, say_section
from eventq.cli.place import Place, check_there, log_time, placed
from eventq.eventlog import EventLog
from eventq.host.clock import warn_if_ahead
from eventq.verify.anchor import Anchor
from eventq.verify.base import base_at_start
from eventq.verify.indexes import IndexMode
from eventq.verify.verifier import MOST_FINDINGS, Finding, Verdict, verify

ANCHORS_ENV = "EVENTQ_ANCHORS"
# An anchor's problem that is not about a position of the log.
UNPROVEN = "signature"
TRUSTED = "what comes after is verified, trusting the snapshot there; --archive verifies all"
NO_ANCHOR = "without an anchor, a complete rewrite or a cut tail would not be seen"
NONE_PROVES = "no anchor proves anything here, so a complete rewrite would not be seen"
REMEDY = "`eventq anchor keep --to-file FILE`, kept elsewhere, ends that"

UNALTERED_OR_NOT = "consistent, but not proven unaltered"

FINDINGS = Listing(("SEQ", "seq"), ("RULE", "rule"), ("PROBLEM", "problem"))


@click.command(
    "verify",
    epilog="""\b
Examples:
  eventq verify
  eventq verify --all --json
  eventq verify --anchors /mnt/audit/shop.anchors --key-file public.pem""",
)
@click.option(
    "--all", "go_on", is_flag=True, help=f"Go on after the first finding, up to {MOST_FINDINGS:,}."
)
@click.option(
    "--anchors",
    "files",
    multiple=True,
    metavar="FILE",
    help="Check these anchors too: a file, or a folder that `anchor keep --to-git` keeps. "
    f"[default: those that {ANCHORS_ENV} names]",
)
@click.option(
    "--require-anchor",
    is_flag=True,
    help="End with 1, instead of a warning, where no anchor proves anything.",
)
@key_env_option
@key_files_option
@click.option(
    "--stamp-roots",
    metavar="FILE",
    help="Certificates in PEM that vouch for the time stamp server of the anchors.",
)
@click.option(
    "--indexes",
    type=click.Choice(["sample", "full", "none"]),
    default="sample",
    help="Of how many tasks to compare what the log's indexes say.",
)
@placed
def verify_command(
    *,
    place: Place,
    go_on: bool,
    files: tuple[str, ...],
    require_anchor: bool,
    key_env: str,
    key_files: tuple[str, ...],
    stamp_roots: str | None,
    indexes: IndexMode,
) -> None:
    """Prove that the log was not altered, and that all its events are legal.

    Recomputes every seal and checks, by separate rules, every position, move, lease, fence,
    instant and key, and the order of dispatch. Names the first wrong position, if there is one,
    and then exits with 1. Says what anchors prove, and warns where none does.
    """
    kept = find_anchors(files or _configured(), place.namespace)
    keys = find_keys(kept.found, key_env, key_files)
    roots = None if stamp_roots is None else read_roots(Path(stamp_roots), "--stamp-roots")
    held: list[Anchor] = []
    with place.open_log() as log:
        if not kept.found:
            check_there(log)
        verdict = _verdict(log, kept, held, indexes=indexes, limit=MOST_FINDINGS if go_on else 1)
        warn_if_ahead(verdict.at, log_time(log))
        proofs = prove(
            kept.found,
            held,
            keys,
            url=log.url,
            key_files=[Path(file) for file in key_files],
            roots=roots,
        )
    warning = None
    if not proofs.seq:
        warning = NONE_PROVES if kept.found else f"{NO_ANCHOR}: {REMEDY}"
    findings = _anchor_findings(kept, proofs)
    if require_anchor and warning is not None:
        findings.append(Finding(verdict.seq, "anchor", warning))
    verdict = replace(verdict, findings=(*findings, *verdict.findings))
    _say(place, Verified(verdict, proofs.proofs, proofs.seq, warning), go_on=go_on)
    if not verdict.ok:
        end_with_finding()


def _configured() -> tuple[str, ...]:
    """The files of anchors that the environment names."""
    return tuple(file for file in os.environ.get(ANCHORS_ENV, "").split(os.pathsep) if file)


def _verdict(
    log: EventLog, kept: KeptAnchors, held: list[Anchor], *, indexes: IndexMode, limit: int
) -> Verdict:
    """Verifies the log; ``held`` gets the anchors that hold."""
    base = base_at_start(log)
    if base is not None:
        note(f"the events up to {base.seq} were archived: {TRUSTED}")
    with progress("verifying") as tell:
        return verify(
            log,
            anchors=[each.anchor for each in kept.found],
            base=base,
            indexes=indexes,
            limit=limit,
            progress=tell,
            names={each.anchor: each.place for each in kept.found},
            on_held=held.append,
        )


def _anchor_findings(kept: KeptAnchors, proofs: Proofs) -> list[Finding]:
    """What is wrong with the anchors themselves, whatever the log holds."""
    forged = [
        Finding(each.anchor.seq, UNPROVEN, f"{each.place}: {problem}")
        for each, problem in proofs.flaws
    ]
    return forged + [Finding(0, "anchor", f"{where}: {problem}") for where, problem in kept.broken]


def _say(place: Place, verified: Verified, *, go_on: bool) -> None:
    verdict = verified.verdict
    if place.as_json:
        say_record(verified, _verdict_pairs, as_json=True)
    elif verdict.ok:
        say_record(verified, _verdict_pairs, as_json=False)
        say_section("What anchors prove", verified.proofs, PROOFS)
    else:
        say_list(verdict.findings, FINDINGS, as_json=False)
        if not verdict.complete:
            rest = "the rest is lost" if go_on else "see --all"
            note(f"verified {_span(verdict)} only; {rest}")
    if verified.warning is not None and verdict.ok and not place.as_json:
        note(f"warning: {verified.warning}")


def _doubt(proof: Proof) -> str:
    if proof.doubt is None:
        return "yes"
    return f"{'yes, but ' if proof.proven else 'no: '}{proof.doubt}"


def _span(verdict: Verdict) -> str:
    if verdict.seq > verdict.begin:
        return f"{verdict.begin + 1} to {verdict.seq}"
    return f"none behind {verdict.begin}"


PROOFS = Listing(
    ("FILE", "file"),
    ("ANCHORS", "anchors"),
    *ANCHOR_COLUMNS,
    ("STAMPED", "stamped_at"),
    ("PROVEN", _doubt),
    elastic=2,
)


def _verdict_pairs(verified: Verified) -> Pairs:
    verdict = verified.verdict
    pairs: Pairs = [
        ("namespace", verdict.namespace),
        ("positions", _span(verdict)),
        ("events", verdict.events),
        ("commits", verdict.commits),
        ("open tasks", verdict.open),
        ("seal", verdict.seal),
        ("anchors", verdict.anchors),
        ("proven", f"1 to {verified.proven}" if verified.proven else "nothing, by anchors"),
        ("verified", "nothing is wrong" if verified.proven else UNALTERED_OR_NOT),
    ]
    if 0 < verified.proven < verdict.seq:
        behind = f"{verified.proven + 1} to {verdict.seq}: a cut there would not be seen"
        pairs.insert(-1, ("behind anchors", behind))
    return pairs
