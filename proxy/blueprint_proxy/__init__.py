"""The reliability sidecar of robot-simulation jobs: it owns every call a job makes to the outside."""

__version__ = "0.1.0"
