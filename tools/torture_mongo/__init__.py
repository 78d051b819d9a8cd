"""A replica set under load whose primary is stopped, killed or deposed, round after round."""

from tools.torture_mongo.faults import FAULTS, Fault
from tools.torture_mongo.load import Load
from tools.torture_mongo.verdict import Verdict, torture

__all__ = ["FAULTS", "Fault", "Load", "Verdict", "torture"]
