"""Real processes of all kinds on one SQLite file, to which everything is done that can be.

They are killed, stopped and told to end; their disk is full or broken, their clocks jump, their
descriptors are used up, files beside the log vanish. In the end all must be done, and the history
checker judges the log and what they have written down. eventq is only called.
"""
