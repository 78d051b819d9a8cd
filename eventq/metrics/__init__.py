"""What a queue counts for monitoring: from the log alone, so that every host counts the same."""

from eventq.metrics.measures import Family, Measures, Sample

__all__ = ["Family", "Measures", "Sample"]
