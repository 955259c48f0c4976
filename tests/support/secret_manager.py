"""A small server of the real Secret Manager API: AccessSecretVersion over gRPC, with faults.

It runs on a thread of its own; every method here may be called from the test's. `latest` is what the service says it
is, which may lag behind what was added, as the real one's does.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

import google_crc32c
import grpc
from google.cloud.secretmanager_v1.types import AccessSecretVersionRequest, AccessSecretVersionResponse

from support.proxy import free_port

if TYPE_CHECKING:
    from types import TracebackType

PROJECT = "a-project"
SERVICE = "google.cloud.secretmanager.v1.SecretManagerService"


@dataclass
class _Secret:
    versions: list[bytes] = field(default_factory=list)
    disabled: set[int] = field(default_factory=set)
    latest: int = 0


class SecretManagerStandIn:
    """`with SecretManagerStandIn({"gemini-api-key": "k"}) as server:` -- `server.config` is for the proxy's file."""

    def __init__(self, secrets: dict[str, str | bytes] | None = None, *, port: int = 0) -> None:
        self.port = port or free_port()
        self.asked: list[str] = []
        self.unavailable = 0  # requests that are still to be answered UNAVAILABLE
        self.denied: set[str] = set()
        self.damaged = 0  # answers that are still to go out with a wrong checksum
        self.unchecked = False  # answers go out without one
        self._going_on = threading.Event()
        self._going_on.set()
        self._changed = threading.Condition()
        self._secrets: dict[str, _Secret] = {}
        self._server: grpc.Server | None = None
        for name, value in (secrets or {}).items():
            self.add(name, value)

    # what it holds

    def add(self, name: str, value: str | bytes, *, seen: bool = True) -> int:
        """A new version; its number. With `seen` false `latest` stays where it was."""
        secret = self._secrets.setdefault(name, _Secret())
        secret.versions.append(value if isinstance(value, bytes) else value.encode())
        if seen:
            secret.latest = len(secret.versions)
        return len(secret.versions)

    def catch_up(self, name: str) -> None:
        """`latest` is what was added last."""
        self._secrets[name].latest = len(self._secrets[name].versions)

    def disable(self, name: str, version: int) -> None:
        self._secrets[name].disabled.add(version)

    # how it behaves

    def hang(self) -> None:
        """Answer nothing until `go_on`."""
        self._going_on.clear()

    def go_on(self) -> None:
        self._going_on.set()

    def start(self) -> None:
        """Serve; also again, at the same address, after `stop`."""
        handler = grpc.unary_unary_rpc_method_handler(
            self._access,
            request_deserializer=AccessSecretVersionRequest.deserialize,
            response_serializer=AccessSecretVersionResponse.serialize,
        )
        server = grpc.server(ThreadPoolExecutor(16), options=(("grpc.so_reuseport", 0),))
        server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(SERVICE, {"AccessSecretVersion": handler}),)
        )
        assert server.add_insecure_port(f"127.0.0.1:{self.port}") == self.port
        server.start()
        self._server = server

    def stop(self) -> None:
        """Down: connections are refused."""
        self._going_on.set()
        server, self._server = self._server, None
        if server is not None:
            server.stop(None).wait()

    def wait_for_requests(self, count: int, limit: float = 20.0) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.asked) >= count, limit), f"asked only {self.asked}"

    @property
    def endpoint(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def config(self) -> dict[str, object]:
        """The section `secret_manager` of a configuration."""
        return {"project": PROJECT, "endpoint": self.endpoint, "insecure": True}

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def _access(
        self, request: AccessSecretVersionRequest, context: grpc.ServicerContext
    ) -> AccessSecretVersionResponse:
        with self._changed:
            self.asked.append(request.name)
            self._changed.notify_all()
        self._going_on.wait(60)
        if self.unavailable > 0:
            self.unavailable -= 1
            context.abort(grpc.StatusCode.UNAVAILABLE, "the service is overloaded")
        _, project, _, name, _, asked = request.name.split("/")
        secret = self._secrets.get(name)
        if name in self.denied:
            context.abort(grpc.StatusCode.PERMISSION_DENIED, f"Permission denied for {request.name}")
        if project != PROJECT or secret is None:
            context.abort(grpc.StatusCode.NOT_FOUND, f"Secret [{request.name}] not found or has no versions")
        assert secret is not None
        number = secret.latest if asked == "latest" else int(asked)
        if not 1 <= number <= len(secret.versions):
            context.abort(grpc.StatusCode.NOT_FOUND, f"Secret Version [{request.name}] not found")
        if number in secret.disabled:
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, f"Secret Version [{request.name}] is in DISABLED state")
        data = secret.versions[number - 1]
        payload: dict[str, object] = {"data": data}
        if not self.unchecked:
            payload["data_crc32c"] = google_crc32c.value(data) ^ (1 if self.damaged > 0 else 0)
            self.damaged -= 1 if self.damaged > 0 else 0
        resource = f"projects/123456789/secrets/{name}/versions/{number}"
        return AccessSecretVersionResponse(name=resource, payload=payload)
