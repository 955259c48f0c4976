"""gRPC's own words: codes, statuses, metadata. Plain values, without the gRPC library and without a socket."""
