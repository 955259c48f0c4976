"""What is sent: requests from wrk, large bodies and slow readers from a blocking socket. An error is never a sample."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from bench.install import program
from bench.processes import BenchError, Program
from bench.stacks import FILES, KIB, MIB, SMALL_BYTES

SCRIPT = Path(__file__).resolve().parent / "load.lua"
CHUNK = 256 * KIB
MAX_HEAD = 64 * KIB
SOCKET_LIMIT_S = 60.0
SLOW_START_S = 1.0  # a slow reader first reads nothing, long enough for a proxy without backpressure to take it all
SLOW_CHUNK = 4 * MIB
SLOW_PAUSE_S = 0.01
LENGTH = re.compile(rb"\r\ncontent-length: *(\d+) *\r\n", re.IGNORECASE)


@dataclass(frozen=True)
class Target:
    """Where one stack takes calls: the ports are the proxy's own, or the upstreams' for direct calls."""

    bodies: int
    sink: int


@dataclass(frozen=True)
class Requests:
    """A load of small requests: `body` bytes each (a GET when 0), over `connections` kept alive."""

    name: str
    connections: int
    body: int = 0


@dataclass(frozen=True)
class Body:
    """A load of one large body of the file `file`'s size, down or up."""

    name: str
    file: str
    up: bool


@dataclass(frozen=True)
class Outcome:
    """What a load did: `count` requests in `seconds`; latencies in microseconds, none for large bodies."""

    count: int
    seconds: float
    p50_us: float | None = None
    p99_us: float | None = None


GET_16 = Requests("GET 1 KB, 16 conns", 16)
GET_128 = Requests("GET 1 KB, 128 conns", 128)
POST_16 = Requests("POST 10 KB, 16 conns", 16, 10 * KIB)
DOWNLOAD = Body("download 256 MiB", "256m", up=False)
UPLOAD = Body("upload 256 MiB", "256m", up=True)
LOADS: tuple[Requests | Body, ...] = (GET_16, GET_128, POST_16, DOWNLOAD, UPLOAD)


def run(load: Requests | Body, target: Target, seconds: int, bodies: int) -> Outcome:
    """Send `load` for `seconds`, or `bodies` times when it is a large body. BenchError on the first wrong answer."""
    if isinstance(load, Requests):
        return _run_wrk(load, target, seconds)
    start = time.monotonic()
    for _ in range(bodies):
        if load.up:
            upload(target, FILES[load.file])
        else:
            download(target, load.file)
    return Outcome(bodies, time.monotonic() - start)


def _run_wrk(load: Requests, target: Target, seconds: int) -> Outcome:
    method, url = ("POST", f"http://127.0.0.1:{target.sink}/sink/post")
    if not load.body:
        method, url = ("GET", f"http://127.0.0.1:{target.bodies}/bench/1k")
    shape = ("-t", "1", "-c", str(load.connections), "-d", f"{seconds}s", "--timeout", "5s")
    command = (program("wrk"), *shape, "-s", str(SCRIPT), url, "--", method, str(load.body))
    try:
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=seconds + 30)
    except subprocess.TimeoutExpired as error:
        raise BenchError(f"{load.name}: wrk did not end within {seconds + 30} s") from error
    found = re.search(r"^BENCH (\{.*\})$", done.stdout, re.MULTILINE)
    if found is None:
        raise BenchError(f"{load.name}: wrk ended with code {done.returncode}: {(done.stderr or done.stdout)[-300:]}")
    said = json.loads(found[1])
    if said["errors"] or not said["requests"]:
        raise BenchError(f"{load.name}: {said['errors']} errors in {said['requests']} requests")
    return Outcome(said["requests"], said["duration_us"] / 1e6, said["p50_us"], said["p99_us"])


def get_small(target: Target) -> None:
    """Make one GET of 1 KB on a fresh connection and look at every byte."""
    with _connect(target.bodies) as sock:
        body = bytearray()
        _receive(sock, f"GET /bench/1k HTTP/1.1\r\nHost: 127.0.0.1:{target.bodies}\r\n\r\n", SMALL_BYTES, keep=body)
        if bytes(body) != b"k" * SMALL_BYTES:
            raise BenchError("GET 1 KB: not the upstream's bytes")


def download(target: Target, file: str, *, slow: bool = False) -> None:
    """Read one file to its end; `slow` as a reader that waits, then pauses after every SLOW_CHUNK bytes."""
    with _connect(target.bodies) as sock:
        head = f"GET /bench/{file} HTTP/1.1\r\nHost: 127.0.0.1:{target.bodies}\r\n\r\n"
        _receive(sock, head, FILES[file], slow=slow)


def upload(target: Target, size: int, *, slow: bool = False) -> None:
    """Send one body of `size` bytes; `slow` to the path where the upstream reads slowly. The answer must count them."""
    path = "/sink/slow" if slow else "/sink/post"
    with _connect(target.sink) as sock:
        sock.sendall(
            f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{target.sink}\r\nContent-Length: {size}\r\n\r\n".encode()
        )
        chunk = memoryview(bytes(CHUNK))
        for start in range(0, size, CHUNK):
            sock.sendall(chunk[: size - start])
        body = bytearray()
        _receive(sock, "", len(str(size)), keep=body)
        if body != str(size).encode():
            raise BenchError(f"upload: the upstream read {body.decode('latin-1')} of {size} bytes")


def wait_for_first_call(started: Program, target: Target, limit_s: float) -> None:
    """Try a GET until it is served. BenchError when the program ends, or serves nothing within `limit_s`."""
    deadline = time.monotonic() + limit_s
    while True:
        started.check_alive()
        try:
            get_small(target)
        except OSError as error:
            if time.monotonic() > deadline:
                raise BenchError(f"no call served within {limit_s:g} s ({error}): {started.last_words()}") from error
            time.sleep(0.005)
        else:
            return


def _connect(port: int) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", port), timeout=SOCKET_LIMIT_S)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def _receive(sock: socket.socket, head: str, size: int, *, slow: bool = False, keep: bytearray | None = None) -> None:
    """Send `head`, then read one reply that must be 200 with exactly `size` bytes; into `keep` when it is given."""
    sock.sendall(head.encode())
    rest = _receive_head(sock, size)
    if keep is not None:
        keep += rest
    if slow:
        time.sleep(SLOW_START_S)
    buffer = memoryview(bytearray(CHUNK))
    read, paused_at = len(rest), 0
    while read < size:
        count = sock.recv_into(buffer)
        if not count:
            raise BenchError(f"the reply ended after {read} of {size} bytes")
        read += count
        if keep is not None:
            keep += buffer[:count]
        if slow and read - paused_at >= SLOW_CHUNK:
            paused_at = read
            time.sleep(SLOW_PAUSE_S)


def _receive_head(sock: socket.socket, size: int) -> bytes:
    """Read a reply's head, which must say 200 and `size` bytes; return what came of the body with it."""
    reply = b""
    while b"\r\n\r\n" not in reply:
        data = sock.recv(CHUNK)
        if not data or len(reply) > MAX_HEAD:
            raise BenchError(f"no reply head, but {reply[:100]!r}")
        reply += data
    head, _, rest = reply.partition(b"\r\n\r\n")
    length = LENGTH.search(head + b"\r\n")
    if head.split(b" ", 2)[1] != b"200" or length is None or int(length[1]) != size:
        raise BenchError(f"an unexpected reply: {head[:300]!r}")
    return rest
