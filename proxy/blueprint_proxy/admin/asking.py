"""Asks a running proxy's admin listener, for the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx2

from blueprint_proxy.config import read_secret

if TYPE_CHECKING:
    from blueprint_proxy.config import Config


def ask(config: Config, path: str) -> Any:
    """The JSON answer to a GET of `path`. OSError when nobody answers, or the answer is a refusal."""
    address = config.listen.admin
    token = None if config.admin.token is None else read_secret(config.admin.token)
    headers = {} if token is None else {"authorization": f"Bearer {token.reveal()}"}
    transport = httpx2.HTTPTransport(uds=address.unix)
    base_url = "http://localhost" if address.unix is not None else f"http://{address}"
    try:
        with httpx2.Client(transport=transport, base_url=base_url, headers=headers, timeout=5.0) as client:
            answer = client.get(path)
            answer.raise_for_status()
            return answer.json()
    except httpx2.HTTPError as error:
        raise OSError(str(error)) from error
