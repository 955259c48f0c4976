"""`python -m blueprint_proxy`."""

from blueprint_proxy.cli import main

main()
