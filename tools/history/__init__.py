"""The history checker: what a log and the journals beside it must show, judged by code of its own.

Nothing here imports eventq; a test asserts it.
"""
