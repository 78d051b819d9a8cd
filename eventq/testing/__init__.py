"""What tests of programs that use eventq want; nothing here is for production."""

from eventq.testing.clock import START, ManualClock
from eventq.testing.harness import Harness, harness

__all__ = ["START", "Harness", "ManualClock", "harness"]
