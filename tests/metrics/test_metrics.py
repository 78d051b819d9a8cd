"""What monitoring is told: counted from the log, bounded in labels, and the files that use it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

import eventq
from eventq.contrib.prometheus import registry_of, serve
from eventq.core.commits import encode_bodies
from eventq.core.members import Follower
from eventq.core.queue_events import Followed, Ticked
from eventq.core.values import NODE
from eventq.metrics import Measures
from eventq.metrics.tally import MOST_LABELS, Tally
from tests.eventlog.commits import EMPTY, commit_after

FILES = Path(__file__).parents[2] / "docs" / "reference" / "metrics"
Samples = dict[tuple[str, tuple[str, ...]], float]


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[eventq.Queue]:
    """A queue in a file of its own."""
    with eventq.Queue(f"sqlite:///{tmp_path}/tasks.db", workers=2) as opened:
        yield opened


def fill(queue: eventq.Queue) -> None:
    """Tasks in each state, attempts with each outcome, a limit, a follower and a schedule."""

    @queue.task("pay", lane="money", max_retries=1, backoff="0s", limits=["bank"])
    def pay(*, ends: str = "well") -> None:
        if ends == "badly":
            raise ValueError

    queue.limit("bank", running=2)
    queue.follow("alerts", kinds=["expired"])(lambda event: None)  # noqa: ARG005
    queue.every("1h", pay.using(priority=1), schedule="hourly", overlap="skip")
    pay.new(ends="well")
    pay.new(ends="badly")
    queue.run(until="idle", signals=False)
    queue.schedules["hourly"].pause()
    first = queue.new({"n": 1}, name="mail")
    queue.new({"n": 2}, name="mail", delay="1h")
    queue.new({"n": 3}, name="mail", after=[first])


def samples(queue: eventq.Queue) -> Samples:
    """Each sample by its name and the values of its labels."""
    found: Samples = {}
    for family in text_string_to_metric_families(generate_latest(registry_of(queue)).decode()):
        for sample in family.samples:
            found[sample.name, tuple(sample.labels.values())] = sample.value
    return found


def test_states_and_outcomes_are_told(queue: eventq.Queue) -> None:
    """By lane and name; attempts by how they ended."""
    fill(queue)

    found = samples(queue)

    label = ("default", "mail")
    states = ("ready", "scheduled", "waiting", "leased")
    assert [found.get((f"eventq_tasks_{state}", label), 0) for state in states] == [1, 1, 1, 0]
    assert found["eventq_attempts_total", ("money", "pay", "completed")] >= 1
    assert found["eventq_attempts_total", ("money", "pay", "failed")] == 2
    assert found["eventq_tasks_expired_total", ("money", "pay")] == 1
    assert found["eventq_tasks_created_total", label] == 3
    assert found["eventq_limit_bound", ("bank",)] == 2
    assert ("eventq_follower_lag", ("alerts",)) in found
    assert found["eventq_oldest_ready_seconds", label] >= 0
    runs = found["eventq_run_seconds_count", ("money", "pay")]
    assert runs == found["eventq_wait_seconds_count", ("money", "pay")] >= 3
    assert found["eventq_log_position", ()] == queue.log.head().seq
    assert found["eventq_log_bytes", ()] > 0
    assert found["eventq_up", ()] == 1


def test_every_process_counts_the_same(queue: eventq.Queue) -> None:
    """What was counted along the way is what a new process counts from the log."""
    along = Measures(queue._node)
    along.take()
    fill(queue)

    def fixed(measures: Measures) -> list[object]:
        moving = {"oldest_ready_seconds", "snapshot_age_seconds", "log_bytes"}
        return [family for family in measures.take() if family.name not in moving]

    with eventq.Queue(queue.url) as other:
        assert fixed(along) == fixed(Measures(other._node))


def test_tasks_that_wait_for_others_are_counted_before(
    queue: eventq.Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The projection counts as they come and go: a scrape looks at none of them."""
    first = queue.new({"n": 1}, name="mail")
    queue.new_many([eventq.TaskSpec({}, name="pay", after=[first])] * 30)
    ended = queue.new({"n": 2}, name="pay", after=[first])
    queue.cancel(ended.key)
    with queue._node.reading() as projection:
        monkeypatch.setattr(projection, "tasks", {})

    assert samples(queue)["eventq_tasks_waiting", ("default", "pay")] == 30


def test_labels_are_bounded(queue: eventq.Queue) -> None:
    """The first names of the log are told apart, and all later ones are one."""
    queue.new_many([eventq.TaskSpec({}, name=f"n{number}") for number in range(MOST_LABELS + 300)])

    found = samples(queue)

    ready = {labels: n for (name, labels), n in found.items() if name == "eventq_tasks_ready"}
    assert len(ready) == MOST_LABELS + 1
    assert ready["other", "other"] == 300


def test_limits_and_followers_are_bounded_too(queue: eventq.Queue) -> None:
    """More of them than are told apart; of the followers the furthest behind are told."""
    for number in range(MOST_LABELS + 5):
        queue.set_limit(f"l{number:03}", running=1)
    with queue._node.reading() as projection:
        for number in range(MOST_LABELS + 5):
            said = Followed(f"f{number:03}", number, "n", 0)
            projection.followers[said.follower] = Follower(said, 0, 0)

    found = samples(queue)

    lags = {labels[0]: lag for (name, labels), lag in found.items() if "follower_lag" in name}
    assert len(lags) == MOST_LABELS + 1
    assert lags["other"] == queue.log.head().seq - MOST_LABELS
    assert sum(name == "eventq_limit_bound" for name, _ in found) == MOST_LABELS


