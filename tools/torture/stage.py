"""The processes of one round, and what is done to them. Each that ends is replaced by another."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from random import Random

from msgspec import Struct

from tools.rough.worker import TTL_S
from tools.torture.handlers import JOURNALS
from tools.torture.roles import CLOCK, FILES, PARENT
from tools.torture.small_disk import SmallDisk

LOG = "tasks.db"
# All open the log at the same moment, which is not there yet.
ROLES = ("caller", "caller", "threads", "threads", "async", "isolated", "relay", "console")
# Those that can be held to few descriptors, or whose system calls can be made to fail.
PLAIN_ROLES = ("caller", "threads", "async")
FEW_FILES = 64
# By strace: each so many'th sync or write of a process fails.
INJECTED = (
    "inject=fdatasync:error=EIO:when=20+31",
    "inject=fdatasync:error=ENOSPC:when=25+47",
    "inject=pwrite64:error=EIO:when=100+211",
    "inject=pwrite64:error=ENOSPC:when=150+307",
)
CALLS = "trace=fdatasync,pwrite64"
# A process that is told to end has ended by then, on a busy machine; its grace is 10 seconds.
STOP_S = 60.0
SAY_S = 1.0
LOOK_S = 0.02
# What Python says behind an error, of an object that could not be made.
IGNORED = re.compile(r"^Exception ignored in:.*?^\w+Error[^\n]*", re.MULTILINE | re.DOTALL)
STALL_S = 1.5
TOO_LONG_S = 30.0
# Between two harms, at the most.
GAP_S = 0.8
# A clock is set to be so far from the right one, in microseconds; now and then it is right again.
JUMPS_US = (-30_000_000, -5_000_000, 0, 0, 1_000_000, 2_000_000)


class Actor(Struct, eq=False):
    """One process, and when it goes on if it was stopped."""

    role: str
    process: subprocess.Popen[bytes]
    errors: Path
    goes_on_s: float | None = None


class Stage:
    """The processes of a round; ``has_faults`` where disk and system calls fail."""

    def __init__(self, folder: Path, disk: SmallDisk, chance: Random, *, has_faults: bool) -> None:
        self.url = f"sqlite:///{disk.folder / LOG}"
        self.outcomes: Counter[str] = Counter()
        self.broken: list[str] = []
        self._folder = folder
        self._disk = disk
        self._chance = chance
        self._has_faults = has_faults
        self._clock: Path | None = None
        self._actors: list[Actor] = []
        self._started = 0

    def let_clocks_jump(self) -> None:
        """From now on, processes that are started have a clock that jumps."""
        self._clock = self._folder / "clock"
        self._clock.write_text("0", encoding="ascii")

    def start(self, role: str, *, plain: bool = False) -> None:
        """Starts one; unless ``plain``, perhaps with few descriptors or failing system calls."""
        environment = {**os.environ, JOURNALS: str(self._folder / "workers")}
        environment[PARENT] = str(os.getpid())
        if self._clock is not None:
            environment[CLOCK] = str(self._clock)
        command = [sys.executable, "-m", "tools.torture.roles", role, self.url, str(self._folder)]
        drawn = self._chance.random()
        if not plain and self._has_faults and role in PLAIN_ROLES:
            if drawn < 0.2:
                environment[FILES] = str(FEW_FILES)
                self.outcomes["processes with few descriptors"] += 1
            elif drawn < 0.5 and shutil.which("strace"):
                command = [*_injecting(self._chance.choice(INJECTED)), *command]
                self.outcomes["processes whose system calls fail"] += 1
        self._started += 1
        errors = self._folder / "errors" / f"{self._started}-{role}"
        with errors.open("wb") as file:
            process = subprocess.Popen(
                command, env=environment, stdout=subprocess.DEVNULL, stderr=file
            )
        self._actors.append(Actor(role, process, errors))

    def harm(self) -> None:
        """Does one thing to one of them, drawn by chance, a moment later."""
        time.sleep(self._chance.random() * GAP_S)
        self._look()
        harms: list[tuple[int, Callable[[Actor], None]]] = [
            (70, self._kill),
            (10, self._tell),
            (8, self._stall),
            (6, self._remove),
            (8 if self._clock is not None else 0, self._jump),
            (8 if self._disk.is_small and self._has_faults else 0, self._fill),
        ]
        weights, does = zip(*harms, strict=True)
        actor = self._chance.choice([each for each in self._actors if each.goes_on_s is None])
        self._chance.choices(does, weights)[0](actor)

    def stand_still(self, pid: int, until: Callable[[], bool]) -> bool:
        """SIGSTOP for one, and SIGCONT once something holds or takes too long; whether it held.

        It may be in the writer's slot, and then nothing goes on without it.
        """
        os.kill(pid, signal.SIGSTOP)
        ends_s = time.monotonic() + TOO_LONG_S
        while not (holds := until()) and time.monotonic() < ends_s:
            time.sleep(0.05)
        os.kill(pid, signal.SIGCONT)
        return holds

    def end(self, *roles: str) -> None:
        """Tells all of these roles to end, or all."""
        ending = [each for each in self._actors if not roles or each.role in roles]
        for actor in self._actors:
            # One that stands still may hold up all others.
            actor.process.send_signal(signal.SIGCONT)
            actor.goes_on_s = None
        for actor in ending:
            actor.process.terminate()
        for actor in ending:
            self._await_end(actor)

    def kill_all(self) -> None:
        """SIGKILL for all, whatever they do."""
        for actor in self._actors:
            actor.process.kill()
            actor.process.wait()
        self._actors.clear()

    def set_clocks_right(self) -> None:
        """Ends all jumps."""
        if self._clock is not None:
            self._set_clock(0)

    def has_ended(self) -> bool:
        """Whether one of them has ended by itself."""
        return any(each.process.poll() is not None for each in self._actors)

    def last_words(self) -> str:
        """What those said that have ended by themselves."""
        ended = [each for each in self._actors if each.process.poll() is not None]
        return "; ".join(_last_words(each.errors) for each in ended)

    def _kill(self, actor: Actor) -> None:
        self._actors.remove(actor)
        actor.process.kill()
        actor.process.wait()
        self.outcomes["kills"] += 1
        self.start(actor.role)

    def _tell(self, actor: Actor) -> None:
        """SIGTERM; the next one is started at once."""
        actor.process.terminate()
        self.start(actor.role)
        self._await_end(actor)
        self.outcomes["told to end"] += 1

    def _stall(self, actor: Actor) -> None:
        """SIGSTOP, for longer than its leases; the writer's slot may stand still with it."""
        actor.process.send_signal(signal.SIGSTOP)
        actor.goes_on_s = time.monotonic() + TTL_S + STALL_S
        self.outcomes["stopped beyond their leases"] += 1

    def _remove(self, _: Actor) -> None:
        """Files beside the log, which others make anew."""
        lock, bell = (Path(f"{self._disk.folder / LOG}-{end}") for end in ("lock", "bell"))
        if self._chance.random() < 0.5:
            lock.unlink(missing_ok=True)
        else:
            shutil.rmtree(bell, ignore_errors=True)
        self.outcomes["files beside the log removed"] += 1

    def _jump(self, _: Actor) -> None:
        self._set_clock(self._chance.choice(JUMPS_US))
        self.outcomes["clock jumps"] += 1

    def _fill(self, _: Actor) -> None:
        self._disk.fill()
        self.outcomes["full disks"] += 1

    def _set_clock(self, offset_us: int) -> None:
        assert self._clock is not None, "clocks jump"
        draft = self._clock.with_suffix(".new")
        draft.write_text(str(offset_us), encoding="ascii")
        draft.rename(self._clock)

    def _look(self) -> None:
        """Lets those go on that have stood still for long enough, and replaces those that ended."""
        self._let_go_on()
        for actor in self._actors.copy():
            code = actor.process.poll()
            if code is not None:
                self._note_end(actor, code)
                self.start(actor.role)

    def _let_go_on(self) -> None:
        for actor in self._actors:
            if actor.goes_on_s is not None and time.monotonic() > actor.goes_on_s:
                actor.process.send_signal(signal.SIGCONT)
                actor.goes_on_s = None

    def _await_end(self, actor: Actor) -> None:
        ends_s = time.monotonic() + STOP_S
        while (code := actor.process.poll()) is None and time.monotonic() < ends_s:
            # It may wait for one that stands still in the writer's slot.
            self._let_go_on()
            time.sleep(LOOK_S)
        if code is None:
            actor.process.send_signal(signal.SIGUSR1)
            time.sleep(SAY_S)
            actor.process.kill()
            code = actor.process.wait()
            self.broken.append(
                f"a {actor.role} did not end when it was told to: {_last_words(actor.errors)}"
            )
        self._note_end(actor, code)

    def _note_end(self, actor: Actor, code: int) -> None:
        """Forgets it. It must have ended well, or with an error of a disk that has faults."""
        self._actors.remove(actor)
        is_young = not (self._folder / "begun" / str(actor.process.pid)).exists()
        # On a busy machine strace ends by its alarm what it has not come to trace in time.
        if code and not (is_young and code in {-signal.SIGTERM, -signal.SIGALRM}):
            self.outcomes["processes that gave up"] += 1
            if not self._has_faults or not _gave_up(actor.errors):
                text = f"a {actor.role} ended with {code}: {_last_words(actor.errors)}"
                self.broken.append(text)


def _injecting(fault: str) -> list[str]:
    """Strace as a grandchild, so that what is started is the process itself."""
    return [
        "strace",
        "-D",
        "-f",
        "-qq",
        "--seccomp-bpf",
        "-o",
        "/dev/null",
        "-e",
        CALLS,
        "-e",
        fault,
    ]


def _gave_up(errors: Path) -> bool:
    """Whether a process ended since its log was away, or it had no descriptors."""
    words = _last_words(errors)
    return any(word in words for word in ("LogUnavailableError", "LogOutcomeUnknown", "Errno 24"))


def _last_words(errors: Path) -> str:
    """The last error that a process met, or else where it stands."""
    with suppress(OSError):
        text = IGNORED.sub("", errors.read_text(encoding="utf-8", errors="replace"))
        met = [line for line in text.splitlines() if "Error" in line]
        stands = text.partition("Current thread")[2].splitlines()[1:2]
        return next(iter([*met[-1:], *stands]), "nothing said").strip()[-300:]
    return "nothing said"
