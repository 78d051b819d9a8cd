"""Conditions on a queue, as people write them."""
