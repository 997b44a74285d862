"""What machines ask about the job: the check, the metrics and notifications."""
