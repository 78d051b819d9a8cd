"""The SQLite log between processes: turns, kills and forks."""

from __future__ import annotations

import gc
import os
import signal
import threading
from contextlib import closing
from pathlib import Path
from random import Random

import apsw
import pytest

from eventq.errors import LogUnavailableError
from eventq.eventlog.sqlite import connection as sqlite_connection
from eventq.eventlog.sqlite import fork as sqlite_fork
from eventq.eventlog.sqlite import slot as sqlite_slot
from eventq.eventlog.sqlite.log import SqliteLog
from eventq.eventlog.sqlite.schema import SCHEMA_VERSION
from tests.eventlog.commits import (
    WAIT_S,
    append,
    append_each,
    append_in_slot,
    assert_tiles,
    everything,
    open_sqlite,
    writer_slot,
)
from tests.eventlog.processes import Starter, finish, line, rest, tell

# -- slots ---------------------------------------------------------------------------------------

APPEND_IN_TURNS = """
say("ready")
sys.stdin.readline()
log = open_sqlite(path)
for count in range(1, 41):
    say(append_in_slot(log, count).id)
log.close()
"""


def test_processes_lose_nothing(start: Starter, path: Path) -> None:
    """Processes that make the file together and append in turns never conflict and lose nothing."""
    processes = [start(APPEND_IN_TURNS) for _ in range(4)]
    assert [line(process) for process in processes] == ["ready"] * 4

    for process in processes:
        tell(process)

    done = [name for process in processes for name in finish(process)]
    with closing(open_sqlite(path)) as log:
        found = everything(log)
    assert len(done) == 160
    assert sorted(commit.id for commit in found) == sorted(done)
    assert_tiles(found)


HOLD_TURN = """
log = open_sqlite(path)
def hold(head):
    say("mine")
    sys.stdin.readline()
    say(log.head().seq)
log.append_next(hold)
"""


def test_turn_holds_back_other_processes(start: Starter, sqlite_log: SqliteLog, path: Path) -> None:
    """While one process has its turn, what it has read stays the head."""
    holder = start(HOLD_TURN)
    assert line(holder) == "mine"
    began = threading.Event()

    def contend() -> None:
        began.set()
        append_in_slot(sqlite_log)

    thread = threading.Thread(target=contend)
    thread.start()
    assert began.wait(WAIT_S)
    wait_for_flock(path, waiting=1)

    tell(holder)

    assert finish(holder) == ["0"]
    thread.join(WAIT_S)
    assert sqlite_log.head().seq == 1


def wait_for_flock(path: Path, *, waiting: int) -> None:
    """Returns when so many wait for the turn, as the kernel tells."""
    inode = path.with_name("log.db-lock").stat().st_ino
    for _ in range(200_000):
        locks = Path("/proc/locks").read_text(encoding="ascii").splitlines()
        if sum("->" in row and f":{inode} " in row for row in locks) >= waiting:
            return
        os.sched_yield()
    pytest.fail(f"there were never {waiting} waiting for the lock")


def test_turns_come_in_the_order_of_asking(sqlite_log: SqliteLog, path: Path) -> None:
    """Also threads of one log get their turns first come first served."""
    order: list[int] = []

    def contend(number: int) -> None:
        sqlite_log.append_next(lambda _: order.append(number))

    threads = [threading.Thread(target=contend, args=(number,)) for number in range(5)]
    with writer_slot(sqlite_log):
        for number, thread in enumerate(threads, 1):
            thread.start()
            wait_for_flock(path, waiting=number)

    for thread in threads:
        thread.join(WAIT_S)
    assert order == [0, 1, 2, 3, 4]


def test_killed_holder_passes_its_turn_on(start: Starter, sqlite_log: SqliteLog) -> None:
    """A process that dies in its turn blocks nobody."""
    holder = start(HOLD_TURN)
    assert line(holder) == "mine"

    holder.kill()

    append_in_slot(sqlite_log)
    assert sqlite_log.head().seq == 1


# -- kills ---------------------------------------------------------------------------------------

APPEND_FOREVER = """
log = open_sqlite(path)
while True:
    def decide(head):
        commit = commit_after(head, 1 + head.seq * 7 % 400)
        say("try", commit.id)
        return commit
    say("done", log.append_next(decide).id)
"""


def test_kill_loses_no_acknowledged_commit(start: Starter, path: Path) -> None:
    """However often appending processes are killed, every acknowledged commit is there, whole."""
    random = Random(11)
    tried: set[str] = set()
    done: set[str] = set()
    for _ in range(6):
        processes = [start(APPEND_FOREVER) for _ in range(2)]
        for _ in range(random.randrange(5, 60)):
            said = line(processes[0])
            assert said.startswith(("try ", "done ")), said + "\n".join(rest(processes[0]))
            note(said, tried, done)

        for process in processes:
            process.send_signal(signal.SIGKILL)

        for process in processes:
            for said in rest(process):
                note(said, tried, done)
    with closing(open_sqlite(path)) as log:
        found = everything(log)
    stored = {commit.id for commit in found}
    assert len(done) > 20
    assert done <= stored <= tried
    assert_tiles(found)


def note(said: str, tried: set[str], done: set[str]) -> None:
    """Keeps what a process said; a kill may have cut its last line short."""
    word, _, name = said.partition(" ")
    if len(name) == 32:
        (done if word == "done" else tried).add(name)


# -- forks ---------------------------------------------------------------------------------------

