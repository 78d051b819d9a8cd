"""What ties eventq to other people's stacks; each part imports what it is for where it is used."""

from eventq.contrib.outbox import Outbox

__all__ = ["Outbox"]
