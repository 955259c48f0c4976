"""The upstreams and their kinds: what an operation is called, what may be repeated, what a failure means."""
