"""The demo's files: keys and tags of odd paths, chance, size classes, scanning."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest

from eventq.cli.demo.files import (
    DIGEST,
    DemoFile,
    chance,
    choose_broken,
    key_of,
    quoted,
    scan,
    size_class,
    specs_of,
    unquoted,
)
from eventq.cli.demo.handlers import FlakyDisk, demo_handlers


@pytest.mark.parametrize(
    "path",
    ["a\nb", "a\x1bb", "a\u202eb", "\udce9", "x" * 251, "ü" * 126, f"{DIGEST}x"],
)
def test_paths_that_are_no_keys_get_a_digest(path: str) -> None:
    """Such a key names the path all the same, and no other."""
    assert key_of("hash", path) == f"hash:{DIGEST}" + hashlib.sha256(os.fsencode(path)).hexdigest()


@pytest.mark.parametrize("path", ["a/b.py", "x" * 250, "grün", "with space", "-x", "123"])
def test_other_paths_stand_in_their_keys(path: str) -> None:
    """So a person can ask for a file by its name."""
    assert key_of("hash", path) == f"hash:{path}"


@pytest.mark.parametrize("path", ["a", "a\nb", "\udce9\udcff", "grün", "100%", "%E9", "a%25"])
def test_what_is_quoted_leads_back_to_the_path(path: str) -> None:
    """Also for what UTF-8 cannot hold, without loss."""
    text = quoted(path)

    assert unquoted(text) == path
    json.dumps(text, ensure_ascii=False).encode()


def test_plain_names_are_not_quoted() -> None:
    """Only what could be mistaken, and what tags cannot hold."""
    names = ["grün/with space.py", "100%", "latin-\udce9"]

    assert [quoted(name) for name in names] == [names[0], "100%25", "latin-%E9"]


def test_chance_is_settled_by_its_arguments() -> None:
    """The same each time, spread over 0 to 1, and different for each argument."""
    draws = [chance(1, f"file-{number}", 1) for number in range(10_000)]

    assert draws == [chance(1, f"file-{number}", 1) for number in range(10_000)]
    assert 400 < sum(draw < 0.05 for draw in draws) < 600
    assert len({chance(1, "a", 1), chance(2, "a", 1), chance(1, "b", 1), chance(1, "a", 2)}) == 4


def test_the_broken_file_is_created_first() -> None:
    """Whatever is cut off while tasks are created, it is there."""
    files = [DemoFile(f"file-{number}", 10) for number in range(50)]
    broken = choose_broken(1, files)
    _, handler = demo_handlers(FlakyDisk(1, 0.0, 0.0))
    specs = specs_of(handler, "/root", files, broken=broken)

    assert specs[0].options["key"] == f"hash:{broken.path}"
    assert [b'"broken":true' in (spec.tags_json or b"") for spec in specs] == [True] + [False] * 49
    assert len(specs) == len(files)


def test_size_classes_have_their_priorities() -> None:
    """Smaller files have higher priorities; each bound belongs to the class above it."""
    sizes = [0, 4_095, 4_096, 65_535, 65_536, 1_048_575, 1_048_576, 10**12]

    assert [size_class(size)[1] for size in sizes] == [30, 30, 20, 20, 10, 10, 0, 0]


def test_unreadable_directories_are_told(tmp_path: Path) -> None:
    """They are skipped, the rest is found."""
    (tmp_path / "a").touch()
    (tmp_path / "closed").mkdir()
    (tmp_path / "closed").chmod(0)
    files, unread = scan(str(tmp_path), without=lambda _: False, limit=None)
    (tmp_path / "closed").chmod(0o700)

    assert [file.path for file in files] == ["a"]
    # Root may read everything.
    assert unread == ([] if os.geteuid() == 0 else [str(tmp_path / "closed")])
