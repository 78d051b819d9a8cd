"""``flow``: the tasks of a flow as a tree, with where each stands and when it ran."""

from __future__ import annotations

import click

from eventq.audit import FlowStep, FlowView, flow_at
from eventq.cli.commands.history import at_option
from eventq.cli.output import Listing, Pairs, say_record, say_section
from eventq.cli.place import Place, placed, point_of
from eventq.cli.text import short, time_text, visible
from eventq.core.durations import brief_duration

ROLES = {"member": "", "on_failure": " (on failure)", "finally": " (finally)"}
KEY_CHARACTERS = 60


def _task(step: FlowStep) -> str:
    key = short(visible(step.task.key), KEY_CHARACTERS)
    return f"{'  ' * step.depth}{key}{ROLES[step.task.role]}"


def _took(step: FlowStep) -> str:
    return "-" if step.took_us is None else brief_duration(step.took_us)


def _after(step: FlowStep) -> str:
    made = [] if step.made_by is None else [f"made by {step.made_by}"]
    return ", ".join([*map(str, step.after), *made]) or "-"


STEPS = Listing(
    ("TASK", _task),
    ("NAME", lambda step: step.task.name),
    ("STATE", lambda step: step.task.state),
    ("STARTED AT", lambda step: time_text(step.task.started_at_us)),
    ("TOOK", _took),
    ("AFTER", _after),
)


def _pairs(flow: FlowView) -> Pairs:
    states = [str(step.task.state) for step in flow.steps]
    return [
        ("flow", flow.number),
        ("key", flow.key),
        ("tasks", len(flow.steps)),
        *((state, states.count(state)) for state in dict.fromkeys(states)),
        ("closed", flow.is_closed),
    ]


@click.command(
    "flow",
    epilog="""\b
Examples:
  eventq flow doc:42
  eventq flow 1042 --at -2h --json""",
)
@click.argument("key")
@at_option
@placed
def flow_command(*, place: Place, key: str, at: str) -> None:
    """Draw a flow as a tree: its tasks, where each stands, and when it ran.

    KEY is the flow's, or that of any of its tasks. A task stands below the last one that it comes
    after, or that made it.
    """
    with place.open_log() as log:
        flow = flow_at(log, key, point_of(log, at, "--at"))
    say_record(flow, _pairs, as_json=place.as_json)
    if not place.as_json:
        say_section("tasks", flow.steps, STEPS)
