"""What the hosts of one simulation run, drawn by its seed: workers, followers, schedules."""

from __future__ import annotations

from collections.abc import Callable, Collection

from msgspec.structs import replace

from eventq.core.audience import EVERY_NAME, Audience
from eventq.core.commits import Event
from eventq.core.durations import SECOND_US
from eventq.core.new_task import TaskSpec
from eventq.core.options import make_policy
from eventq.core.task import Task
from eventq.core.values import Policy
from eventq.errors import Cancel, Fail, Retry, Snooze
from eventq.handlers.context import Context
from eventq.handlers.definitions import AnyDefinition, RuleDefinitions
from eventq.handlers.follow import Follow
from eventq.handlers.isolation import CodePlace, IsolatedCall, Isolation
from eventq.handlers.work import Work, work_of_worker
from eventq.runner.workload import Workload
from eventq.schedules.plans import CodedSchedule, check_rules
from eventq.schedules.rules import check_timing
from tools.simulate.chance import Chance
from tools.simulate.world import NodeDiedError, World

NAMES = ("alpha", "beta")
FEATURES = ("schedules", "followers", "rules", "isolation")
LANES = ("default", "heavy")
KINDS = ("completed", "expired", "cancelled", "created", "leased")


class Workers:
    """The functions that attempts and events are given to."""

    def __init__(self, world: World) -> None:
        self.followed: dict[str, list[int]] = {}
        """By follower, the positions that it was called for, in order."""
        self._world = world
        self._outcomes: list[Callable[[Context], object]] = [
            *[lambda _: None] * 9,
            lambda _: {"n": 1},
            self._fail,
            self._fail,
            self._retry,
            self._fatal,
            self._snooze,
            self._call_off,
            self._make_children,
            self._make_children_and_fail,
            self._take_process_along,
        ]

    def work(self, context: Context, task: Task) -> object:
        """What every attempt does, at its end."""
        if self._world.is_calm:
            return None
        if task.tags.get("rough"):
            return self._be_rough(task)
        return self._world.chance.pick(self._outcomes)(context)

    def follow(self, name: str) -> Callable[[Event], None]:
        """The function of one follower."""

        def called(event: Event) -> None:
            world = self._world
            if not world.is_calm and world.chance.one_in(12):
                world.sometimes["follower failed"] += 1
                raise ValueError("not now")
            self.followed.setdefault(name, []).append(event.seq)

        return called

    @staticmethod
    def _fail(_: Context) -> object:
        raise ValueError("no luck")

    def _retry(self, _: Context) -> object:
        raise Retry(delay=self._world.chance.pick((0, 1, 20)))

    @staticmethod
    def _fatal(_: Context) -> object:
        raise Fail("for good")

    def _snooze(self, _: Context) -> object:
        self._world.sometimes["snoozed"] += 1
        raise Snooze(self._world.chance.pick((0.5, 10)))

    @staticmethod
    def _call_off(_: Context) -> object:
        raise Cancel("pointless")

    def _make_children(self, context: Context) -> object:
        chance = self._world.chance
        for _ in range(1 + chance.below(2)):
            key = f"child-{chance.below(30)}" if chance.one_in(4) else None
            context.new({"child": context.fence}, priority=chance.below(3), key=key)
        self._world.sometimes["children asked for"] += 1
        return None

    def _be_rough(self, task: Task) -> object:
        """By turns takes its process along, and fails, so that two lapses are not in a row."""
        self._world.sometimes["rough attempt"] += 1
        if task.attempt % 2:
            raise NodeDiedError
        raise ValueError("rough luck")

    def _take_process_along(self, _: Context) -> object:
        self._world.sometimes["process taken along"] += 1
        raise NodeDiedError

    def _make_children_and_fail(self, context: Context) -> object:
        self._make_children(context)
        raise ValueError("after all")


