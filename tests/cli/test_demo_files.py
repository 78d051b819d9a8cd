"""The demo's files: keys and tags of odd paths, chance, size classes, scanning."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest

from eventq.cli.demo.files import (
    DIGEST,
    DemoFile,
    chance,
    choose_broken,
    key_of,
    path_of,
    scan,
    size_class,
    specs_of,
    tags_of,
)


@pytest.mark.parametrize(
    "path",
    ["a\nb", "a\x1bb", "a\u202eb", "123", "²", "\udce9", "x" * 256, "ü" * 128, f"{DIGEST}x"],
)
def test_paths_that_are_no_keys_get_a_digest(path: str) -> None:
    """Such a key names the path all the same, and no other."""
    assert key_of(path) == DIGEST + hashlib.sha256(os.fsencode(path)).hexdigest()


@pytest.mark.parametrize("path", ["a/b.py", "x" * 255, "grün", "with space", "-x"])
def test_other_paths_are_their_own_keys(path: str) -> None:
    """So a person can ask for a file by its name."""
    assert key_of(path) == path


@pytest.mark.parametrize("path", ["a", "a\nb", "\udce9\udcff", "grün"])
def test_tags_lead_back_to_the_path(path: str) -> None:
    """Also for what UTF-8 cannot hold, without loss."""
    tags = tags_of("/root", DemoFile(path, 1), broken=False)

    assert path_of(tags) == path
    json.dumps(tags, ensure_ascii=False).encode()


@pytest.mark.parametrize("tags", [{}, {"path": "a"}, {"path": 1, "root": "/"}, {"path_hex": "x"}])
def test_tags_of_others_are_told(tags: dict[str, Any]) -> None:
    """A task that is not the demo's leads to no file."""
    assert path_of(tags) is None


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
    specs = specs_of("/root", files, broken=broken)

    assert specs[0].options["key"] == broken.path
    assert [spec.tags is not None and "broken" in spec.tags for spec in specs].count(True) == 1
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
