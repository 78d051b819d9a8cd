"""The catalog: an index of tasks and attempts that may be deleted; and changes to many tasks."""
