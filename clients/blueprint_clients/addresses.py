"""Where the sidecar serves what: `GET /v1/addresses`, read."""

from __future__ import annotations

from typing import Any, NamedTuple
from urllib.parse import urlsplit

LOOPBACK = {"localhost", "127.0.0.1", "::1"}


class UpstreamAddress(NamedTuple):
    """One service behind the sidecar; `url` is None for one that it does not serve (yet).

    `credential`: the sidecar adds one, and the job's own is dropped.
    """

    name: str
    kind: str
    url: str | None
    credential: bool
    served: bool


class Addresses(NamedTuple):
    """The data listeners: `http` is a base url or `unix:/PATH`, `grpc` is HOST:PORT, None while it is not served."""

    http: str
    grpc: str | None
    upstreams: dict[str, UpstreamAddress]

    def of_kind(self, kind: str) -> UpstreamAddress | None:
        """Find the service that bears its kind's name, else the first of that kind."""
        named = self.upstreams.get(kind)
        if named is not None and named.kind == kind:
            return named
        return next((one for one in self.upstreams.values() if one.kind == kind), None)

    def is_here(self, url: str | None) -> bool:
        """Whether a url leads to the sidecar's HTTP listener. All names of this host's loopback are one."""
        if url is None:
            return False
        if self.http.startswith("unix:") or url.startswith("unix:"):
            return url == self.http
        try:
            return _place(url) == _place(self.http)
        except ValueError:
            return False


def addresses(said: dict[str, Any]) -> Addresses:
    """Read the sidecar's JSON. KeyError or TypeError for anything that it would not say."""
    upstreams = {
        str(name): UpstreamAddress(
            str(name),
            str(one["kind"]),
            None if one["url"] is None else str(one["url"]),
            bool(one["credential"]),
            bool(one["served"]),
        )
        for name, one in said["upstreams"].items()
    }
    return Addresses(str(said["http"]), None if said["grpc"] is None else str(said["grpc"]), upstreams)


def _place(url: str) -> tuple[str, int | None]:
    parts = urlsplit(url if "://" in url else f"http://{url}")
    host = parts.hostname or ""
    return "localhost" if host in LOOPBACK else host, parts.port or (443 if parts.scheme == "https" else 80)
