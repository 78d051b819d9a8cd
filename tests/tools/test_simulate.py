"""The simulation: some seeds each time, equal runs of equal seeds, and faults that it finds."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from math import ceil
from pathlib import Path
from types import SimpleNamespace

import pytest
from msgspec.structs import replace

from eventq.catalog import plan
from eventq.core import cascade
from eventq.core.commits import decode_bodies, encode_bodies
from eventq.core.durations import SECOND_US
from eventq.core.events import Failed, Leased
from eventq.core.holders import Holder
from eventq.core.lease import Renew
from eventq.core.queue_events import Left
from eventq.core.seal import check_seal, seal_commit
from eventq.core.settle import Outcome
from eventq.core.values import LAPSED, ErrorInfo
from eventq.errors import LogCorruptError
from eventq.host import switching
from eventq.node import commit_plan, node
from eventq.replay import fold
from eventq.runner import settling
from eventq.runner.attempts import Attempts
from eventq.runner.lapses import LapseWatch
from tools.history.nodes import Nodes
from tools.history.world import World as HistoryWorld
from tools.mutants.faults import MUTANTS
from tools.mutants.mutant import plant
from tools.simulate import campaign, simulation
from tools.simulate.campaign import Campaign, play
from tools.simulate.checks import EXPIRED_US, LAPSE_SLACK, Said, check_overdue, early_lapses
from tools.simulate.once import Once
from tools.simulate.report import add_to
from tools.simulate.shrinking import rule_of, shrink, text_of, turns_of
from tools.simulate.simulation import Simulation

# Short ones, so that all of this takes seconds.
STEPS = 200
SEEDS = 50
# What fails later has something to leave out.
LEAST_TURNS = 40


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """What nodes warn of is what is done to them here."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def test_some_seeds_find_nothing_and_reach_rare_cases(tmp_path: Path) -> None:
    """What happens to real nodes happens here; a campaign that was broken off goes on."""
    resume = tmp_path / "simulated.json"
    Campaign(first=5_000, count=SEEDS // 2, steps=STEPS, resume=resume).run()
    campaign = Campaign(first=5_000, count=SEEDS, steps=STEPS, resume=resume)

    assert campaign.run() == []

    assert campaign.seeds == SEEDS
    wanted = {"crash with leases", "conflict", "reply lost", "unavailable", "graceful stop"}
    wanted |= {"a change to many, some moved on", "an undo of an undo"}
    wanted |= {"a row delivered twice", "a row rolled back", "a rule taken back"}
    assert wanted <= campaign.sometimes.keys()


@pytest.mark.parametrize("seed", [49, 587, 1632, 1694, 2809, 2815, 3225, 840_060])
def test_what_seeds_have_shown_is_mended(seed: int) -> None:
    """Faults of eventq, of the verifier and of the judges, and two that never ended."""
    assert Simulation(seed).play(1_000).findings == []


def test_a_seed_is_the_same_each_time() -> None:
    """To the last byte of its log."""
    seals = []
    for _ in range(2):
        played = Simulation(5_001)
        played.play(STEPS)
        seals.append([each.commit.seal for each in played.world.appended])

    assert len(seals[0]) > 20
    assert seals[0] == seals[1]


def test_it_leaves_nothing_behind() -> None:
    """What it sets to have all drawn by a seed is as it was: names, identities, sizes."""
    before = node._node_name, cascade.REVIVED_BYTES, plan.PORTION, switching._wishes_count
    simulated = Simulation(5_001)
    simulated._portion = 3
    simulated.play(STEPS)
    after = node._node_name, cascade.REVIVED_BYTES, plan.PORTION, switching._wishes_count

    assert after == before
    identity = commit_plan._ids.random()
    Simulation(5_001).play(STEPS)
    assert commit_plan._ids.random() != identity


def test_processes_share_what_is_true_of_a_commit() -> None:
    """A right seal and decoded bodies; a wrong seal is found by each, and so is a wrong place."""
    once, prev = Once(), b"p" * 32
    asked = {"commit_id": "a", "first": 1, "at": 5, "tasks": [0], "keys": {}}
    commit = seal_commit(**asked, prev=prev, bodies=encode_bodies([Left("n0")]))  # type: ignore[arg-type]
    wrong = replace(commit, at=6)
    with once.shared():
        for _ in range(2):
            fold.check_seal(commit, prev=prev)  # type: ignore[attr-defined]
            for each, before in ((wrong, prev), (commit, b"q" * 32)):
                with pytest.raises(LogCorruptError, match="seal"):
                    fold.check_seal(each, prev=before)  # type: ignore[attr-defined]

    assert once.decode_at(1, commit.bodies) is once.decode_at(1, commit.bodies)
    assert once.decode_at(1, list(commit.bodies)) == decode_bodies(commit.bodies) == [Left("n0")]
    assert fold.check_seal is check_seal  # type: ignore[attr-defined]


def test_a_lapse_that_comes_too_early_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A planted fault: whoever else holds leases is taken for dead at each look."""

    def look(_: LapseWatch, holders: dict[str, Holder], *, me: str, **__: object) -> object:
        return [(name, holder.seen_seq) for name, holder in holders.items() if name != me]

    monkeypatch.setattr(LapseWatch, "look", look)
    monkeypatch.setattr(simulation, "CALM_TURNS", 300)
    found = (each.rule for seed in range(9) for each in play(seed, steps=STEPS).findings)

    assert next(rule for rule in found if rule in {"lapse", "history: 13"})


def test_a_lapse_by_stamps_is_known_wherever_the_history_checker_minds_it() -> None:
    """It minds a share of a lease time; by the journals of workers, each microsecond."""
    ttl_us = 2 * SECOND_US
    least_us = ceil(ttl_us * (1 - LAPSE_SLACK))
    for passed_us in (least_us - 1, least_us, ttl_us - 1, ttl_us):
        facts, history = _lapse_after(passed_us)
        simulated = SimpleNamespace(are_clocks_right=False)
        found = early_lapses(simulated, facts)  # type: ignore[arg-type]
        excused = [each.is_by_stamps for each in found]

        assert excused == [True] * (passed_us < ttl_us)
        assert len(history) == (passed_us < least_us)


def _lapse_after(passed_us: int) -> tuple[SimpleNamespace, list[str]]:
    """A node lapses so long after its sign, judged by one that has just begun."""
    leased = Leased(attempt=1, worker="n0", ttl_us=2 * SECOND_US)
    failed = Failed(fence=2, error=ErrorInfo(LAPSED, "node n0"))
    by = [Said(0, 0, 0), Said(passed_us, 0, 0)]
    history: list[str] = []
    world = HistoryWorld(lambda _, __, text: history.append(text))
    nodes = Nodes(world, (), LAPSE_SLACK)
    world.true_at = 0
    nodes.sign("n0", leased.ttl_us)
    world.true_at = passed_us
    task = SimpleNamespace(worker="n0")
    nodes.judge_lapse(3, task, {"message": failed.error.message})  # type: ignore[arg-type]
    return SimpleNamespace(bodies=[(2, 1, leased), (3, 1, failed)], by=by), history


def test_a_lapse_that_nobody_sees_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A planted fault: what the dead have held stays with them."""
    monkeypatch.setattr(LapseWatch, "look", lambda *_, **__: [])
    monkeypatch.setattr(simulation, "CALM_TURNS", 600)
    found = (each.rule for seed in range(30) for each in play(seed, steps=STEPS).findings)

    assert "late lapse" in found


def test_what_nobody_has_expired_is_found() -> None:
    """A task that is open though its time was over when faults ended."""
    simulated = Simulation(73_000)
    simulated.play(STEPS)
    world, process = simulated.world, simulated.hosts[0].process
    assert process is not None
    assert simulated.is_drained
    assert simulated.are_clocks_right
    task = process.queue.new(max_age="1s")

    world.now_us += 2 * SECOND_US
    simulated.calm_us = world.now_us
    world.now_us += EXPIRED_US
    texts = [each.text for each in check_overdue(simulated)]

    assert texts == [f"task {task.number} is past its time"]


def test_who_looks_at_an_attempt_past_its_deadline_must_fail_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A planted fault: nobody does. A run that slept meanwhile, for seconds even, is not blamed."""
    slept = Simulation(5_098).play(300)
    monkeypatch.setattr(Attempts, "fail_late", lambda _: None)
    seeds = range(20_307, 20_320)
    found = (each.rule for seed in seeds for each in play(seed, steps=300).findings)

    assert slept.sometimes.get("done before anybody saw that it was late")
    assert slept.findings == []
    assert "deadline" in found


@pytest.mark.parametrize(
    "name, rule, seed",
    [
        ("lapse-despite-sign", "history: 13", 20_392),
        ("lapses-add-up", "verify: lapses", 20_341),
        ("orphans-kept", "lease", 20_312),
        ("late-lease-too-bold", "verify: order", 20_316),
        ("snapshot-without-instants", "snapshot", 20_327),
    ],
)
def test_what_takes_a_rare_moment_is_found(name: str, rule: str, seed: int, tmp_path: Path) -> None:
    """Planted faults, each with a seed that meets its moment."""
    plant(MUTANTS[name], tmp_path)
    command = [sys.executable, "-m", "tools.simulate", "--seed", str(seed), "--steps", "300"]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}

    played = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )

    assert any(line.startswith(f"{rule} at ") for line in played.stdout.splitlines())
    assert Simulation(seed).play(300).findings == []


def test_what_callers_and_workers_wrote_down_is_held_against_the_log(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A planted fault: the log gets another outcome than the worker had."""
    batch = settling._batch

    def wrong(outcomes: list[Outcome]) -> settling.Batch:
        lies = [replace(each, kind="completed", error=None) for each in outcomes]
        return batch(lies)

    monkeypatch.setattr(settling, "_batch", wrong)
    found = [each for seed in range(9) for each in play(seed, steps=STEPS).findings]

    assert [each for each in found if each.text.endswith("completed, but failed")]


def test_a_long_campaign_must_reach_what_is_rare(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says what was not reached often enough, on the page of figures, too."""
    page = tmp_path / "reliability.md"
    page.write_text("# Figures\n\n- None yet.\n")
    played = Campaign(first=5_000, count=2, steps=STEPS)
    played.run()
    was_long = played.is_long
    add_to(page, played, jobs=0)
    monkeypatch.setattr(campaign, "LONG_STEPS", 2 * STEPS)
    add_to(page, played, jobs=0)

    assert (was_long, played.is_long) == (False, True)
    assert "a lapse frees a limit" in played.short()
    first, second = (" ".join(item.split()) for item in page.read_text().split("\n- ")[-2:])
    assert "2 seeds, 400 steps" in first
    assert second.startswith(first.rstrip("."))
    assert "Reached less than a hundred times: " in second


def test_a_failing_seed_shrinks(monkeypatch: pytest.MonkeyPatch) -> None:
    """To fewer steps that fail alike, told so that they can be played again."""
    monkeypatch.setattr(Renew, "decide", lambda *_: 1 / 0)
    said: list[str] = []
    played = (play(seed, steps=100) for seed in range(20))
    seed = next(each.seed for each in played if each.findings and each.turns > LEAST_TURNS)

    skipped = shrink(seed, 100, said.append)

    assert len(skipped) > 20
    options = dict(zip(*[iter(said[-1].split()[3:])] * 2, strict=True))
    assert options["--skip"] == text_of(skipped)
    found = rule_of(
        seed,
        100,
        int(options["--turns"]),
        without=options["--without"].split(","),
        skipped=turns_of(options["--skip"]),
    )
    assert found == "broke"
