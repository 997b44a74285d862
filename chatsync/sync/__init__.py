"""The job: plan, apply, mark as synced, undo, and the records of all that."""
