"""Asks a running proxy's admin listener, for the command line."""

from __future__ import annotations

import re
import ssl
from typing import TYPE_CHECKING, Any

import httpx2

from blueprint_proxy.config import read_secret

if TYPE_CHECKING:
    from blueprint_proxy.config import Config, ListenerTls

_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----\n?", re.DOTALL)


def ask(config: Config, path: str) -> Any:
    """The JSON answer to a GET of `path`. OSError, with a sentence, when nobody answers or the answer is a refusal."""
    address = config.listen.admin
    try:
        token = None if config.admin.token is None else read_secret(config.admin.token)
    except ValueError as error:
        raise OSError(f"admin.token: {error}") from error
    headers = {} if token is None else {"authorization": f"Bearer {token.reveal()}"}
    secure = config.tls is not None and address.unix is None
    verify = _this_very_server(config.tls) if secure and config.tls is not None else True
    base_url = "http://localhost" if address.unix is not None else f"http{'s' * secure}://{address.local}"
    try:
        # the environment's proxies and .netrc are for other addresses than this one
        with httpx2.Client(
            transport=httpx2.HTTPTransport(uds=address.unix, verify=verify, trust_env=False),
            base_url=base_url,
            headers=headers,
            timeout=5.0,
            trust_env=False,
        ) as client:
            answer = client.get(path)
    except httpx2.HTTPError as error:
        shown = secure and config.tls is not None and config.tls.client_ca is not None
        perhaps = ", or tls.client_ca does not know the listener's own certificate" * shown
        raise OSError(f"no proxy answers at {address}{perhaps}: {error}") from error
    try:
        said = answer.json()
        if answer.is_success:
            return said
        message = said["error"]["message"]
    except (ValueError, LookupError, TypeError):
        raise OSError(f"something else than this proxy answers at {address}: status {answer.status_code}") from None
    raise OSError(f"the proxy at {address} refuses: {message}")


def _this_very_server(files: ListenerTls) -> ssl.SSLContext:
    """Trust in nothing but the listener's own certificate, under whatever name: it is read from the same file.

    Where the listener asks for a client's (tls.client_ca), its own is shown: there is no other here.
    """
    cert = files.cert
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    own = _CERTIFICATE.search(cert.read_text(encoding="ascii", errors="replace"))
    if own is None:
        raise OSError(f"tls.cert: {cert} holds no certificate")
    context.load_verify_locations(cadata=own.group())
    if files.client_ca is not None:
        context.load_cert_chain(cert, files.key)
    return context
