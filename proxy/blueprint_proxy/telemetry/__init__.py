"""One event type per thing that happens; log lines, metrics and later the event stream are made from it.

Nothing is imported here on purpose: events.py, stream.py and metrics.py need only the standard library, and logs.py
(structlog) and exposition.py (prometheus-client) cost memory that a command such as `validate` need not pay.
"""