# The child goes on after the parent has closed the log: with a connection made in the ordinary way
# its second commit would go into a WAL that the parent has deleted.
FORK = """
log = open_sqlite(path)
woken = set()
watch = log.watch(lambda: woken.add(os.getpid()))
append(log)
to_child, from_parent = os.pipe()
to_parent, from_child = os.pipe()
child = os.fork()
if child == 0:
    log.after_fork()
    append(log)
    os.write(from_child, b"x")
    os.read(to_child, 1)
    append_in_slot(log)
    watch.close()
    log.close()
    os._exit(1 if os.getpid() in woken else 0)
os.read(to_parent, 1)
bell = Path(f"{path}-bell")
assert len(list(bell.iterdir())) == 1, "the parent still listens"
log.close()
os.write(from_parent, b"x")
assert os.waitpid(child, 0)[1] == 0
"""


def test_forked_child_appends(start: Starter, path: Path) -> None:
    """A child may use its parent's log, also when the parent closes it first; nothing is lost."""
    finish(start("import warnings; warnings.simplefilter('ignore')" + FORK))

    with closing(open_sqlite(path)) as log:
        found = everything(log)
    assert len(found) == 3
    assert_tiles(found)


FORK_THEN_DIE = """
log = open_sqlite(path)
append(log)
if os.fork() == 0:
    # It has copies of what its parent had open, and lives on.
    say(os.getpid())
    sys.stdin.readline()
    os._exit(0)
log.append_next(lambda _: os.kill(os.getpid(), 9))
"""


def test_child_does_not_keep_its_parents_slot(start: Starter, sqlite_log: SqliteLog) -> None:
    """When a process dies in its slot, a child that it has forked does not hold on to it."""
    parent = start(FORK_THEN_DIE)
    assert int(line(parent)) > 0

    append_in_slot(sqlite_log)

    tell(parent)
    assert sqlite_log.head().seq == 2


# Another thread has the slot while the process forks.
FORK_BESIDE_A_SLOT = """
import time
log = open_sqlite(path)
append(log)
leave, began = threading.Event(), threading.Event()
def hold(head):
    began.set()
    leave.wait(60)
holder = threading.Thread(target=log.append_next, args=(hold,))
holder.start()
began.wait(60)
threading.Timer(0.2, leave.set).start()
child = os.fork()
if child == 0:
    log.after_fork()
    append_in_slot(log)
    log.close()
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
holder.join()
append_in_slot(log)
log.close()
"""


def test_a_fork_beside_a_slot_waits_for_it(start: Starter, path: Path) -> None:
    """A fork while another thread decides in its slot leaves both processes able to append."""
    finish(start("import warnings; warnings.simplefilter('ignore')" + FORK_BESIDE_A_SLOT))

    with closing(open_sqlite(path)) as log:
        assert_tiles(everything(log))
        assert log.head().seq == 3


def slot_files(path: Path) -> int:
    """How many descriptors of the side file this process has open."""
    links = [link for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
    return sum(str(link.readlink()) == f"{path}-lock" for link in links)


def test_a_log_that_nobody_closed_leaves_no_descriptor(path: Path) -> None:
    """What the collector takes is closed, as any file is."""
    log = open_sqlite(path)
    append(log)
    held = slot_files(path)

    log.connection._slots = sqlite_slot.Slots(f"{path}-lock")
    gc.collect()

    assert (held, slot_files(path)) == (1, 0)
    log.close()


def test_a_slot_that_an_interrupt_lost_is_closed(sqlite_log: SqliteLog, path: Path) -> None:
    """A descriptor that was lent and never came back does not stay open."""
    append(sqlite_log)
    slots = sqlite_log.connection._slots

    slots.lend()
    gc.collect()

    assert slot_files(path) == 0
    append(sqlite_log)


def test_parent_goes_on_after_a_fork(sqlite_log: SqliteLog, path: Path) -> None:
    """A fork closes connections for a moment; the parent's log opens them anew by itself."""
    commits = append_each(sqlite_log, [3, 4])
    sqlite_fork.before()
    while_forking = open_files(path)
    sqlite_fork.after_in_parent()

    commits.append(append(sqlite_log))

    assert while_forking == []
    assert open_files(path) != []
    assert everything(sqlite_log) == commits


def open_files(path: Path) -> list[str]:
    """Which of the database's files this process has open."""
    names = [str(link.readlink()) for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
    return [name for name in names if name in {str(path), f"{path}-wal"}]


def test_fork_in_a_call_closes_the_log_to_the_child(
    sqlite_log: SqliteLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When a call outlasts the wait of a fork, the child gets an error and touches nothing."""
    monkeypatch.setattr(sqlite_fork, "FORK_WAIT_S", 0.01)
    append(sqlite_log)
    connection = sqlite_log.connection

    def fork_in_a_call(reader: apsw.Connection, _: int | None) -> apsw.Connection:
        connection.before_fork()
        return reader

    reader = connection.ask(fork_in_a_call)
    connection.after_fork_in_child()

    with pytest.raises(LogUnavailableError, match="was forked in the middle of a call"):
        sqlite_log.head()
    sqlite_log.close()
    assert reader.pragma("user_version") == SCHEMA_VERSION
    sqlite_connection.abandoned.pop().close()
    sqlite_connection.abandoned.pop().close()


FORK_WHILE_IDLE = """
from eventq.eventlog.sqlite import open_files
open_files.LOOK_S = 0.0
log = open_sqlite(path)
append(log)
child = os.fork()
if child == 0:
    log.after_fork()
    append(log)
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
append(log)
log.close()
"""


def test_an_idle_log_outlives_a_fork(start: Starter, path: Path) -> None:
    """The WAL that SQLite deletes as the connections are closed for a fork was not lost."""
    finish(start("import warnings; warnings.simplefilter('ignore')" + FORK_WHILE_IDLE))

    with closing(open_sqlite(path)) as log:
        assert log.head().seq == 3
