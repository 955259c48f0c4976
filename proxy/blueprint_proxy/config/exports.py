"""`blueprint-proxy env`: shell lines that point stock SDKs at the sidecar."""

from __future__ import annotations

from shlex import quote
from typing import TYPE_CHECKING

from blueprint_proxy.config.secret_places import DUMMY_KEY
from blueprint_proxy.config.unbuilt import GOOGLE_ADC
from blueprint_proxy.config.upstream_settings import UNSAID, UpstreamSettings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from blueprint_proxy.config.addresses import Address
    from blueprint_proxy.config.configuration import Config

_HTTP_VARIABLES = {
    "gemini": "GOOGLE_GEMINI_BASE_URL",
    "gcs": "STORAGE_EMULATOR_HOST",
    "particulate": "PARTICULATE_ENDPOINT",
}


def exports(config: Config, run: str | None = None) -> list[str]:
    """Return lines for a shell's `eval`: exports, and comments for what a unix socket cannot offer to stock SDKs.

    `run` puts `@RUN` into the addresses. ValueError for a run that cannot stand in a path.
    """
    if run is not None and (not run or not run.isascii() or not run.isprintable() or set(run) & set("/?#%@ \\")):
        raise ValueError("a run's name holds printable ASCII only, without spaces and / ? # % @ \\")
    return list(_lines(config, run))


def _lines(config: Config, run: str | None) -> Iterator[str]:
    scheme = "http" if config.tls is None else "https"
    prefix = "" if run is None else f"/@{run}"
    yield _export("BLUEPRINT_PROXY", _base(config.listen.admin, scheme))
    if run is not None:
        yield _export("BLUEPRINT_RUN", run)
    for kind, stock in _HTTP_VARIABLES.items():
        name = _upstream_of(config, kind)
        variable = "API_ENDPOINT_OVERRIDE" if kind == "gcs" and name and _needs_own(config.upstreams[name]) else stock
        if name is None:
            yield f"# {variable}: no upstream of kind {kind}"
        elif config.listen.http.unix is not None:
            yield f"# {variable}: listen.http is a unix socket, which stock SDKs cannot reach"
        else:
            yield _export(variable, f"{_base(config.listen.http, scheme)}{prefix}/{name}")
    if _upstream_of(config, "gemini") is not None and config.listen.http.unix is None:
        yield _export("GEMINI_API_KEY", DUMMY_KEY)
    yield _export("DISABLE_GCS_PYTHON_CLIENT_OTEL_BUCKET_METADATA", "true")
    yield from _geniesim(config)


def _geniesim(config: Config) -> Iterator[str]:
    name = _upstream_of(config, "geniesim")
    if name is None:
        yield "# GENIESIM_HOST, GENIESIM_PORT: no upstream of kind geniesim"
    elif not config.upstreams[name].served:
        yield "# GENIESIM_HOST, GENIESIM_PORT: kind geniesim is not served yet, the job's own address stays"
    elif config.listen.grpc.unix is not None:
        yield "# GENIESIM_HOST, GENIESIM_PORT: listen.grpc is a unix socket, which the jobs' client cannot reach"
    else:
        yield _export("GENIESIM_HOST", config.listen.grpc.local.host)
        yield _export("GENIESIM_PORT", str(config.listen.grpc.port))


def _upstream_of(config: Config, kind: str) -> str | None:
    """Return the upstream that bears the kind's name, else the first of that kind."""
    named = config.upstreams.get(kind)
    if named is not None and named.kind == kind:
        return kind
    return next((name for name, upstream in config.upstreams.items() if upstream.kind == kind), None)


def _needs_own(upstream: UpstreamSettings) -> bool:
    """Whether calls live on the job's own credential: nobody said `none`, and the proxy has none to give.

    STORAGE_EMULATOR_HOST makes google-cloud-storage anonymous, which suits an emulator and a proxy that adds the
    credential. API_ENDPOINT_OVERRIDE moves the address alone.
    """
    return upstream.credential is None and upstream.origins["credential"] in {GOOGLE_ADC, UNSAID}


def _base(address: Address, scheme: str) -> str:
    return str(address) if address.unix is not None else f"{scheme}://{address.local}"


def _export(name: str, value: str) -> str:
    return f"export {name}={quote(value)}"
