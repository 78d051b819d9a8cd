"""A cursor that moves on a log event by event, forward and back; it appends nothing."""
