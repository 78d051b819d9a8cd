"""Pictures of the console for the docs: ``python -m tools.pictures`` makes them anew.

A demo is run, its console is served, and chromium looks at it, light and dark.
"""
