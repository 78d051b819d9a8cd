"""All measures by name, and a process that takes one sample of one: ``-m tools.bench.sample``.

The eventq it measures is the one that its path of imports finds.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import msgspec
import pymongo
from msgspec import Struct

from tools.bench.bench import Bench, Skipped
from tools.bench.report import Figure

# The module in tools.bench and its function. Only the one that is asked for is loaded: an older
# checkout may lack what another one needs.
MEASURES = {
    "system_calls": "cost:system_calls",
    "frames": "cost:frames",
    "lone": "rates:lone",
    "threads": "rates:threads",
    "new_many": "rates:new_many",
    "drain": "rates:drain",
    "drain_async": "rates:drain_async",
    "handlers": "handling:handlers",
    "wake": "waiting:wake",
    "busy": "waiting:busy",
    "full": "full:full",
    "flows": "flowing:flows",
    "chains": "flowing:chains",
    "isolated": "isolating:isolated",
    "start": "starting:start",
    "follow": "following:follow",
    "lag": "lagging:lag",
    "idle": "waiting:idle",
    "replay": "folding:replaying",
    "replay_ruled": "folding:ruled",
    "memory": "folding:memory",
    "catalog": "cataloging:catalog",
    "console": "consoling:console",
    "parked": "governed:parked",
    "parked_first": "governed:first",
    "limited_drain": "governed:limited_drain",
    "tenants": "governed:tenants",
    "rate": "rating:rate",
    "bulk": "many:bulk",
    "fair_drain": "sharing:fair_drain",
    "fair_new": "sharing:fair_new",
    # On a throw-away replica set of one node.
    "mongo_lone": "served:lone",
    "mongo_drain": "served:drain",
    "mongo_nodes": "joining:nodes",
    "mongo_producers": "joining:producers",
    "mongo_wake": "waiting:wake_other",
    "mongo_follow": "following:follow",
    "mongo_idle": "waiting:idle",
    "mongo_fair_drain": "sharing:fair_drain",
    "mongo_rate": "rating:rate",
    "mongo_bulk": "many:bulk",
}


class Order(Struct, frozen=True):
    """What a sampling process is asked for; see Bench for the rest."""

    measure: str
    folder: str
    quick: bool
    servers: str | None


class Sample(Struct, frozen=True):
    """What it found, or why it measured nothing."""

    figures: list[Figure] = []
    skipped: str | None = None


def main(order_text: str) -> None:
    """Takes the sample, and leaves it beside the databases."""
    order = msgspec.json.decode(order_text, type=Order)
    folder = Path(order.folder)
    bench = Bench(folder, quick=order.quick, servers=order.servers)
    try:
        sample = Sample(list(_measure(order.measure)(bench)))
    except Skipped as reason:
        sample = Sample(skipped=str(reason))
    finally:
        if order.servers is not None:
            _drop_databases(order.servers)
    sample_path(folder).write_bytes(msgspec.json.encode(sample))


def _measure(name: str) -> Callable[[Bench], Iterable[Figure]]:
    module, function = MEASURES[name].split(":")
    found: Callable[[Bench], Iterable[Figure]] = getattr(
        importlib.import_module(f"tools.bench.{module}"), function
    )
    return found


def sample_path(folder: Path) -> Path:
    """Where the sample is left."""
    return folder / "sample.json"


def _drop_databases(servers: str) -> None:
    with pymongo.MongoClient[dict[str, Any]](servers.format("admin")) as client:
        for name in client.list_database_names():
            if name.startswith("bench"):
                client.drop_database(name)


if __name__ == "__main__":
    main(sys.argv[1])
