"""What is harmed: one log in each form that it can lie on a disk in, and one harm a round."""

from __future__ import annotations

import shutil
from contextlib import closing
from pathlib import Path
from random import Random

from msgspec import Struct

from eventq.archive import archive_events, delete_archived, find_end
from eventq.catalog.catalog import Catalog
from eventq.core.commits import Commit
from eventq.eventlog import EventLog, open_log
from eventq.replay.fold import read_all
from eventq.replay.points import Point, find_point
from eventq.snapshot import create, get, save
from tools.generate.factory import START_US, generate

TASKS = 60
YEAR_US = 365 * 86_400_000_000
# A third of the flips hit what a file begins with: headers, and the pages that say where all is.
HEAD_BYTES = 200
HEAD_SHARE = 1 / 3
LOG, LINES, SNAPSHOT, CATALOG, ARCHIVE = "log.db", "log.jsonl", "snapshot", "log.db.catalog", "old"
# By kind: what of its folder is harmed.
HARMED = {
    "database": LOG,
    "wal": f"{LOG}-wal",
    "snapshot": SNAPSHOT,
    "catalog": CATALOG,
    "archive": f"{ARCHIVE}/*.gz",
    "lines": LINES,
}
KINDS = tuple(HARMED)


class Harm(Struct, frozen=True):
    """What was done to which file."""

    kind: str
    file: str
    does: str
    offset: int
    mask: int

    def __str__(self) -> str:
        """In words."""
        if self.does == "flip":
            return f"{self.kind}: {self.file} has byte {self.offset} changed by {self.mask:#04x}"
        return f"{self.kind}: {self.file} ends at {self.offset}"


class Scene:
    """A log with a snapshot, a catalog and an archive, and copies of it to be harmed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.commits: list[Commit] = []
        for kind in (*KINDS, "made"):
            (folder / kind).mkdir()
        self._make_log()
        shutil.copy(folder / "database" / LOG, folder / "archive")
        self._make_wal()
        self._make_archive()
        self._make_lines()

    def harmed(self, number: int) -> tuple[Path, Harm]:
        """A copy of a kind's folder, harmed as the number has it: two flips, then a cut."""
        chance = Random(number)
        kind = KINDS[number // 3 % len(KINDS)]
        path = self._folder / f"round-{number}"
        shutil.rmtree(path, ignore_errors=True)
        shutil.copytree(self._folder / kind, path)
        target = chance.choice(sorted(path.glob(HARMED[kind])))
        data = bytearray(target.read_bytes())
        is_cut = number % 3 == 2
        at_head = not is_cut and chance.random() < HEAD_SHARE
        offset = chance.randrange(min(HEAD_BYTES, len(data)) if at_head else len(data))
        mask = 0 if is_cut else chance.choice((1 << chance.randrange(8), chance.randrange(1, 256)))
        if is_cut:
            del data[offset:]
        else:
            data[offset] ^= mask
        target.write_bytes(data)
        does = "cut" if is_cut else "flip"
        return path, Harm(kind, target.name, does, offset, mask)

    def _make_log(self) -> None:
        folder = self._folder / "database"
        with closing(open_log(f"sqlite:///{folder}/{LOG}")) as log:
            generate(log, tasks=TASKS, live=TASKS // 3, pending=TASKS // 3)
            self.commits = [commit for commit, _ in read_all(log, after=0)]
            head = log.head()
            entry = create(log, Point(head.seq, head.at), now=START_US)
            save(get(log, entry.seq), self._folder / "snapshot" / SNAPSHOT)
            for kind in ("snapshot", "catalog"):
                self._copy_open(log, kind)
            catalog = self._folder / "catalog" / CATALOG
            with closing(Catalog.open(log, catalog)) as made:
                made.catch_up()

    def _make_wal(self) -> None:
        """The same log, of which only the first half has reached the database file."""
        half = len(self.commits) // 2
        for commits in (self.commits[:half], self.commits[half:]):
            with closing(open_log(f"sqlite:///{self._folder}/made/{LOG}")) as log:
                for commit in commits:
                    log.append(commit)
                self._copy_open(log, "wal")

    def _copy_open(self, log: EventLog, kind: str) -> None:
        """Copies the file and its WAL while the log is open, and nobody writes."""
        path = Path(log.url.removeprefix("sqlite:///"))
        for name in (path.name, f"{path.name}-wal"):
            shutil.copy(path.with_name(name), self._folder / kind)

    def _make_archive(self) -> None:
        """Two segments, and the rest in the database."""
        folder = self._folder / "archive"
        with closing(open_log(f"sqlite:///{folder}/{LOG}")) as log:
            end, now = log.head().seq, START_US + YEAR_US
            for seq in (end // 3, 2 * end // 3):
                until = find_end(log, find_point(log, str(seq), now=now))
                report = archive_events(log, folder / ARCHIVE, until=until)
                delete_archived(log, folder / ARCHIVE, until=report.until, now=now)

    def _make_lines(self) -> None:
        with closing(open_log(f"file:///{self._folder}/lines/{LINES}")) as log:
            for commit in self.commits:
                log.append(commit)
