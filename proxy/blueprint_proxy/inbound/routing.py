"""From a request target to an upstream: `/NAME/rest` or `/@RUN/NAME/rest`, byte-exact."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from blueprint_proxy.errors import Reason, Refusal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from blueprint_proxy.http1.heads import RequestHead

_Upstream = TypeVar("_Upstream")
RUN = re.compile(rb"[A-Za-z0-9._~-]{1,200}")
_ABSOLUTE = re.compile(rb"(?i:https?)://([^/?]*)(.*)", re.DOTALL)
_DOTS = re.compile(rb"(?i:\.|%2e){2}")
_SEPARATORS = re.compile(rb"(?i:\\|%2f|%5c)")


class Route(NamedTuple, Generic[_Upstream]):
    """Where a request goes: `target` is what stands under the upstream's url, `prefix` what stood before it."""

    upstream: _Upstream
    target: bytes
    prefix: bytes
    run: str | None


def route(head: RequestHead, upstreams: Mapping[bytes, _Upstream], own: frozenset[bytes]) -> Route[_Upstream]:
    """The upstream that a request names, or a Refusal. `own` are the authorities (host:port) by which we are known."""
    target = head.target
    if head.method == "CONNECT":
        raise Refusal(
            Reason.BAD_REQUEST,
            "CONNECT is not for this proxy: call http://LISTEN/NAME/path",
            status=405,
            headers=((b"allow", b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"),),
        )
    if head.upgrade:
        raise Refusal(Reason.BAD_REQUEST, "Upgrade is not spoken here: send the request without it")
    if not target.startswith(b"/"):
        target = _origin_form(target, own)
    run: str | None = None
    prefix = b""
    slash = target.find(b"/", 1)
    upstream = upstreams.get(target[1:slash])
    if upstream is not None and slash > 0 and b"." not in target and b"%" not in target:
        return Route(upstream, target[slash:], target[:slash], None)  # what nearly all calls look like
    if target.startswith(b"/@"):
        named, target = _cut(target)
        if RUN.fullmatch(named[2:]) is None:
            raise Refusal(Reason.BAD_REQUEST, "the run in the path (/@RUN/...) has characters that no run has")
        run = named[2:].decode("ascii")
        prefix = named
    named, rest = _cut(target)
    upstream = upstreams.get(named[1:]) if named.startswith(b"/") else None
    if upstream is None:
        known = ", ".join(sorted(name.decode("ascii") for name in upstreams))
        raise Refusal(
            Reason.UNKNOWN_UPSTREAM,
            f"no upstream {named[1:80].decode('ascii')!r} here; the first part of the path names one of: {known}",
        )
    if not rest.startswith(b"/"):
        rest = b"/" + rest
    if _DOTS.search(rest.partition(b"?")[0]) is not None:
        _refuse_escape(rest.partition(b"?")[0])
    return Route(upstream, rest, prefix + named, run)


def _cut(target: bytes) -> tuple[bytes, bytes]:
    """The first segment with its slash, and all that follows."""
    slash, mark = target.find(b"/", 1), target.find(b"?", 1)
    end = min((at for at in (slash, mark) if at > 0), default=len(target))
    return target[:end], target[end:]


def _origin_form(target: bytes, own: frozenset[bytes]) -> bytes:
    absolute = _ABSOLUTE.fullmatch(target)
    if absolute is None:
        raise Refusal(Reason.BAD_REQUEST, "the request target is neither a path nor an http url")
    if absolute[1].lower() not in own:
        raise Refusal(
            Reason.BAD_REQUEST,
            "the request names another host: this is no forward proxy; call http://LISTEN/NAME/path",
            status=421,
        )
    path = absolute[2]
    return path if path.startswith(b"/") else b"/" + path


def _refuse_escape(path: bytes) -> None:
    """Refuses dot segments that lead above the upstream's url; others pass as they are.

    Servers differ in what they take for one: escaped dots and slashes, backslashes, parameters behind a semicolon,
    empty segments dropped first. A path passes only if it stays below under every one of these readings.
    """
    depth = 0
    for segment in path.split(b"/")[1:]:
        pieces = [piece.partition(b";")[0] for piece in _SEPARATORS.split(segment.lower().replace(b"%2e", b"."))]
        ups = pieces.count(b"..")
        depth -= ups
        if depth < 0:
            raise Refusal(Reason.BAD_REQUEST, "the path's dot segments lead out of the upstream's url")
        if not ups and any(piece not in {b"", b"."} for piece in pieces):
            depth += 1
