"""Side-by-side benchmark of Blueprint Proxy against direct calls, nginx, haproxy and Envoy: `python -m bench`."""
