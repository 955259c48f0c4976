"""Functions that a job runs itself and that this proxy guards: permits and outcomes, on the policies of an upstream."""
