"""``copy``: a log from one place to another; it changes nothing at the source."""

from __future__ import annotations

from contextlib import closing

import click
import msgspec

from eventq.archive import open_archived
from eventq.archive.copy import copy_log
from eventq.cli.options import Place, check_there, misuse, placed, url_of
from eventq.cli.output import progress, say_json, say_pairs
from eventq.core.validation import check_namespace
from eventq.eventlog import open_log


@click.command(
    epilog="""\b
Examples:
  eventq copy sqlite:///tasks.db mongodb://host1,host2,host3/tasks?replicaSet=rs0
  eventq copy env:TASKS_URL file:///backup.jsonl"""
)
@click.argument("source")
@click.argument("target")
@placed
def copy(*, place: Place, source: str, target: str) -> None:
    """Copy a namespace's log from SOURCE to TARGET, both URLs.

    Either may be env:NAME, the name of an environment variable that holds the URL: a password on
    the command line is seen by everybody on the host.

    Positions and seals stay the same, and at the end both are folded and compared. A copy that
    broke off goes on where it was. A target that holds something else is refused.
    """
    source, target = url_of(source), url_of(target)
    if source == target:
        misuse("SOURCE and TARGET are one and the same log")
    namespace = check_namespace(place.found_namespace)
    opened = open_log(source, namespace=namespace, create=False)
    with closing(open_archived(opened, place.found_archive)) as before:
        check_there(before)
        with closing(open_log(target, namespace=namespace)) as after, progress("copying") as tell:
            report = copy_log(before, after, progress=tell)
    if place.as_json:
        say_json(msgspec.structs.asdict(report))
        return
    say_pairs(
        [
            ("from", before.url),
            ("to", after.url),
            ("resumed at", str(report.resumed_at)),
            ("copied", str(report.copied)),
            ("position", str(report.seq)),
            ("seal", report.seal),
            ("verified", "same positions, seals and projection"),
        ]
    )
