"""Kind http: any HTTP service, with nothing known but HTTP itself."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from blueprint_proxy.errors import Reason, Refusal
from blueprint_proxy.upstreams.kind import UNAUTHORISED, Operation, judge_status, rejects_by_status

if TYPE_CHECKING:
    from blueprint_proxy.http1.heads import RequestHead

IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"})
"""Methods that may be sent twice by their definition (RFC 9110 §9.2.2)."""

_GIVEN_NAME = re.compile(rb"[ -~]{1,64}")

_NAMED = {method: Operation(method, method in IDEMPOTENT) for method in (*IDEMPOTENT, "POST", "PATCH")}


class HttpKind:
    """Operations are named by their method, or by the job with x-blueprint-operation.

    An Idempotency-Key makes a POST or PATCH repeatable: that is what the field is for, and it goes up unchanged.
    """

    credential_header = ("authorization", "Bearer {}")
    credential_fields = frozenset({b"authorization"})
    credential_parameters: frozenset[bytes] = frozenset()
    rejection_statuses = UNAUTHORISED
    rejects_credential = staticmethod(rejects_by_status)
    judge = staticmethod(judge_status)

    def operation(self, head: RequestHead, target: bytes) -> Operation:  # noqa: ARG002 -- a Kind's shape
        """Name it; Refusal for a name of the job's that is not 1 to 64 printable ASCII characters."""
        named = head.own.get(b"x-blueprint-operation") if head.own else None
        operation = _NAMED.get(head.method) or Operation("other", repeatable=False)
        if named is not None:
            if _GIVEN_NAME.fullmatch(named) is None:
                raise Refusal(
                    Reason.BAD_REQUEST,
                    "x-blueprint-operation must be 1 to 64 printable ASCII characters",
                    sent=False,
                )
            operation = operation._replace(name=named.decode("ascii"))
        if not operation.repeatable and head.noted.get(b"idempotency-key"):
            operation = operation._replace(repeatable=head.method in {"POST", "PATCH"})
        return operation
