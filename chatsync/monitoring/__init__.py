"""What machines ask of the job: the check and the metrics."""
