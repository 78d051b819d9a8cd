"""Many tasks through four processes, while memory, threads, files and the WAL are measured.

Tasks fail, are cancelled and archived, one process after the other is replaced, and somebody reads
the file and does not go away. eventq is only called.
"""
