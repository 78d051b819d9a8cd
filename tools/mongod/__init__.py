"""A throw-away MongoDB replica set of one or three nodes, for development and for tests."""

from tools.mongod.network import Network
from tools.mongod.replica_set import Member, Missing, ReplicaSet

__all__ = ["Member", "Missing", "Network", "ReplicaSet"]
