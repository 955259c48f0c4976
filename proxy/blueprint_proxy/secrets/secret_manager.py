"""Google Secret Manager. Imported late and only where it is asked: the client costs 40 MiB and 0.3 s of CPU.

The library's own retries are off (two UNAVAILABLE took them 5 s); ours are quick, and bounded as a whole.
"""

from __future__ import annotations

import asyncio
import warnings
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import google.auth
import google_crc32c
import grpc.aio
from aiobreaker import CircuitBreaker, CircuitBreakerError  # type: ignore[import-untyped]  # nor does it
from google.api_core import exceptions
from google.auth.exceptions import GoogleAuthError
from google.cloud.secretmanager_v1.services.secret_manager_service.async_client import SecretManagerServiceAsyncClient
from google.cloud.secretmanager_v1.services.secret_manager_service.transports.grpc_asyncio import (
    SecretManagerServiceGrpcAsyncIOTransport as Transport,
)

from blueprint_proxy.config import Secret, without_newline
from blueprint_proxy.policies.backoff import full_jitter
from blueprint_proxy.secrets.looking import Answer, Found, NotFound

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from google.auth.credentials import Credentials

    from blueprint_proxy.config import SecretManagerSettings

TRIES = 3
TIMEOUT = 3.0
"""Seconds for one try: the API answers in well under one."""
BASE, CAP = 0.2, 2.0
"""Seconds of back-off between tries."""
PATIENCE = 10.0
"""Seconds for all tries of all secrets of one batch. Calls wait for the first batch, so it has an end."""
FAILURES = 3
"""Batches in a row without any answer, after which the store is left alone."""
LEFT_ALONE = 10.0
"""Seconds."""

_SCOPES = ("https://www.googleapis.com/auth/cloud-platform",)
_CHANNEL = (("grpc.initial_reconnect_backoff_ms", 200), ("grpc.max_reconnect_backoff_ms", 5000))
"""gRPC's own back-off between connections grows to two minutes: so late would a store that is back be seen."""

_NOT_THERE = (exceptions.NotFound, exceptions.FailedPrecondition, exceptions.InvalidArgument)
"""No such secret or version, one that is disabled or destroyed, and an id that cannot be one."""
_DENIED = (exceptions.Forbidden, exceptions.Unauthenticated, exceptions.Unauthorized)
"""An answer, and no reason to forget a value: grants reach the service minutes late."""
_UNUSABLE = (GoogleAuthError, OSError, ValueError, TypeError, AttributeError, KeyError)
"""What google.auth raises for credentials that are not there, cannot be read, or are not what they should be: not all
of it is its own."""


class _Down(Exception):
    """Not one secret of a batch brought an answer."""


