"""The job's side of Blueprint Proxy."""

__version__ = "0.1.0"
