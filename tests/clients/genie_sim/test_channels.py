from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import grpc
import pytest

from blueprint_clients.genie_sim.channels import MESSAGE_LIMIT, Line, line_to
from blueprint_clients.genie_sim.messages import GrpcExtraMissing
from support.forks import code_of
from support.rpc_sidecar import Reply, RpcSidecar

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PATH = "/aimdk.protocol.SimObservationService/reset"


@pytest.fixture
def line(rpc: RpcSidecar) -> Iterator[Line]:
    one = Line(rpc.address)
    yield one
    one.close()


def call(line: Line, request: bytes = b"") -> bytes:
    answer: bytes = line.method(PATH)(request, timeout=10.0)
    return answer


def test_an_address_has_one_line() -> None:
    assert line_to("a:1") is line_to("a:1")
    assert line_to("a:1") is not line_to("a:1", tls=True)


def test_bytes_go_out_and_come_back(line: Line, rpc: RpcSidecar) -> None:
    rpc.script("reset", Reply(raw=b"\n\x02ok"))
    assert call(line, b"\x08\x01") == b"\n\x02ok"
    assert rpc.asked[0].request == b"\x08\x01"


def test_a_unix_socket_will_do(tmp_path: Path) -> None:
    listening = RpcSidecar(f"unix:{tmp_path}/s")
    line = Line(listening.address)
    assert call(line) == b""
    line.close()
    listening.stop()


def test_tls_trusts_what_python_trusts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trustme = pytest.importorskip("trustme")
    ca = trustme.CA()
    issued = ca.issue_cert("127.0.0.1")
    pair = (issued.private_key_pem.bytes(), b"".join(one.bytes() for one in issued.cert_chain_pems))
    listening = RpcSidecar(tls=grpc.ssl_server_credentials([pair]))
    ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    line = Line(listening.address, tls=True)
    assert call(line) == b""
    line.close()
    monkeypatch.delenv("SSL_CERT_FILE")
    unknown = Line(listening.address, tls=True)
    assert not unknown.connects_within(0.1)
    unknown.close()
    listening.stop()


def test_messages_beyond_grpcs_own_limit_pass_both_ways(line: Line, rpc: RpcSidecar) -> None:
    large = bytes(20_643_840)
    rpc.script("reset", Reply(raw=large))
    assert len(call(line, large)) == len(large)


def test_a_message_over_the_limit_is_not_sent(line: Line, rpc: RpcSidecar) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        call(line, bytes(MESSAGE_LIMIT + 1))
    assert "larger than max" in caught.value.details()
    assert rpc.asked == []


def test_it_connects_again_after_the_other_side_was_away(rpc: RpcSidecar) -> None:
    line = Line(rpc.address)
    call(line)
    rpc.stop()
    again = RpcSidecar(rpc.address)
    assert line.connects_within(10.0)
    assert call(line) == b""
    line.close()
    again.stop()


def test_a_closed_line_is_opened_by_the_next_call(line: Line, rpc: RpcSidecar) -> None:
    call(line)
    line.close()
    assert call(line) == b""


def test_nobody_listens(line: Line, rpc: RpcSidecar) -> None:
    assert not Line("127.0.0.1:1").connects_within(0.05)


def test_a_forked_child_begins_without_a_channel_and_keeps_the_parents(line: Line, rpc: RpcSidecar) -> None:
    """Its own calls are tested where the server is in another process: a server's own threads do not survive a fork."""
    call(line)
    channel = line._channel
    pid = os.fork()
    if pid == 0:
        os._exit(0 if (line._channel, line._methods, line._inherited[0][0]) == (None, {}, channel) else 1)
    assert code_of(pid) == 0
    assert (line._channel, line._inherited) == (channel, [])


def test_a_proxy_in_the_environment_is_not_asked(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "grpc_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert call(line) == b""


def test_without_grpcio_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "grpc", None)
    with pytest.raises(GrpcExtraMissing, match=r"blueprint-clients\[grpc\]"):
        Line("a:1").method(PATH)
