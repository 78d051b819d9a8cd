"""All planted faults, by name."""

from __future__ import annotations

from tools.mutants.attempts import ATTEMPTS
from tools.mutants.changes import CHANGES
from tools.mutants.dues import DUES
from tools.mutants.flows import FLOWS
from tools.mutants.logs import LOGS
from tools.mutants.mutant import Mutant
from tools.mutants.order import ORDER

MUTANTS: dict[str, Mutant] = {
    mutant.name: mutant for mutant in (*ATTEMPTS, *ORDER, *FLOWS, *LOGS, *DUES, *CHANGES)
}
