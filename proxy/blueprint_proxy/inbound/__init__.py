"""From a job's socket to a Call and back. No policy here."""
