"""``bisect``: finds the first event after which a condition holds.

Nothing here creates a database or appends an event.
"""

from __future__ import annotations

import click

from eventq.audit.bisect import NotFound, bisect
from eventq.audit.expression.parser import parse_expression
from eventq.cli.ending import end_with_finding, misuse
from eventq.cli.output import note, say, say_json, say_pairs, say_table
from eventq.cli.place import Place, placed, point_of
from eventq.cli.views.compare import COUNT_COLUMNS, found_pairs, found_rows
from eventq.cli.words import point_option
from eventq.replay.points import END


@click.command(
    "bisect",
    epilog="""\b
Examples:
  eventq bisect --expr 'refused > 0'
  eventq bisect --expr 'task("thumb:a").state == "expired"' --good -2h --bad end
  eventq bisect --expr 'ready > 1000 and leases("web1-4711-a1b2c3d4") == 0'""",
)
@click.option("--expr", "text", required=True, metavar="EXPR", help="The condition, in quotes.")
@point_option("--good", text="Where it does not hold yet.", default="0")
@point_option("--bad", text="Look at events up to here.", default=END)
@placed
def bisect_command(*, place: Place, text: str, good: str, bad: str) -> None:
    """Find the first event after which a condition holds.

    It looks at each event in between, so the first is found even if the condition comes and
    goes. Exit code 1 when it holds after none, 2 when it holds at --good already.

    A condition compares, with == < > in and or not: tasks by state (scheduled, ready, leased,
    completed, expired, cancelled, unknown, open, total), attempts, failures, refused, nodes, seq,
    at, count("KIND") of events, leases("NODE"), and a task's fields, like task("KEY").state,
    name, lane, priority, attempt, worker, last_error_type, final_reason, result, tags.NAME.
    """
    condition = parse_expression(text, "--expr")
    with place.open_log() as log:
        begin = point_of(log, good, "--good")
        end = point_of(log, bad, "--bad")
        if end.seq < begin.seq:
            misuse(f"--bad, position {end.seq}, lies before --good, position {begin.seq}")
        found = bisect(log, condition, good=begin, bad=end)
    if isinstance(found, NotFound):
        but = ", but at --bad: time alone made it hold" if found.by_time else ""
        note(f"the condition holds after none of {found.events} events{but}")
        end_with_finding()
    if place.as_json:
        say_json(found)
        return
    say_pairs(found_pairs(found))
    say()
    say_table(COUNT_COLUMNS, found_rows(found.before, found.after))
