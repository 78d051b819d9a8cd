"""The pytest plugin: its fixture makes harnesses; nothing is loaded where no test asks for it."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent

GOOD = """
import sys
import eventq

shop = eventq.Handlers()

@shop.task("send")
def send(order: int) -> int:
    return order

def test_one(eventq_harness):
    one, two = eventq_harness([shop], max_retries=3), eventq_harness([shop], seed=2)
    task = send.new(1)
    assert two.run().completed == 1
    assert one.all_created() == []
    assert task.policy.max_retries is None

def test_given_back():
    try:
        send.new(1)
    except eventq.NotBoundError:
        return
    raise AssertionError
"""
BAD = """
def test_bad(eventq_harness):
    eventq_harness().crash_node()
"""
NONE = """
import sys

def test_nothing():
    assert not [name for name in sys.modules if name.partition(".")[0] == "eventq"]
"""


def pytest_on(folder: Path, text: str) -> subprocess.CompletedProcess[str]:
    """Runs pytest on a file of tests, with the plugin by its entry point's name."""
    (folder / "test_it.py").write_text(text)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    plugin = project["project"]["entry-points"]["pytest11"]["eventq"]
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", plugin, "-p", "no:cacheprovider"],
        cwd=folder,
        env={"PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_fixture_makes_harnesses(tmp_path: Path) -> None:
    """As many as a test wants; with the test they end."""
    done = pytest_on(tmp_path, GOOD)

    assert done.returncode == 0, done.stdout
    assert "2 passed" in done.stdout


def test_what_is_wrong_fails_the_test(tmp_path: Path) -> None:
    """At its end, like any fixture's own error."""
    done = pytest_on(tmp_path, BAD)

    assert done.returncode == 1
    assert "crash_node() has not happened" in done.stdout


def test_the_plugin_loads_nothing(tmp_path: Path) -> None:
    """A test run that does not need eventq does not pay for it."""
    done = pytest_on(tmp_path, NONE)

    assert done.returncode == 0, done.stdout


def test_the_plugin_is_installed_with_the_package() -> None:
    """It stands beside the package, and is named where the wheel is made."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())

    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert wheel["force-include"] == {"pytest_eventq.py": "pytest_eventq.py"}
    assert (ROOT / "pytest_eventq.py").exists()
