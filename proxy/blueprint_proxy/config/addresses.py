"""Where the proxy listens and where its upstreams are: addresses and urls, parsed once and compared."""

from __future__ import annotations

import ipaddress
import re
import socket
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

SCHEMES: dict[str, tuple[str, ...]] = {
    "http": ("http", "https", "unix"),
    "gcs": ("http", "https", "unix"),
    "gemini": ("http", "https", "unix"),
    "particulate": ("http", "https", "unix"),
    "grpc": ("grpc", "grpcs", "unix"),
    "geniesim": ("grpc", "grpcs", "unix"),
}
"""The url schemes of each kind."""

RPC_KINDS = frozenset({"grpc", "geniesim"})
"""Kinds that speak gRPC."""

DEFAULT_PORTS = {"http": 80, "https": 443, "grpc": 80, "grpcs": 443}
_HOST_PORT = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.%]+)\]|(?P<host>[A-Za-z0-9._-]+)):(?P<port>[0-9]{1,5})", re.ASCII)
_HOST = re.compile(r"[A-Za-z0-9._-]{1,253}", re.ASCII)
_PATH = re.compile(r"(?:/[A-Za-z0-9._~!$&'()*+,;=:@%-]*)*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Address:
    """A listener's address: `host` (no brackets) and `port`, or the path of a `unix` socket."""

    host: str
    port: int
    unix: str | None = None

    def __str__(self) -> str:
        if self.unix is not None:
            return f"unix:{self.unix}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_private(self) -> bool:
        """Whether only this host reaches it: a unix socket or a loopback address."""
        return self.unix is not None or canonical_host(self.host) == LOCAL

    @property
    def local(self) -> Address:
        """Where this host itself finds the listener: a loopback address in place of "every address"."""
        if self.unix is None and is_unspecified(self.host):
            return Address("127.0.0.1", self.port)
        return self


@dataclass(frozen=True, slots=True)
class UpstreamUrl:
    """An upstream's url in parts.

    `host` has no brackets; `base_path` is "" or begins with a slash and does not end with one, raw as configured;
    `authority` is what the Host header says; `unix` is a socket's path (then host is "localhost" and port 0).
    """

    scheme: str
    host: str
    port: int
    base_path: str
    authority: str
    unix: str | None = None

    @property
    def is_tls(self) -> bool:
        """Whether the connection is encrypted."""
        return self.scheme in {"https", "grpcs"}

    def __str__(self) -> str:
        if self.unix is not None:
            return f"unix:{self.unix}"
        return f"{self.scheme}://{self.authority}{self.base_path}"


LOCAL = "local"
"""The canonical name of every host that means this one."""


def _ip(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        pass
    if not re.fullmatch(r"[0-9A-Fa-fxX.]*[0-9][0-9A-Fa-fxX.]*", host, re.ASCII):
        return None
    try:  # resolvers also take 127.1 and 2130706433
        return ipaddress.IPv4Address(socket.inet_aton(host))
    except OSError:
        return None


def canonical_host(host: str) -> str:
    """Return the host in one spelling: LOCAL for this host's own, an address or name in lower case else."""
    name = host.lower().rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):
        return LOCAL
    address = _ip(name)
    if address is None:
        return name
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return LOCAL if address.is_loopback else str(address)


def is_unspecified(host: str) -> bool:
    """Whether the host means every address of this one (0.0.0.0, ::)."""
    address = _ip(host)
    return address is not None and address.is_unspecified


def reaches(url: UpstreamUrl, listener: Address) -> bool:
    """Whether the url is this listener, as far as names tell (a foreign name of this host is left to the Via check)."""
    if url.unix is not None or listener.unix is not None:
        return url.unix == listener.unix
    if url.port != listener.port:
        return False
    host = LOCAL if is_unspecified(url.host) else canonical_host(url.host)
    own = LOCAL if is_unspecified(listener.host) else canonical_host(listener.host)
    return host == own


def parse_address(value: object) -> Address:
    """Return an address from `HOST:PORT`, `[v6]:PORT` or `unix:/path`; ValueError else."""
    if isinstance(value, Address):
        return value
    if isinstance(value, str):
        if value.startswith("unix:"):
            return Address("", 0, _unix_path(value))
        match = _HOST_PORT.fullmatch(value)
        if match is not None and int(match["port"]) <= 65535:
            host = match["host"] or match["v6"]
            if match["v6"] is None or isinstance(_ip(host), ipaddress.IPv6Address):
                return Address(host, int(match["port"]))
    raise ValueError("must be HOST:PORT, [IPV6]:PORT or unix:/path")


def parse_url(value: object) -> UpstreamUrl:
    """Return an upstream's url; ValueError, which never repeats the url (it may hold a password), else."""
    if isinstance(value, UpstreamUrl):
        return value
    if not isinstance(value, str):
        raise ValueError("must be a url such as https://host or unix:/path")  # noqa: TRY004 - pydantic takes ValueError
    if value.startswith("unix:"):
        return UpstreamUrl("unix", "localhost", 0, "", "localhost", _unix_path(value))
    try:
        parts = urlsplit(value)
        port = parts.port
        host = parts.hostname or ""
    except ValueError:
        raise ValueError("is not a url: host or port cannot be read") from None
    mistake = _mistake_in(value, parts)
    if mistake is not None:
        raise ValueError(mistake)
    default = DEFAULT_PORTS[parts.scheme]
    authority = f"[{host}]" if ":" in host else host
    if port is not None and port != default:
        authority += f":{port}"
    return UpstreamUrl(parts.scheme, host, port or default, parts.path.rstrip("/"), authority)


def _mistake_in(value: str, parts: SplitResult) -> str | None:
    host = parts.hostname or ""
    host_is_well = isinstance(_ip(host), ipaddress.IPv6Address) if ":" in host else _HOST.fullmatch(host)
    segments = parts.path.lower().replace("%2e", ".").split("/")
    checks = (
        (parts.scheme in DEFAULT_PORTS, "must begin with http://, https://, grpc://, grpcs:// or unix:/"),
        ("@" not in parts.netloc, "must not hold a user or password: use credential"),
        (not {"?", "#"} & set(value), "must not have a query or fragment"),
        (host_is_well and "%" not in host, "has no host, or one with characters that no host has"),
        (parts.port != 0, "must not name port 0"),
        (
            _PATH.fullmatch(parts.path) and value.isprintable() and " " not in value,
            "has characters that a url must escape",
        ),
        (not {".", ".."} & set(segments), "must not have dot segments in its path"),
    )
    return next((mistake for well, mistake in checks if not well), None)


def _unix_path(value: str) -> str:
    path = value.removeprefix("unix:")
    path = f"/{path.lstrip('/')}" if path.startswith("//") else path
    if not path.startswith("/") or path.endswith("/") or "\0" in path:
        raise ValueError("must be unix:/path with an absolute path")
    if len(path.encode()) > 107:
        raise ValueError("is longer than the 107 bytes a unix socket's path may have")
    return path
