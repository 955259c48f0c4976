"""Puts the upstream's credential in the place of the job's own. Innermost but the attempt: nothing outside sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from blueprint_proxy.errors import Reason, Refusal

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from blueprint_proxy.calls import Call, Next, Reply
    from blueprint_proxy.secrets.credential import Credential


class InjectCredential:
    """Refuses with `forbidden`, naming the secret's id, when the credential is nowhere to be found."""

    def __init__(self, following: Next, *, credential: Credential) -> None:
        self._next = following
        self._credential = credential

    def __call__(self, call: Call) -> Awaitable[Reply]:
        """Pass on a copy of the call with the credential in it."""
        field = self._credential.field()
        if field is None:
            raise Refusal(
                Reason.FORBIDDEN,
                f"the credential of upstream {call.upstream} ({self._credential.id}) is missing: looked in "
                f"{self._credential.places}",
                sent=False,
            )
        return self._next(call.with_headers(call.headers.plus(field)))
