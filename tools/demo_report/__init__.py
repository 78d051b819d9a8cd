"""The report of the demo, as the docs show it."""
