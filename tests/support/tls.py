"""Certificates for tests: a CA, an upstream's certificate for loopback, and a client's."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING

import trustme

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Certificates:
    """Paths of PEM files for the proxy's configuration, and contexts for RawUpstream(tls=...)."""

    ca: Path
    client_cert: Path
    client_key: Path
    server: ssl.SSLContext
    server_for_known_clients: ssl.SSLContext


def make_certificates(directory: Path) -> Certificates:
    ca = trustme.CA()
    server_cert = ca.issue_cert("127.0.0.1", "localhost")
    client_cert = ca.issue_cert("job@example.test")
    ca.cert_pem.write_to_path(str(directory / "ca.pem"))
    client_cert.cert_chain_pems[0].write_to_path(str(directory / "client.pem"))
    client_cert.private_key_pem.write_to_path(str(directory / "client.key"))
    contexts = []
    for known_clients_only in (False, True):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server_cert.configure_cert(context)
        if known_clients_only:
            ca.configure_trust(context)
            context.verify_mode = ssl.CERT_REQUIRED
        contexts.append(context)
    return Certificates(
        directory / "ca.pem", directory / "client.pem", directory / "client.key", contexts[0], contexts[1]
    )
