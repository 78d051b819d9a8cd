"""Planted faults: each a small change of eventq that the checkers must find.

A fault that nothing finds shows a hole: in a checker, or in what the checked programs do.
"""
