"""The control channel: what tests and demos ask of a running stand-in, over HTTP on a port of its own.

GET /state; POST /fault with a fault's text; POST /clear, /release, /drop; POST /exhaust with a number of workers.
One thread answers one request at a time, so that it also answers while the interpreter of a zombie is ending.
"""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class Control:
    """Serves from its creation on.

    - `commands`: what each POST does with its body; the returned value is the answer, as JSON. ValueError is a 400.
    """

    def __init__(self, state: Callable[[], dict[str, Any]], commands: Mapping[str, Callable[[str], Any]]) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if self.path == "/state":
                    self._answer(200, state())
                else:
                    self._answer(404, f"no {self.path} here; POST has {', '.join(commands)}")

            def do_POST(self) -> None:
                command = commands.get(self.path[1:])
                body = self.rfile.read(int(self.headers.get("content-length", "0"))).decode()
                if command is None:
                    self._answer(404, f"no {self.path} here")
                    return
                try:
                    self._answer(200, command(body))
                except ValueError as refused:
                    self._answer(400, str(refused))

            def _answer(self, status: int, value: Any) -> None:
                content = f"{json.dumps(value)}\n".encode()
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_words: object) -> None:
                """Nothing: the log is the simulator's."""

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self.port: int = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True, name="control").start()
