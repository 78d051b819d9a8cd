"""Conditions on a queue, as people write them: parsed to rules, and asked of a view; never run."""
