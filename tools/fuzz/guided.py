"""One decoder under a fuzzer, in a process of its own: atheris if it is installed, or hypothesis.

Atheris goes by coverage, and keeps what it has learned in a folder. Either ends at the first find,
with its traceback and exit code 1 or more.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import sys
import time
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tools.fuzz.decoders import Decoder

GUIDE = "atheris"
# What drawn pieces of JSON, of expressions and of URLs are made of.
PIECES = [b"9" * 30, b"[", b"{", b'"', b"-1", b"null", b"\xff", b"1e999", b"\0", b"'", b"(", b"%"]
MOST_CHANGES = 4
LONGEST_BYTES = 4_096
# What nests deeper than any recursion goes: nobody draws it.
DEPTH = 3_000
NESTED = [
    begin + inner * DEPTH + end * DEPTH + (b"}" if begin else b"")
    for begin in (b"", b'{"x":', b'{"kind":"completed","x":')
    for inner, end in ((b"[", b"]"), (b'{"x":', b"}"), (b"(", b")"), (b"\x91", b""))
]


def is_guided() -> bool:
    """Whether atheris is installed."""
    return importlib.util.find_spec(GUIDE) is not None


def main(name: str, runs: int, seconds: int, corpus: str) -> None:
    """Fuzzes a decoder for so many runs, or so many seconds unless 0."""
    logging.disable(logging.CRITICAL)
    if is_guided():
        _guided(name, runs, seconds, Path(corpus))
    else:
        from tools.fuzz.decoders import DECODERS  # noqa: PLC0415 - see `_guided`

        print(f"runs: {drawn(DECODERS[name], runs, seconds)}")


def _guided(name: str, runs: int, seconds: int, corpus: Path) -> None:
    guide: Any = importlib.import_module(GUIDE)
    with guide.instrument_imports(include=["eventq"]):
        # Imported here: what was imported before would not be seen by it.
        from tools.fuzz.decoders import DECODERS  # noqa: PLC0415
    decoder = DECODERS[name]
    corpus.mkdir(parents=True, exist_ok=True)
    for data in NESTED:
        decoder.reads(data)
    for place, seed in enumerate(decoder.seeds()):
        (corpus / f"seed-{place}").write_bytes(seed)
    options = [f"-runs={runs}", f"-max_total_time={seconds}", f"-max_len={LONGEST_BYTES}"]
    words = [*options, "-print_final_stats=1", "-timeout=60", f"-artifact_prefix={corpus}-found-"]
    guide.Setup([sys.argv[0], *words, str(corpus)], decoder.reads)
    guide.Fuzz()


def drawn(decoder: Decoder, runs: int, seconds: int) -> int:
    """Draws changed seeds, and bytes from nothing, by hypothesis; returns how many.

    Before, what nests too deep is read.
    """
    from hypothesis import HealthCheck, given, seed, settings  # noqa: PLC0415 - not with atheris
    from hypothesis import strategies as st  # noqa: PLC0415

    for data in NESTED:
        decoder.reads(data)
    seeds = decoder.seeds()
    changed = st.builds(_changed, st.sampled_from(seeds), st.sampled_from(seeds), st.integers(0))
    ends_s = time.monotonic() + seconds if seconds else None
    done = 0

    # Repeatable: the same runs find the same.
    @seed(0)
    @settings(
        max_examples=runs,
        database=None,
        deadline=None,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.binary(max_size=LONGEST_BYTES) | changed | changed | changed)
    def run(data: bytes) -> None:
        nonlocal done
        if ends_s is None or time.monotonic() < ends_s:
            done += 1
            decoder.reads(data)

    run()
    return done


def _changed(data: bytes, other: bytes, number: int) -> bytes:
    """The data with a few changes, which the number draws."""
    chance, found = Random(number), bytearray(data)
    for _ in range(chance.randint(1, MOST_CHANGES)):
        place = chance.randrange(len(found) + 1)
        match chance.randrange(4):
            case 0 if found:
                found[place % len(found)] ^= 1 << chance.randrange(8)
            case 1:
                found[place:place] = chance.choice(PIECES)
            case 2:
                del found[place : place + chance.randint(1, 6)]
            case _:
                start = chance.randrange(len(other) + 1)
                found[place : place + 4] = other[start : start + chance.randrange(12)]
    return bytes(found)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
