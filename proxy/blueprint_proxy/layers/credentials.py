"""The upstream's credential in the place of the job's own: put in by the innermost layer, renewed by an outer one.

Two layers, because waiting for a secret must not run on an attempt's clock, nor hold a place at the upstream.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from blueprint_proxy.telemetry.events import CredentialRejected, WouldHave

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from blueprint_proxy.calls import Call, Next, Reply
    from blueprint_proxy.secrets.credential import Credential
    from blueprint_proxy.telemetry.stream import Telemetry


class InjectCredential:
    """Innermost but the attempt: nothing outside sees the value. Refuses with `forbidden` what has none to carry."""

    def __init__(self, following: Next, *, credential: Credential) -> None:
        self._next = following
        self._credential = credential

    def __call__(self, call: Call) -> Awaitable[Reply]:
        """Pass on a copy of the call with the credential in it."""
        field = self._credential.field()
        if field is None:
            return self._when_loaded(call)
        return self._next(call.with_headers(call.headers.plus(field)))

    async def _when_loaded(self, call: Call) -> Reply:
        """Only where nothing outside has waited: with `mode: off`."""
        await self._credential.first_load()
        field = self._credential.field()
        if field is None:
            raise self._credential.missing()
        return await self._next(call.with_headers(call.headers.plus(field)))


class RenewCredential:
    """Waits for the first load, within the call's deadline; refuses with `forbidden` what is missing then.

    Where the upstream refuses the credential, it looks for a newer one and, if there is, makes the attempt once more:
    the call was not executed, and no byte of the reply has gone to the job. That is no retry, and costs none.
    """

    def __init__(self, following: Next, *, credential: Credential, telemetry: Telemetry) -> None:
        self._next = following
        self._credential = credential
        self._emit = telemetry.emit

    async def __call__(self, call: Call) -> Reply:
        """Make one attempt, or two."""
        credential = self._credential
        if credential.field() is None:
            await credential.first_load()
            if credential.field() is None:
                raise credential.missing()
        secret = credential.secret
        reply = await self._next(call)
        if not reply.rejected or secret is None:
            return reply
        if call.policies.observing:
            self._emit(WouldHave(call.upstream, call.operation, call.request_id, "renew_credential"))
            return reply
        renewed = await credential.renew(secret)
        again = renewed and (isinstance(call.body, bytes) or call.body.replayable)
        outcome = "unchanged" if not renewed else "repeated" if again else "too_late"
        self._emit(CredentialRejected(call.upstream, call.operation, call.request_id, credential.id, outcome))
        if not again:
            return reply
        if not isinstance(reply.body, bytes):
            reply.body.abandon()  # too long to read; it holds a place and a connection
        return await self._next(call)