class Workloads:
    """Draws what each host runs."""

    def __init__(self, world: World, *, without: Collection[str] = ()) -> None:
        """``without``: features that are left out."""
        self.workers = Workers(world)
        self.policy: Policy = make_policy(backoff=world.chance.pick((0.5, 3, 10)))
        self.has_schedules = world.chance.one_in(2) and "schedules" not in without
        self.has_followers = world.chance.one_in(2) and "followers" not in without
        self.has_rules = world.chance.one_in(2) and "rules" not in without
        self.are_plain = world.chance.one_in(2)
        """All hosts take what has no name, in any lane; else they join."""
        self._work: Work = work_of_worker(self.workers.work)
        if world.chance.one_in(4) and "isolation" not in without:
            bounds = Isolation(world.chance.pick((100_000, 5_000_000)), None, None)
            call = IsolatedCall("simulated", CodePlace("simulated", "work"), (), bounds)
            self._work = replace(self._work, isolated=call)
        self._schedules = _schedules(world.chance) if self.has_schedules else ()
        self._rules = _rules(world.chance) if self.has_rules else ()

    def follows(self, chance: Chance) -> list[Follow]:
        """The followers of one host."""
        if not self.has_followers:
            return []
        names = [name for name in ("alerts", "mirror") if not chance.one_in(3)]
        return [
            Follow(
                name,
                self.workers.follow(name),
                KINDS[:3] if name == "alerts" else None,
                None,
                0,
                takes_task=False,
                is_async=False,
            )
            for name in names
        ]

    def workload(self, chance: Chance, *, workers: int, takes_all: bool) -> Workload:
        """What one host takes; ``takes_all`` there is in tasks."""
        audience, slots = Audience(), {None: workers}
        if not self.are_plain:
            if takes_all:
                audience = Audience((EVERY_NAME,))
            elif chance.one_in(3):
                audience = Audience(NAMES[:1], unnamed=chance.one_in(2))
            elif chance.one_in(2):
                lanes = tuple(sorted(LANES))
                audience = Audience((EVERY_NAME,), lanes=lanes)
                slots = dict.fromkeys(lanes, 1)  # type: ignore[arg-type]
        return Workload(
            audience,
            slots,  # type: ignore[arg-type]
            {},
            self._work,
            {},
            self.policy,
            is_plain=self.are_plain,
            schedules=self._schedules,
            rules=self._rules,
        )


def _schedules(chance: Chance) -> tuple[CodedSchedule, ...]:
    found = []
    for index in range(1 + chance.below(3)):
        if chance.one_in(2):
            timing = check_timing(
                every=chance.pick(("5s", "40s", "10m")), jitter=chance.pick((None, "2s"))
            )
        else:
            cron = chance.pick(("* * * * *", "*/5 * * * *", "30 2 * * *"))
            timing = check_timing(cron=cron, zone="Europe/Berlin", jitter=None)
        overlap = chance.pick(("skip", "allow", "cancel"))
        catch_up = chance.pick(("none", "last", 3)) if overlap == "allow" else "last"
        rules = check_rules(catch_up=catch_up, within=chance.pick((None, "30s")), overlap=overlap)
        found.append(CodedSchedule(f"s{index}", timing, rules, TaskSpec({"s": index})))
    return tuple(found)


def _rules(chance: Chance) -> tuple[AnyDefinition, ...]:
    found = RuleDefinitions({})
    found.limit("l0", version=0, running=1 + chance.below(2))
    found.limit("l1", version=0, rate=chance.pick(("3/10s", "1/1s", "5/1m")))
    found.limit("l2", version=0, running=1, per="host")
    if chance.one_in(2):
        found.fair(version=0, per="tenant", weights={"big": 3})
    return found.all()


def lengths_of(world: World) -> Callable[[], int]:
    """How long attempts take, by a mix that the seed draws."""
    mix = world.chance.pick(((0.0, 0.01, 0.3), (0.05, 1.0, 4.0), (0.2, 2.0, 12.0, 40.0)))

    def drawn() -> int:
        if world.is_calm:
            return SECOND_US // 100
        return int(world.chance.pick(mix) * SECOND_US * (0.5 + world.chance.random()))

    return drawn
