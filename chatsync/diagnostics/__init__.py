"""What people ask of the job: status, explain, history, doctor."""