class SecretManager:
    """Asks for secrets of one project. `settings.project` must be known. Use it on one event loop, and close it."""

    def __init__(self, settings: SecretManagerSettings, *, chance: Callable[[], float]) -> None:
        # It reads the clock with datetime.utcnow(), which Python 3.12 warns of. Its own times are never asked for:
        # they are wrong wherever the local time is not UTC.
        warnings.filterwarnings("ignore", r"datetime\.datetime\.utcnow", DeprecationWarning)
        self._settings = settings
        self._chance = chance
        self._breaker = CircuitBreaker(fail_max=FAILURES, timeout_duration=timedelta(seconds=LEFT_ALONE))
        self._tripped = 0.0  # loop time
        self._turn = asyncio.Lock()  # a half-open aiobreaker lets everybody through: one at a time asks it
        self._client: SecretManagerServiceAsyncClient | None = None
        self._search: asyncio.Future[tuple[Credentials, str | None]] | None = None

    async def access(self, names: Collection[str]) -> dict[str, Answer]:
        """Ask for every name (`ID`, or `ID@N` for a version) at once; an answer for each, and never an error."""
        async with self._turn:
            try:
                answers: dict[str, Answer] = await self._breaker.call_async(self._batch, names)
            except _Down as down:
                why = str(down)
            except CircuitBreakerError as error:
                why = self._left_alone(error)
            else:
                return answers
        return dict.fromkeys(names, NotFound(why, passing=True))

    async def close(self) -> None:
        """End the connection, when the batch under way is through."""
        async with self._turn:
            client, self._client = self._client, None
        if client is not None:
            await client.transport.close()  # type: ignore[no-untyped-call]  # the library annotates only its calls

    def _left_alone(self, error: CircuitBreakerError) -> str:
        now = asyncio.get_running_loop().time()
        if isinstance(error.__cause__, _Down):
            self._tripped = now
            return str(error.__cause__)
        if now - self._tripped >= LEFT_ALONE:
            self._breaker.half_open()  # it goes by the wall clock, which was set back
        return f"left alone for {LEFT_ALONE:g} s: it does not answer"

    async def _batch(self, names: Collection[str]) -> dict[str, Answer]:
        answers: dict[str, Answer] = {}
        unanswered = dict.fromkeys(names, f"no answer within {PATIENCE:g} s")

        async def one(client: SecretManagerServiceAsyncClient, name: str) -> None:
            answer = await self._ask(client, name)
            if isinstance(answer, str):
                unanswered[name] = answer
            else:
                del unanswered[name]
                answers[name] = answer

        try:
            async with asyncio.timeout(PATIENCE):
                client = await self._ready()
                async with asyncio.TaskGroup() as tasks:
                    for name in names:
                        tasks.create_task(one(client, name))
        except TimeoutError:
            pass  # those that were still asking are in `unanswered`
        if unanswered and not answers:
            raise _Down(next(iter(unanswered.values())))
        return answers | {name: NotFound(why, passing=True) for name, why in unanswered.items()}

    async def _ask(self, client: SecretManagerServiceAsyncClient, name: str) -> Answer | str:
        """The answer, or why there is none after all tries."""
        secret, _, version = name.partition("@")
        resource = f"projects/{self._settings.project}/secrets/{secret}/versions/{version or 'latest'}"
        attempt = 0
        while True:
            attempt += 1
            try:
                response = await client.access_secret_version(name=resource, retry=None, timeout=TIMEOUT)
            except _NOT_THERE as error:
                return NotFound(_said(error))
            except _DENIED as error:
                return NotFound(_said(error), passing=True)
            except (exceptions.GoogleAPICallError, GoogleAuthError) as error:
                why = _said(error)
            else:
                if _undamaged(response.payload):
                    return _value(response.payload.data, response.name.rpartition("/")[2])
                why = "what came does not match its checksum"
            if attempt == TRIES:
                return why
            await asyncio.sleep(full_jitter(attempt, BASE, CAP, self._chance))

    async def _ready(self) -> SecretManagerServiceAsyncClient:
        try:
            return await self._opened()
        except _UNUSABLE as error:
            raise _Down(f"no Google credentials to ask with: {_said(error)}") from None

    async def _opened(self) -> SecretManagerServiceAsyncClient:
        if self._client is None:
            endpoint = self._settings.endpoint or Transport.DEFAULT_HOST
            if self._settings.insecure:
                channel = grpc.aio.insecure_channel(endpoint, options=(*_CHANNEL, ("grpc.enable_http_proxy", 0)))
            else:
                channel = Transport.create_channel(endpoint, credentials=await self._own(), options=_CHANNEL)
            self._client = SecretManagerServiceAsyncClient(transport=Transport(channel=channel))
        return self._client

    async def _own(self) -> Credentials:
        """The process's Google credentials: from files or the metadata server, which is nothing for the loop's thread.

        Where no metadata server answers the search takes many seconds. It goes on from one batch to the next.
        """
        if self._search is None:
            find = partial(google.auth.default, scopes=_SCOPES)
            self._search = asyncio.get_running_loop().run_in_executor(None, find)
            self._search.add_done_callback(_heard)
        try:
            credentials, _ = await asyncio.shield(self._search)
        except _UNUSABLE:
            self._search = None
            raise
        return credentials


def _heard(search: asyncio.Future[tuple[Credentials, str | None]]) -> None:
    """Its error is not lost when nobody is left to hear it: there is nothing to do about it then."""
    if not search.cancelled():
        search.exception()


def _undamaged(payload: Any) -> bool:
    return "data_crc32c" in payload and google_crc32c.value(payload.data) == payload.data_crc32c


def _value(data: bytes, version: str) -> Answer:
    try:
        text = without_newline(data).decode()
    except UnicodeDecodeError:
        return NotFound(f"version {version} is not UTF-8 text")
    return Found(Secret(text), version) if text else NotFound(f"version {version} is empty")


def _said(error: Exception) -> str:
    """The status and the service's words, cut: they name resources and never hold a value."""
    if isinstance(error, GoogleAuthError):
        return str(error.args[0] if error.args else error)[:200]  # the rest may quote the credentials' file
    if not isinstance(error, exceptions.GoogleAPICallError):
        return str(error)[:200]
    status = error.grpc_status_code
    return f"{'no status' if status is None else status.name}: {str(error.message)[:200]}"
