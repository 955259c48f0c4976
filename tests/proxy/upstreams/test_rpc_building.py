"""From settings to a gRPC upstream: built without the library, connected by the first call."""

import ssl
import subprocess
import sys

import pytest
import trustme

from blueprint_proxy.layers.rpc_attempt import MakeRpcAttempt
from blueprint_proxy.upstreams.rpc_building import RpcConnections, pem_of
from blueprint_proxy.upstreams.rpc_upstream import RpcUpstream
from support.virtual_time import virtual_time


def layers(layer):
    found = []
    while hasattr(layer, "_next"):
        found.append(type(layer))
        layer = layer._next
    return found, layer


@virtual_time
async def test_an_upstream_of_grpc_has_the_same_layers_but_for_the_attempts(built):
    upstream = built("kind: grpc", url="grpc://127.0.0.1:1")
    assert isinstance(upstream, RpcUpstream)
    for way in (upstream.pipelines.guard, upstream.pipelines.relay):
        found, transport = layers(way)
        assert found[-1] is MakeRpcAttempt
        assert isinstance(transport, RpcConnections)


@virtual_time
async def test_before_the_first_call_there_is_no_connection_to_count_or_close(built):
    pool = built("kind: grpc", url="grpc://127.0.0.1:1").pool
    assert (pool.idle, pool.active) == (0, 0)
    pool.close()


def test_building_loads_nothing_of_the_library():
    code = "import sys, blueprint_proxy.upstreams.building; sys.exit('grpc' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@virtual_time
async def test_an_upstream_in_the_clear_has_no_certificates(built):
    assert pem_of(built("kind: grpc", url="grpc://127.0.0.1:1").settings) is None


@virtual_time
async def test_the_files_of_an_upstream_behind_tls_are_read(built, tmp_path):
    ca = trustme.CA()
    cert = ca.issue_cert("proxy@example.test")
    ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    cert.cert_chain_pems[0].write_to_path(str(tmp_path / "c.pem"))
    cert.private_key_pem.write_to_path(str(tmp_path / "c.key"))
    keys = f'kind: grpc, tls: {{ca: "{tmp_path}/ca.pem", cert: "{tmp_path}/c.pem", key: "{tmp_path}/c.key"}}'
    pem = pem_of(built(keys, url="grpcs://127.0.0.1:1").settings)
    assert pem == (ca.cert_pem.bytes(), cert.private_key_pem.bytes(), cert.cert_chain_pems[0].bytes())


@virtual_time
async def test_without_files_the_systems_trust_store_counts(built):
    roots, key, chain = pem_of(built("kind: grpc", url="grpcs://127.0.0.1:1").settings)
    assert roots is None or b"BEGIN CERTIFICATE" in roots
    assert (key, chain) == (None, None)


@virtual_time
async def test_a_file_that_is_no_certificate_is_an_error_at_once(built, tmp_path):
    bad = tmp_path / "ca.pem"
    bad.write_text("no certificate")
    with pytest.raises((OSError, ssl.SSLError)):
        built(f'kind: grpc, tls: {{ca: "{bad}"}}', url="grpcs://127.0.0.1:1")
