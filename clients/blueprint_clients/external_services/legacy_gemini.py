"""The legacy SDK, google-generativeai (0.3.2 in the jobs), moved to the sidecar.

By default it speaks gRPC straight to Google, with the job's own key, and repeats a 503 for a minute. Its REST transport
takes an address with a path, so its one process-wide configuration is set: REST, the sidecar's address, a dummy key,
and for each call its deadline and run. A job that configures the SDK again, as jobs do with their key, would take it
back to gRPC: that is seen before each call and mended. The SDK is never imported from here; one that is imported later
is configured as soon as its import has ended. Its asynchronous methods have no REST transport and fail.
"""

from __future__ import annotations

import functools
import importlib.util
import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import PathFinder
from typing import TYPE_CHECKING, Any

from blueprint_clients.environment import environment
from blueprint_clients.errors import BlueprintError, ConfigurationError
from blueprint_clients.external_services.calls import CURRENT
from blueprint_clients.external_services.pointing import KEPT, fields, upstream_of, url_of
from blueprint_clients.leases import run_of_this_process
from blueprint_clients.notices import say_once
from blueprint_clients.sidecar import sidecar_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

    from blueprint_clients.sidecar import Sidecar

SDK = "google.generativeai"
METHODS = ("generate_content", "stream_generate_content", "count_tokens", "embed_content", "batch_embed_contents")

MARGIN_S = 5.0
"""The sidecar answers at the deadline; the SDK's own clock only ends a wait for one that hangs."""


class LegacySdk:
    """The one configuration of the SDK in this process. `calls` counts what has gone through it."""

    def __init__(self) -> None:
        self.calls = 0
        self._upstream: str | None = None
        self._following = False
        self._ours: object = None
        self._url: str | None = None
        self._importable: bool | None = None

    @property
    def pointed(self) -> bool:
        """Whether it is imported and set to the sidecar."""
        client = sys.modules.get(f"{SDK}.client")
        return client is not None and self._ours is not None and _configuration(client) is self._ours

    def will_be_pointed(self) -> bool:
        """Whether an import of it may still come: it is installed, and this process has not imported it."""
        if SDK in sys.modules:
            return False
        if self._importable is None:
            try:
                self._importable = importlib.util.find_spec(SDK) is not None
            except (ImportError, ValueError):
                self._importable = False
        return self._importable

    def follow(self, upstream: str | None) -> None:
        """Set it to the sidecar from now on, whenever it is imported. `upstream` names one of several of the kind."""
        self._upstream = upstream
        if not self._following:
            self._following = True
            sys.meta_path.insert(0, _AfterImport(SDK, self._imported))

    def point(self, sidecar: Sidecar) -> None:
        """Set it to the sidecar, where it is imported and is not so already. May raise SidecarUnreachable."""
        module, client = sys.modules.get(SDK), sys.modules.get(f"{SDK}.client")
        if module is None or client is None or not hasattr(module, "configure"):
            return
        if not can_be_pointed(sidecar):
            say_once("legacy", "%s stays as it is: it cannot reach the sidecar over a unix socket", SDK)
            return
        upstream = upstream_of(sidecar, "gemini", self._upstream)
        url = url_of(sidecar, upstream, with_run=False)
        if self.pointed and url == self._url:
            return
        module.configure(
            api_key=KEPT if upstream.credential else _own_key(client),
            transport="rest",
            client_options={"api_endpoint": url},
            default_metadata=_CallFields(),
        )
        generative = client.get_default_generative_client()
        for name in METHODS:
            method = getattr(generative, name, None)
            if method is not None:
                setattr(generative, name, self._through(method))
        self._ours, self._url = _configuration(client), url

    def _imported(self) -> None:
        """Point what has just been imported; an import never fails for this."""
        try:
            sidecar = sidecar_of()
            if sidecar is not None:
                self.point(sidecar)
        except (BlueprintError, ConfigurationError) as error:
            say_once("legacy", "%s stays as it is: %s", SDK, error)

    def _through(self, method: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(method)
        def call(*arguments: Any, **named: Any) -> Any:
            self.calls += 1
            left = CURRENT.get().left()
            named.setdefault("retry", None)  # the sidecar repeats: the SDK's own would multiply it
            named.setdefault("timeout", None if left is None else left + MARGIN_S)
            return method(*arguments, **named)

        return call


class _CallFields:
    """The fields of the call that is being made: asked for by the SDK each time, as it only takes a fixed sequence."""

    def __iter__(self) -> Iterator[tuple[str, str]]:
        said = fields()
        run, left = run_of_this_process(), CURRENT.get().left()
        if run is not None:
            said["x-blueprint-run"] = run
        if left is not None:
            said["x-blueprint-timeout-ms"] = str(max(1, int(left * 1000)))
        return iter(list(said.items()))


class _AfterImport(MetaPathFinder):
    """Finds one module as always, and calls back when its import has ended."""

    def __init__(self, name: str, then: Callable[[], None]) -> None:
        self._name = name
        self._then = then

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != self._name:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is None or spec.loader is None:
            return None
        execute = spec.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            execute(module)
            self._then()

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]  # of this one loader, for this one import
        return spec


def can_be_pointed(sidecar: Sidecar) -> bool:
    """Whether the data listener has an address that an SDK can use."""
    return not sidecar.addresses().http.startswith("unix:")


def _configuration(client: ModuleType) -> object:
    """Give what the SDK's last configure() left: another object after each."""
    return getattr(getattr(client, "_client_manager", None), "client_config", None)


def _own_key(client: ModuleType) -> str | None:
    """Give the key that the job has configured itself, else that of its environment."""
    configured = _configuration(client)
    options = configured.get("client_options") if isinstance(configured, dict) else None
    key = getattr(options, "api_key", None)
    return key if isinstance(key, str) and key != KEPT else environment().gemini_key


LEGACY = LegacySdk()
