"""The job: plan, apply, mark the list as synced, undo, and the records of runs."""
