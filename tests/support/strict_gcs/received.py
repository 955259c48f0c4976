"""What one request looked like, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(eq=False)
class Received:
    """One request as it arrived, kept from its head on.

    `target` is raw. `operation` is the API's name for it (`objects.insert`, `uploads.chunk`) or `unknown`. `refused`
    says why the door stayed shut (a foreign Host, no token); such a request reached no operation. `status` is the
    answer that was sent, None while there is none. `fault` names the fault that met it. `abandoned` is true when the
    caller left during a stall.
    """

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes = field(repr=False)
    operation: str = "unknown"
    refused: str | None = None
    status: int | None = None
    fault: str | None = None
    abandoned: bool = False

    def header(self, name: str) -> str | None:
        """The first value of this header, in whatever case it came."""
        return next(iter(self.header_values(name)), None)

    def header_values(self, name: str) -> list[str]:
        """Every value of this header, in order."""
        return [value for key, value in self.headers if key.lower() == name.lower()]

    @property
    def path(self) -> str:
        """The raw target without its query."""
        return self.target.partition("?")[0]

    @property
    def invocation(self) -> str | None:
        """The id that google-cloud-storage gives to all tries of one call."""
        words = (self.header("x-goog-api-client") or "").split()
        return next((word for word in words if word.startswith("gccl-invocation-id/")), None)
