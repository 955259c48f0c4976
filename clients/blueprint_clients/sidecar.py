"""The sidecar as its job sees it: JSON in, JSON out, refusals as typed errors.

Connections are kept and shared by all threads, one exchange at a time on each; a forked child begins with none.
"""

from __future__ import annotations

import json
import time
from collections import deque
from typing import TYPE_CHECKING, Any

from blueprint_clients import forking
from blueprint_clients.addresses import Addresses, addresses
from blueprint_clients.environment import sidecar_named
from blueprint_clients.errors import BlueprintError, ConfigurationError, SidecarUnreachable, refusal
from blueprint_clients.notices import say_once
from blueprint_clients.wire import Answer, BadAnswer, Connection, NothingAnswered, address_of

if TYPE_CHECKING:
    from blueprint_clients.environment import JobEnvironment
    from blueprint_clients.wire import Address

CONNECT_PATIENCE_S = 2.0
"""The sidecar is on this host: a connection that takes longer is one that will not come."""

PATIENCE_S = 10.0
"""For answers that wait for nothing."""

IDLE = 8
"""Connections kept; more are opened for a burst and closed after it."""

ABSENT_S = 1.0
"""After a connection failed, calls go on without asking for this long: a wrong host must not cost each of them 2 s."""


SILENCE_S = 5.0
"""An answer that may take long (a place, a back-off) is waited for as long as the sidecar still answers something else,
which is asked after every such silence and waited for as long."""

HUNG_S = 10.0
"""What ABSENT_S is, after a sidecar that accepts and does not answer: to find that out again costs twice SILENCE_S."""


