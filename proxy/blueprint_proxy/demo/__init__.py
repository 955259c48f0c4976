"""The demo: a small scene job on real SDKs, through the proxy, against upstreams that misbehave by script."""

from __future__ import annotations


def run(keep: bool = False) -> int:  # noqa: FBT001, FBT002 - the command line hands its own flag on
    """Show the demo and return its exit code: 0 only if the job succeeded, nothing surfaced and no key was seen.

    `keep` leaves the proxy and the stand-ins up until Ctrl-C. Needs the distribution's `demo` extra.
    """
    from blueprint_proxy.demo.show import show  # noqa: PLC0415 - the sidecar itself must not load what a demo needs

    return show(keep=keep)
