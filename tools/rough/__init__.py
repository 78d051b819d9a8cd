"""Real processes on one file: some are killed, one stands still, one is told to stop.

Threads of one process call for tasks of many kinds, two others work. In the end all must be done.
The history checker judges the log, and the journals of all; what no journal can show is looked at
here. eventq is only called.
"""
