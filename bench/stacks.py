"""The stacks side by side: how each is configured, started and asked for its version.

Every proxy has one thread, keep-alive on both sides, and two routes: /bench/ to the nginx that serves bodies, /sink/
to the server that reads them (bench/upstream.py). Blueprint Proxy takes the first segment off the path; the peers
pass it on, which costs them nothing, and the upstreams answer with and without it.
"""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench import install
from bench.processes import Program

if TYPE_CHECKING:
    from collections.abc import Callable

ENVOY_TYPES = "type.googleapis.com/envoy.extensions.filters"
KIB = 1024
MIB = 1024 * KIB
SMALL_BYTES = KIB
FILES = {"256m": 256 * MIB, "1g": 1024 * MIB}  # sparse: they take no room on the disk


@dataclass(frozen=True)
class Ports:
    """Where one stack listens, and where the two upstreams do."""

    own: int
    admin: int
    bodies: int
    sink: int


@dataclass(frozen=True)
class Stack:
    """One way to the upstream: `start` makes the program, `version` says what was measured."""

    name: str
    start: Callable[[Path, Ports], Program]
    version: Callable[[], str]


def _nginx_command(directory: Path, http_block: str) -> tuple[str, ...]:
    user = "user root;" if os.geteuid() == 0 else ""
    temporary = "\n".join(
        f"{kind}_temp_path {directory}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (directory / "nginx.conf").write_text(f"""
{user}
worker_processes 1;
daemon off;
pid {directory}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 2048; }}
http {{
  {temporary}
  access_log off;
  tcp_nodelay on;
  keepalive_requests 100000000;
  keepalive_timeout 75s;
  client_max_body_size 0;
  {http_block}
}}
""")
    return (install.program("nginx"), "-e", "stderr", "-p", str(directory), "-c", str(directory / "nginx.conf"))


def start_bodies(directory: Path, port: int) -> Program:
    """Return the upstream that serves bodies: nginx, /1k from memory and the files of FILES."""
    small = "k" * SMALL_BYTES
    for name, size in FILES.items():
        with (directory / name).open("wb") as file:
            file.truncate(size)
    link = directory / "bench"
    if not link.exists():
        link.symlink_to(".")
    block = f"""
  sendfile on;
  server {{
    listen 127.0.0.1:{port} backlog=1024;
    root {directory};
    default_type application/octet-stream;
    location = /1k {{ return 200 "{small}"; }}
    location = /bench/1k {{ return 200 "{small}"; }}
  }}"""
    return Program("upstream (bodies)", _nginx_command(directory, block), directory)


def start_sink(directory: Path, port: int) -> Program:
    """Return the upstream that reads bodies."""
    script = str(Path(__file__).resolve().parent / "upstream.py")
    return Program("upstream (sink)", (sys.executable, script, "--port", str(port)), directory)


def _start_nginx(directory: Path, ports: Ports) -> Program:
    # 64 KiB buffers: with the default of 4 KiB nginx pays three times as much for a large body.
    block = f"""
  upstream bodies {{
    server 127.0.0.1:{ports.bodies}; keepalive 256; keepalive_requests 100000000;
  }}
  upstream sink {{
    server 127.0.0.1:{ports.sink}; keepalive 256; keepalive_requests 100000000;
  }}
  proxy_http_version 1.1;
  proxy_set_header Connection "";
  proxy_request_buffering off;
  proxy_buffers 16 64k;
  proxy_busy_buffers_size 256k;
  proxy_max_temp_file_size 0;
  client_body_buffer_size 64k;
  server {{
    listen 127.0.0.1:{ports.own} backlog=1024;
    location /bench/ {{ proxy_pass http://bodies; }}
    location /sink/ {{ proxy_pass http://sink; }}
  }}"""
    return Program("nginx", _nginx_command(directory, block), directory)


def _start_haproxy(directory: Path, ports: Ports) -> Program:
    (directory / "haproxy.cfg").write_text(f"""
global
  nbthread 1
  maxconn 2048
defaults
  mode http
  option http-keep-alive
  http-reuse always
  timeout connect 5s
  timeout client 60s
  timeout server 60s
frontend bench
  bind 127.0.0.1:{ports.own}
  use_backend sink if {{ path_beg /sink/ }}
  default_backend bodies
backend bodies
  server bodies 127.0.0.1:{ports.bodies}
backend sink
  server sink 127.0.0.1:{ports.sink}
""")
    return Program("haproxy", (install.program("haproxy"), "-db", "-f", str(directory / "haproxy.cfg")), directory)


def _address(port: int) -> dict[str, object]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def _envoy_cluster(name: str, port: int) -> dict[str, object]:
    endpoint = {"endpoint": {"address": _address(port)}}
    thresholds = {"max_connections": 1024, "max_pending_requests": 1024, "max_requests": 1024, "max_retries": 3}
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "5s",
        "circuit_breakers": {"thresholds": [thresholds]},
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]},
    }


def _envoy_route(prefix: str, cluster: str) -> dict[str, object]:
    retry = {"retry_on": "5xx", "num_retries": 2, "per_try_timeout": "30s"}
    return {"match": {"prefix": prefix}, "route": {"cluster": cluster, "timeout": "60s", "retry_policy": retry}}


def _start_envoy(directory: Path, ports: Ports) -> Program:
    manager = {
        "@type": f"{ENVOY_TYPES}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "bench",
        "codec_type": "HTTP1",
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "bench",
                    "domains": ["*"],
                    "routes": [_envoy_route("/sink/", "sink"), _envoy_route("/bench/", "bodies")],
                }
            ]
        },
        "http_filters": [
            {
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": f"{ENVOY_TYPES}.http.router.v3.Router"},
            }
        ],
    }
    chain = {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
    resources = {
        "listeners": [{"name": "bench", "address": _address(ports.own), "filter_chains": [chain]}],
        "clusters": [_envoy_cluster("bodies", ports.bodies), _envoy_cluster("sink", ports.sink)],
    }
    config = directory / "envoy.json"
    config.write_text(json.dumps({"static_resources": resources}, indent=1))
    command = (str(install.envoy_binary()), "-c", str(config), "--concurrency", "1", "--disable-hot-restart")
    return Program("envoy", (*command, "-l", "error"), directory)


def _start_blueprint(directory: Path, ports: Ports) -> Program:
    config = directory / "blueprint.yaml"
    config.write_text(f"""
listen: {{http: "127.0.0.1:{ports.own}", admin: "127.0.0.1:{ports.admin}"}}
state_dir: {directory}/state
upstreams:
  bench: {{kind: http, url: "http://127.0.0.1:{ports.bodies}"}}
  sink: {{kind: http, url: "http://127.0.0.1:{ports.sink}"}}
""")
    command = Path(sys.executable).parent / "blueprint-proxy"
    return Program("blueprint", (str(command), "serve", "--config", str(config)), directory)


def _nothing(directory: Path, _: Ports) -> Program:
    return Program("direct", ("true",), directory)


def _said(*command: str) -> str:
    result = subprocess.run(command, check=False, capture_output=True, text=True, timeout=20)
    found = re.search(r"\d+\.\d+\.\d+\S*", result.stdout + result.stderr)
    return found[0].split("/")[0] if found else "unknown"


def _blueprint_version() -> str:
    metadata = "from importlib.metadata import version as v; print(v('blueprint-proxy')); print(v('uvloop'))"
    said = subprocess.run((sys.executable, "-c", metadata), check=False, capture_output=True, text=True, timeout=20)
    names = said.stdout.split() or ["unknown", "unknown"]
    commit = subprocess.run(
        ("git", "-C", str(install.ROOT), "describe", "--always", "--dirty"), check=False, capture_output=True, text=True
    )
    return (
        f"{names[0]} ({commit.stdout.strip() or 'no commit'}), CPython {platform.python_version()}, uvloop {names[-1]}"
    )


def _envoy_version() -> str:
    result = subprocess.run((install.envoy_binary(), "--version"), check=False, capture_output=True, text=True)
    found = re.search(r"/(\d+\.\d+\.\d+)/", result.stdout)
    return found[1] if found else "unknown"


DIRECT = Stack("direct", _nothing, lambda: "no proxy: load generator and upstream alone")
STACKS = (
    DIRECT,
    Stack("nginx", _start_nginx, lambda: _said(install.program("nginx"), "-v")),
    Stack("haproxy", _start_haproxy, lambda: _said(install.program("haproxy"), "-v")),
    Stack("envoy", _start_envoy, _envoy_version),
    Stack("blueprint", _start_blueprint, _blueprint_version),
)


def wrk_version() -> str:
    """Return the version of the load generator."""
    return _said(install.program("wrk"), "-v")
