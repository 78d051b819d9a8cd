"""``python -m tools.mongod 1`` or ``3``: a throw-away replica set until Ctrl-C."""

import sys

from tools.mongod.replica_set import main

sys.exit(main(sys.argv[1:]))
