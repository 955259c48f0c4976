"""The layers of the pipeline: the async code that asks a policy and acts. One concern a file; order is pipeline.py's."""
