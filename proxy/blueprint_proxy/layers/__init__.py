"""The layers of the pipeline: the async code that asks a policy and acts, one concern a file."""
