"""The demo's two handlers: they read files as from a flaky disk, and never change them.

Random failures depend only on seed, handler, path and attempt, so two runs with the same seed fail
alike.
"""

from __future__ import annotations

import errno
import hashlib
import math
import os
import zlib
from collections.abc import Iterator

from msgspec import Struct

from eventq import Backoff, Context, Fail, Handlers
from eventq.cli.demo.files import FileHandler, chance, key_of, unquoted
from eventq.handlers.rules import RuleOptions

LANES = ("disk", "cpu")
# Of the errors of a disk, a file that is gone does not come back. Retries are short, to be seen.
RULES: RuleOptions = {OSError: Backoff.exponential("100ms", cap="2s"), FileNotFoundError: Fail}
MAX_RETRIES = 5
# After this many random failures a task's file is read without any, so that only one expires.
UNLUCKY_ATTEMPTS = 3
CHUNK_BYTES = 256 * 1024
COMPRESSION_LEVEL = 6


class Packed(Struct, frozen=True):
    """What compressing a file has given."""

    bytes: int
    compressed: int
    ratio: float | None


class FlakyDisk(Struct, frozen=True):
    """Where files are read from: a share of the attempts fails, and each chunk takes its time."""

    seed: int
    fail_share: float
    pace_s: float

    def read(self, ctx: Context, root: str, path: str) -> Iterator[bytes]:
        """The file's content, with progress told. Raises OSError as a disk would, and at random."""
        task = ctx.task
        unlucky = (
            task.attempt <= UNLUCKY_ATTEMPTS
            and chance(self.seed, f"{task.name} {path}", task.attempt) < self.fail_share
        )
        if unlucky or task.tags.get("broken"):
            raise OSError(errno.EIO, os.strerror(errno.EIO), path)
        with open(os.path.join(unquoted(root), unquoted(path)), "rb") as file:  # noqa: PTH118, PTH123 - odd names
            chunk_count = math.ceil(os.fstat(file.fileno()).st_size / CHUNK_BYTES)
            for _ in ctx.track(range(max(1, chunk_count)), "chunks"):
                ctx.sleep(self.pace_s)
                yield file.read(CHUNK_BYTES)


def demo_handlers(disk: FlakyDisk) -> tuple[Handlers, FileHandler]:
    """Both handlers, and the one that a file begins with: it makes the other's task."""
    handlers = Handlers()

    @handlers.task("compress", lane="cpu", max_retries=MAX_RETRIES, retry=RULES)
    def compress(ctx: Context, root: str, path: str) -> Packed:
        packer = zlib.compressobj(COMPRESSION_LEVEL)
        size_bytes = packed_bytes = 0
        for chunk in disk.read(ctx, root, path):
            size_bytes += len(chunk)
            packed_bytes += len(packer.compress(chunk))
        packed_bytes += len(packer.flush())
        ratio = round(packed_bytes / size_bytes, 4) if size_bytes else None
        return Packed(size_bytes, packed_bytes, ratio)

    @handlers.task("hash", lane="disk", max_retries=MAX_RETRIES, retry=RULES)
    def digest(ctx: Context, root: str, path: str) -> str:
        sha256 = hashlib.sha256()
        for chunk in disk.read(ctx, root, path):
            sha256.update(chunk)
        key, priority = key_of("compress", unquoted(path)), ctx.task.priority
        ctx.new(compress.using(key=key, priority=priority), root, path)
        return sha256.hexdigest()

    return handlers, digest
