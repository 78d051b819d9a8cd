"""What all tests share: how hard hypothesis tries, the MongoDB servers of a run, a log, a clock."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, Phase, settings

from tests import servers
from tests.support import HookedLog, ManualClock
from tools.mongod import ReplicaSet

# The gate must give one verdict for one tree, so it draws the same examples each time.
settings.register_profile(
    "quick",
    derandomize=True,
    # Not the phase that explains: it doubles the time until a failure is shown.
    phases=[Phase.explicit, Phase.generate, Phase.shrink],
    deadline=None,
    max_examples=100,
    stateful_step_count=50,
    suppress_health_check=[HealthCheck.too_slow],
)
# For nights: other examples each time, many more of them, remembered when they fail. The failure
# prints a line that repeats it: EVENTQ_HYPOTHESIS=long python -m pytest tests/test_stateful.py
settings.register_profile(
    "long",
    settings.get_profile("quick"),
    derandomize=False,
    phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],
    print_blob=True,
    max_examples=5_000,
    stateful_step_count=150,
)
settings.load_profile(os.environ.get("EVENTQ_HYPOTHESIS", "quick"))


@pytest.fixture(scope="session")
def mongod() -> Iterator[ReplicaSet]:
    """A replica set of one node, started for the first test that wants it."""
    with servers.running() as one:
        yield one


@pytest.fixture(scope="session")
def three_mongods() -> Iterator[ReplicaSet]:
    """A replica set of three nodes; whoever harms it leaves it whole."""
    with servers.running(3) as three:
        yield three


@pytest.fixture
def log() -> HookedLog:
    """A log in memory, which several nodes may share."""
    return HookedLog()


@pytest.fixture
def clock() -> ManualClock:
    """A clock to move: the first node's, where there are several."""
    return ManualClock()
