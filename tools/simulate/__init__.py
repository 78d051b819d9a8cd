"""Many nodes over one log in virtual time: one process, one thread, and one seed that draws all.

Each node decides, folds and runs by eventq's own code: its queue, its runner's rounds, its
followers. What is simulated is what surrounds them: clocks, the log's faults, who goes on when,
how long attempts take, and processes that stall or die.
"""
