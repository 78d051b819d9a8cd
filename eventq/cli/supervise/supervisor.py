"""Several ``eventq run`` processes: started, started again when one dies, stopped together.

The supervisor never opens the log. All that happens comes through one queue, to one thread.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from queue import Empty, SimpleQueue

import msgspec
from msgspec import Struct

from eventq.cli.output import note
from eventq.cli.supervise.lifeline import FORCE, READY, STOP, tell, words
from eventq.host.bell import SLICE_S
from eventq.runner.runner import RunReport

# The pause before a restart doubles, from the first to the longest, with each short life.
FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 30.0
LONG_LIFE_S = 30.0
# A dead child's last words have arrived by then, unless its own children keep the socket open.
LAST_WORDS_S = 1.0
STOPPING = "stopping when what runs is done; again to give it back"
# At this many signals, children that do not even give back their tasks are killed.
KILLING_COUNT = 3
# How a child ends that was asked to: normally or, while still importing, by the signal.
ENDED_BY_SIGNAL = frozenset({0, -signal.SIGINT, -signal.SIGTERM, 128 + signal.SIGINT})


class End(Struct, frozen=True):
    """How a supervised run ended."""

    report: RunReport
    restarts: int
    exit_code: int


class Child:
    """One running process."""

    def __init__(self, command: list[str], environment: dict[str, str], *more: str) -> None:
        self.line, theirs = socket.socketpair()
        self.started_s = time.monotonic()
        try:
            self.process = subprocess.Popen(  # noqa: S603 - our own command
                [*command[:-2], *more, "--supervised-by", str(theirs.fileno()), *command[-2:]],
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
            )
        finally:
            theirs.close()


class Slot(Struct):
    """One child and its replacements."""

    number: int
    child: Child | None = None
    due_s: float | None = None
    """When to start the next child."""
    short_lives: int = 0


class Supervisor:
    """Keeps ``count`` children running until asked to stop, or until all have found nothing to do.

    The others start once the first child is ready, so an error that all share is printed once.
    """

    def __init__(
        self,
        command: list[str],
        environment: dict[str, str],
        *,
        count: int,
        until_idle: bool,
        health: str | None = None,
        once: Sequence[str] = (),
    ) -> None:
        """``health``: of each child the file, with its number behind a dot.

        ``once``: words of the command that only the first child is given.
        """
        self._command = command
        self._environment = environment
        self._until_idle = until_idle
        self._health = health
        self._once = list(once)
        self._slots = [Slot(number) for number in range(1, count + 1)]
        # Words are (slot, child, word), the end of a child (slot, child, None), a signal None.
        self._inbox: SimpleQueue[tuple[Slot, Child, bytes | None] | None] = SimpleQueue()
        self._was_ready = False
        self._signal_count = 0
        self._report = RunReport()
        self._restarts = 0
        self._exit_code = 0

    def asked(self) -> None:
        """A signal came: the first asks the children, the second forces, the third kills."""
        # SimpleQueue.put is made to be called even by a signal handler.
        self._inbox.put(None)

    def run(self) -> End:
        """Works until all children have ended."""
        self._slots[0].due_s = time.monotonic()
        try:
            while self._start_due():
                try:
                    message = self._inbox.get(timeout=self._pause_s())
                except Empty:
                    continue
                if message is None:
                    self._pass_signal_on()
                else:
                    self._take(*message)
        finally:
            self._abandon()
        return End(self._report, self._restarts, self._exit_code)

    def _start_due(self) -> bool:
        """Starts the children that are due; returns whether any runs or is still to start."""
        now_s = time.monotonic()
        for slot in self._slots:
            if slot.due_s is not None and slot.due_s <= now_s:
                slot.due_s = None
                path = self._health
                more = [] if path is None else ["--health", f"{path}.{slot.number}"]
                more += self._once if slot.number == 1 else []
                slot.child = Child(self._command, self._environment, *more)
                threading.Thread(target=self._listen, args=(slot, slot.child), daemon=True).start()
        return any(slot.child is not None or slot.due_s is not None for slot in self._slots)

    def _pause_s(self) -> float:
        """Seconds until the next start; never long, see SLICE_S about signals."""
        dues = [slot.due_s for slot in self._slots if slot.due_s is not None]
        return min(SLICE_S, max(0.0, min(dues) - time.monotonic())) if dues else SLICE_S

    def _listen(self, slot: Slot, child: Child) -> None:
        """Passes on a child's words, then its end; one thread for each child."""

        def hear() -> None:
            for word in words(child.line):
                self._inbox.put((slot, child, word))

        hearing = threading.Thread(target=hear, daemon=True)
        hearing.start()
        child.process.wait()
        hearing.join(LAST_WORDS_S)
        self._inbox.put((slot, child, None))

    def _take(self, slot: Slot, child: Child, word: bytes | None) -> None:
        if word is None:
            self._bury(slot, child)
        elif word != READY:
            self._report = self._report.plus(msgspec.json.decode(word, type=RunReport))
        elif not self._was_ready:
            self._was_ready = True
            if not self._signal_count:
                for other in self._slots[1:]:
                    other.due_s = time.monotonic()

    def _bury(self, slot: Slot, child: Child) -> None:
        """Handles the end of a child: its slot ends, or gets another child."""
        slot.child = None
        child.line.close()
        code = child.process.returncode
        if self._signal_count:
            if code not in ENDED_BY_SIGNAL:
                self._exit_code = 1
            return
        if not self._was_ready:
            # It has printed why; the others would print the same.
            self._exit_code = code if code > 0 else 1
            return
        if self._until_idle and code == 0:
            return
        lived_s = time.monotonic() - child.started_s
        slot.short_lives = 0 if lived_s >= LONG_LIFE_S else slot.short_lives + 1
        pause = pause_s(slot.short_lives)
        slot.due_s = time.monotonic() + pause
        self._restarts += 1
        ended = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        note(
            f"process {slot.number} (pid {child.process.pid}) {ended}; "
            f"starting it again in {pause:g} s"
        )

    def _pass_signal_on(self) -> None:
        self._signal_count += 1
        if self._signal_count == 1:
            note(STOPPING)
        for slot in self._slots:
            slot.due_s = None
            if slot.child is None:
                continue
            if self._signal_count >= KILLING_COUNT:
                slot.child.process.kill()
            else:
                tell(slot.child.line, STOP if self._signal_count == 1 else FORCE)

    def _abandon(self) -> None:
        """Closes all sockets, whatever ended us: children without one end by themselves."""
        for slot in self._slots:
            if slot.child is not None:
                slot.child.line.close()


def child_command(target: str, **options: str | int | tuple[str, ...] | None) -> list[str]:
    """The command line of a child; its last two words are ``--`` and the target."""
    command = [sys.executable, "-m", "eventq", "run"]
    for name, value in options.items():
        option = f"--{name.replace('_', '-')}"
        if isinstance(value, tuple):
            for each in value:
                command += [option, each]
        elif value is True:
            command.append(option)
        elif value not in {None, False}:
            command += [option, str(value)]
    return [*command, "--", target]


def pause_s(short_lives: int) -> float:
    """Seconds before the next start, by the number of short lives in a row.

    >>> [pause_s(count) for count in (0, 1, 2, 3, 100)]
    [0.5, 0.5, 1.0, 2.0, 30.0]
    """
    return min(LONGEST_PAUSE_S, FIRST_PAUSE_S * float(2 ** min(max(0, short_lives - 1), 20)))