class Sidecar:
    """A sidecar at an address, with the job's token. Safe for threads and for fork."""

    def __init__(self, address: Address, token: str | None = None) -> None:
        if token is not None and not (token.isascii() and token.isprintable() and " " not in token):
            raise ConfigurationError("BLUEPRINT_PROXY_TOKEN holds what no token has: spaces or other than ASCII")
        self._address = address
        self._credential = "" if token is None else f"Authorization: Bearer {token}\r\n"
        self._idle: deque[Connection] = deque()
        self._addresses: Addresses | None = None
        self._absent_until = 0.0
        forking.watch(self)

    def __repr__(self) -> str:
        where = self._address.path or f"{self._address.host}:{self._address.port}"
        return f"Sidecar({where!r})"

    def ask(
        self, method: str, path: str, body: dict[str, Any] | None = None, *, patience: float = PATIENCE_S
    ) -> dict[str, Any]:
        """Ask for JSON and return it; `patience` in seconds is for the answer to come, from a sidecar that lives.

        A refusal is raised as the BlueprintError of its reason; SidecarUnreachable where there is no answer, or none
        that can be read.
        """
        answer = self._answer(self._request(method, path, body), patience)
        if not 200 <= answer.status < 300:
            raise self._refused(answer)
        try:
            said = json.loads(answer.body) if answer.body else {}
        except ValueError:
            said = None
        if not isinstance(said, dict):
            raise SidecarUnreachable(f"{self} answered {method} {path} with something else than a JSON object")
        return said

    def stream(self, path: str, *, patience: float = PATIENCE_S) -> Connection:
        """Open a connection of its own for an answer that does not end; its head has been read. Raises as `ask`."""
        connection = self._connect()
        try:
            connection.begin(self._request("GET", path, None), patience)
            status, headers = connection.head()
            body = b"" if status == 200 else connection.body(headers)
        except (OSError, BadAnswer) as error:
            connection.close()
            raise self._unreachable(error) from error
        if status != 200:
            connection.close()
            raise self._refused(Answer(status, headers, body))
        return connection

    def addresses(self) -> Addresses:
        """Where the data listeners are. Asked once, and again after the sidecar was away."""
        found = self._addresses
        if found is None:
            said = self.ask("GET", "/v1/addresses")
            try:
                found = self._addresses = addresses(said)
            except (KeyError, TypeError, AttributeError) as error:
                raise SidecarUnreachable(f"{self} does not say its addresses as this release reads them") from error
        return found

    @property
    def tls(self) -> bool:
        """Whether its listeners speak TLS: all of them do, or none."""
        return self._address.tls

    def forget_addresses(self) -> None:
        """Ask for them again at the next need: a data listener does not answer where it did."""
        self._addresses = None

    def close(self) -> None:
        """End the idle connections."""
        while self._idle:
            self._idle.pop().close()

    def after_fork_in_child(self) -> None:
        """Begin without connections: the parent goes on using them, and wire.py has closed this process's ends."""
        self._idle = deque()

    def _request(self, method: str, path: str, body: dict[str, Any] | None) -> bytes:
        head = f"{method} {path} HTTP/1.1\r\nHost: {self._address.authority}\r\n{self._credential}"
        if body is None:
            return f"{head}\r\n".encode("latin-1")
        content = json.dumps(body).encode()
        return f"{head}Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n".encode() + content

    def _answer(self, request: bytes, patience: float) -> Answer:
        connection = self._kept()
        if connection is not None:
            try:
                return self._exchange(connection, request, patience)
            except (NothingAnswered, ConnectionError):
                pass  # closed while it was idle: the server reads no request on such a connection
            except (OSError, BadAnswer) as error:
                raise self._unreachable(error) from error
        connection = self._connect()
        try:
            return self._exchange(connection, request, patience)
        except (OSError, BadAnswer) as error:
            raise self._unreachable(error) from error

    def _wait(self, connection: Connection, patience: float) -> None:
        """Wait for an answer that may take long; TimeoutError when it is over, or nothing at all is answered."""
        until = time.monotonic() + patience
        while (left := until - time.monotonic()) > 0:
            if connection.stirs(min(left, SILENCE_S)):
                return
            if left > SILENCE_S and not self._lives():
                break
        self._absent_until = time.monotonic() + HUNG_S
        raise TimeoutError("it accepts connections and does not answer")

    def _lives(self) -> bool:
        try:
            connection = Connection(self._address, CONNECT_PATIENCE_S)
        except OSError:
            return False
        try:
            connection.exchange(self._request("GET", "/livez", None), SILENCE_S)
        except (OSError, BadAnswer):
            return False
        finally:
            connection.close()
        return True

    def _exchange(self, connection: Connection, request: bytes, patience: float) -> Answer:
        try:
            connection.begin(request, patience)
            self._wait(connection, patience)
            answer = connection.answer()
        except BaseException:
            connection.close()
            raise
        if answer.headers.get("connection", "").lower() == "close" or len(self._idle) >= IDLE:
            connection.close()
        else:
            self._idle.append(connection)
        return answer

    def _kept(self) -> Connection | None:
        while True:
            try:
                connection = self._idle.pop()
            except IndexError:
                return None
            if connection.is_sound():
                return connection
            connection.close()

    def _connect(self) -> Connection:
        if time.monotonic() < self._absent_until:
            raise SidecarUnreachable(f"nobody answered at {self} a moment ago")
        try:
            return Connection(self._address, CONNECT_PATIENCE_S)
        except OSError as error:
            self._absent_until = time.monotonic() + ABSENT_S
            raise self._unreachable(error) from error

    def _refused(self, answer: Answer) -> BlueprintError:
        """Read a refusal. What gives no reason is something else that listens there, and a job goes on without it."""
        refused = refusal(answer.status, answer.headers, answer.body)
        if refused.reason:
            return refused
        return SidecarUnreachable(f"what answers at {self} with status {answer.status} is no sidecar")

    def _unreachable(self, error: Exception) -> SidecarUnreachable:
        self._addresses = None  # the one that comes back may be another
        return SidecarUnreachable(f"no answer from {self}: {str(error) or type(error).__name__}")


_known: dict[tuple[str, str | None], Sidecar] = {}


def sidecar_of(job: JobEnvironment | None = None) -> Sidecar | None:
    """Give this job's sidecar, the same object for the same settings; None, said once, for BLUEPRINT_PROXY=off.

    Nothing is sent. ConfigurationError for an address that cannot be meant.
    """
    proxy, token = sidecar_named() if job is None else (job.proxy, job.token)
    if proxy is None:
        say_once("off", "BLUEPRINT_PROXY=off: calls go straight to their services, unguarded")
        return None
    key = (proxy, token)
    found = _known.get(key)
    if found is None:  # without a lock, which a forked child might find held: of two made at once one is kept
        found = _known.setdefault(key, Sidecar(address_of(proxy), token))
    return found