def test_schedules_are_bounded_too() -> None:
    """The first ones of the log are told apart, and all later ones are one."""
    names = [f"s{number}" for number in range(MOST_LABELS + 5)] * 2
    bodies = encode_bodies([Ticked(name, 0, "missed", count=2) for name in names])
    tally = Tally(0)

    tally.apply(commit_after(EMPTY, tasks=[NODE] * len(bodies), bodies=bodies))

    assert len(tally.missed) == MOST_LABELS + 1
    assert tally.missed["other", "missed"] == 20
    assert tally.missed["s0", "missed"] == 4


def test_the_oldest_ready_task_counts_whatever_its_priority(queue: eventq.Queue) -> None:
    """One that others pass by is the one to be told of."""
    old = queue.new({"n": 1}, name="mail", priority=-5)
    queue.new({"n": 2}, name="mail", priority=5)
    queue.new({"n": 3}, name="mail")

    with queue._node.reading() as projection:
        oldest = projection.oldest_ready(queue._node.now())

    assert list(oldest.values()) == [round(old.created_at.timestamp() * 1_000_000)]


def test_a_log_that_cannot_be_read_ends_no_scrape(tmp_path: Path) -> None:
    """It is told, and all else is missing."""
    queue = eventq.Queue(f"sqlite:///{tmp_path}/tasks.db")
    queue.close()

    assert samples(queue) == {("eventq_up", ()): 0}


def test_the_server_answers(queue: eventq.Queue) -> None:
    """Several at once, until it is closed."""
    queue.new(name="mail")
    port, server = serve(queue, 0)
    answers: list[bytes] = []

    def ask() -> None:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
            answers.append(answer.read())

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    server.close()

    assert [b'eventq_tasks_ready{lane="default",name="mail"} 1.0' in each for each in answers] == [
        True
    ] * 3


def known(queue: eventq.Queue) -> set[str]:
    """All names that a queue may tell, also those that have no samples now."""
    ends = {"counter": ["_total"], "gauge": [""], "histogram": ["_bucket", "_count", "_sum"]}
    families = text_string_to_metric_families(generate_latest(registry_of(queue)).decode())
    return {f"{family.name}{end}" for family in families for end in ends[family.type]}


def test_the_files_name_what_there_is(queue: eventq.Queue) -> None:
    """Each metric of the dashboard and of the rules exists, and the page tells of each."""
    fill(queue)
    there = known(queue)
    page = (FILES.parents[1] / "how-to" / "metrics.md").read_text(encoding="utf-8")
    rules = (FILES / "alerts.yml").read_text(encoding="utf-8")
    dashboard = json.loads((FILES / "dashboard.json").read_text(encoding="utf-8"))
    asked = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]

    used = set(re.findall(r"eventq_\w+", " ".join(asked) + rules))
    assert used <= there, used - there
    shown = {*re.findall(r"`(eventq_\w+)`", page)}
    shown |= {f"eventq_tasks{end}" for end in re.findall(r"`(_\w+)`", page)}
    plain = {re.sub(r"_(bucket|count|sum)$", "", name) for name in there}
    assert plain <= shown | {"eventq_snapshot_age_seconds"}, plain - shown


def test_promtool_accepts_the_rules() -> None:
    """As Prometheus will."""
    promtool = shutil.which("promtool")
    if promtool is None:
        assert os.environ.get("CI") != "true", "install Debian's package prometheus"
        pytest.skip("there is no promtool")

    done = subprocess.run(
        [promtool, "check", "rules", str(FILES / "alerts.yml")],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr


def test_a_task_that_is_moved_is_counted_in_its_new_lane(queue: eventq.Queue) -> None:
    """Whether it waits for its instant, for others or for nothing, and what comes of it."""
    first = queue.new({}, key="ready", name="mail")
    queue.new({}, key="later", name="mail", delay="1h")
    queue.new({}, key="behind", name="mail", after=[first])
    for key in ("ready", "later", "behind"):
        queue.update(key, lane="heavy")
    states = ("ready", "scheduled", "waiting")
    found = samples(queue)
    counted = [
        [found.get((f"eventq_tasks_{state}", (lane, "mail")), 0) for state in states]
        for lane in ("default", "heavy")
    ]
    queue.task("mail")(lambda: None)
    queue.run(lanes=["heavy"], until="idle", signals=False)
    after = samples(queue)

    assert counted == [[0, 0, 0], [1, 1, 1]]
    assert found["eventq_tasks_created_total", ("default", "mail")] == 3
    assert after["eventq_attempts_total", ("heavy", "mail", "completed")] == 2
    assert ("eventq_attempts_total", ("default", "mail", "completed")) not in after
    with eventq.Queue(queue.url) as other:
        again = {key: n for key, n in samples(other).items() if key[0].startswith("eventq_tasks")}
    assert again == {key: n for key, n in after.items() if key[0].startswith("eventq_tasks")}


def test_a_task_of_the_other_label_is_counted_once_it_is_moved(queue: eventq.Queue) -> None:
    """Into a lane whose label is told apart: what it was counted as before is less by one."""
    queue.new({}, name="mail", lane="heavy")
    queue.new_many([eventq.TaskSpec({}, name=f"n{number}") for number in range(MOST_LABELS)])
    moved = queue.new({}, name="mail")
    queue.update(moved.key, lane="heavy", delay="1h")

    found = samples(queue)

    scheduled = {labels: n for (name, labels), n in found.items() if name.endswith("_scheduled")}
    assert scheduled == dict.fromkeys(scheduled, 0) | {("heavy", "mail"): 1}
