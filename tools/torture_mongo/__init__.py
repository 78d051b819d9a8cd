"""A replica set under load whose primary is lost in all ways, round after round."""

from tools.torture_mongo.faults import FAULTS, PARTITIONS, Fault, rollbacks
from tools.torture_mongo.judging import Verdict, torture
from tools.torture_mongo.load import Load
from tools.torture_mongo.wire import cut_wire

__all__ = [
    "FAULTS",
    "PARTITIONS",
    "Fault",
    "Load",
    "Verdict",
    "cut_wire",
    "rollbacks",
    "torture",
]
