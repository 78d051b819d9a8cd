"""The power is cut at random moments of a recorded run, and the log opened again.

Only what was synced is sure to be on the disk then: of the rest any part may be there, torn and in
another order. eventq is only called.
"""

from tools.powercut.disk import Disk
from tools.powercut.playing import CUTS_A_ROUND, play
from tools.powercut.record import LEVELS, Recorder

__all__ = ["CUTS_A_ROUND", "LEVELS", "Disk", "Recorder", "play"]
