"""Several ``eventq run`` processes, and a run in the background."""
