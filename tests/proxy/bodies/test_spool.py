"""The disk behind a request's body: real files, real threads."""

import asyncio
import contextlib
import errno
import os
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blueprint_proxy.bodies import spool as spool_module
from blueprint_proxy.bodies.spool import BLOCK, Spool
from support.virtual_time import virtual_time


class Errors:
    def __init__(self):
        self.seen = []
        self.came = asyncio.Event()

    def __call__(self, error, unwritten):
        self.seen.append((error, unwritten))
        self.came.set()


class Watched:
    """A spool and the waits a test needs."""

    def __init__(self, directory):
        self.errors = Errors()
        self.spool = Spool(directory, self.errors)
        self.spool.on_written = self._on_written
        self._written = asyncio.Event()

    def _on_written(self):
        self._written.set()

    async def on_disk(self):
        while self.spool.backlog:
            self._written.clear()
            await self._written.wait()

    async def read(self, offset):
        got = asyncio.get_running_loop().create_future()
        self.spool.read(offset, got.set_result)
        return await got

    async def all(self):
        parts, offset = [], 0
        while offset < self.spool.written:
            parts.append(await self.read(offset))
            offset += len(parts[-1])
        return b"".join(parts)


def held_in(directory):
    """Descriptors of this process that are open in the directory, unlinked files included."""
    found = []
    for number in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            if str(number.readlink()).startswith(str(directory)):
                found.append(number)
    return found


async def disk_threads_done():
    """What the two disk threads were given so far is done, and the loop has heard of it."""
    both = threading.Barrier(2)
    loop = asyncio.get_running_loop()
    await asyncio.gather(*(loop.run_in_executor(spool_module._disk, both.wait, 5) for _ in range(2)))


@virtual_time
async def _round_trip(directory, pieces):
    watched = Watched(directory)
    for piece in pieces:
        watched.spool.append(piece)
    assert watched.spool.size == sum(map(len, pieces))
    await watched.on_disk()
    assert await watched.all() == b"".join(pieces)
    watched.spool.close()
    assert not watched.errors.seen


@settings(max_examples=25, deadline=None)
@given(pieces=st.lists(st.binary(min_size=1, max_size=300), min_size=1, max_size=20))
def test_bytes_come_back_in_their_order(tmp_path_factory, pieces):
    _round_trip(tmp_path_factory.getbasetemp() / "spool", pieces)


def test_a_long_body_comes_back_in_blocks(tmp_path):
    @virtual_time
    async def run():
        watched = Watched(tmp_path)
        body = os.urandom(2 * BLOCK + 5)
        watched.spool.append(body)
        await watched.on_disk()
        assert len(await watched.read(0)) == BLOCK
        assert await watched.all() == body
        watched.spool.close()

    run()


def test_reading_and_writing_at_the_same_time_disturb_each_other_in_no_way(tmp_path):
    @virtual_time
    async def run():
        watched = Watched(tmp_path)
        body = b""
        watched.spool.append(first := os.urandom(4096))
        await watched.on_disk()
        body = first
        for number in range(200):
            piece = bytes([number]) * 512
            body += piece
            watched.spool.append(piece)
            got = await watched.read(0)
            assert body.startswith(got)
        await watched.on_disk()
        assert await watched.all() == body
        watched.spool.close()

    run()


def test_the_loop_never_waits_for_the_disk(tmp_path, monkeypatch):
    threads = set()
    real_write, real_read = os.pwrite, os.pread

    def write(*args):
        threads.add(threading.current_thread())
        return real_write(*args)

    def read(*args):
        threads.add(threading.current_thread())
        return real_read(*args)

    monkeypatch.setattr(spool_module.os, "pwrite", write)
    monkeypatch.setattr(spool_module.os, "pread", read)
    _round_trip(tmp_path, [b"some", b"bytes"])
    assert threads
    assert threading.main_thread() not in threads


def test_a_write_that_the_disk_takes_in_parts_is_finished(tmp_path, monkeypatch):
    real = os.pwrite
    monkeypatch.setattr(spool_module.os, "pwrite", lambda number, data, offset: real(number, data[:3], offset))
    _round_trip(tmp_path, [b"0123456789", b"abcdefgh"])


def test_pieces_that_come_during_a_write_go_down_together(tmp_path, monkeypatch):
    sizes = []
    real = os.pwrite

    def write(number, data, offset):
        sizes.append(len(data))
        return real(number, data, offset)

    monkeypatch.setattr(spool_module.os, "pwrite", write)
    _round_trip(tmp_path, [b"first", b"second", b"third"])
    assert sizes == [5, 11]


def test_backlog_counts_what_is_not_on_disk_yet(tmp_path):
    @virtual_time
    async def run():
        watched = Watched(tmp_path)
        watched.spool.append(b"12345")
        assert (watched.spool.size, watched.spool.written, watched.spool.backlog) == (5, 0, 5)
        await watched.on_disk()
        assert (watched.spool.size, watched.spool.written, watched.spool.backlog) == (5, 5, 0)
        watched.spool.close()

    run()


def test_the_file_has_no_name_and_its_directory_is_private(tmp_path):
    @virtual_time
    async def run():
        directory = tmp_path / "state" / "spool"
        watched = Watched(directory)
        watched.spool.append(b"secret")
        await watched.on_disk()
        assert list(directory.iterdir()) == []
        assert directory.stat().st_mode & 0o777 == 0o700
        assert len(held_in(directory)) == 1
        watched.spool.close()
        assert held_in(directory) == []

    run()


@pytest.mark.parametrize("doing", ["write", "read"])
def test_a_spool_closed_while_a_thread_is_at_it_closes_its_file_afterwards(tmp_path, monkeypatch, doing):
    @virtual_time
    async def run():
        loop = asyncio.get_running_loop()
        at_it, go_on, came = asyncio.Event(), threading.Event(), []
        watched = Watched(tmp_path)
        watched.spool.append(b"on disk")
        await watched.on_disk()
        real = {"write": os.pwrite, "read": os.pread}[doing]

        def held(*args):
            loop.call_soon_threadsafe(at_it.set)
            assert go_on.wait(5)
            return real(*args)

        monkeypatch.setattr(spool_module.os, "p" + doing, held)
        if doing == "write":
            watched.spool.append(b"more")
        else:
            watched.spool.read(0, came.append)
        await at_it.wait()
        watched.spool.close()
        assert len(held_in(tmp_path)) == 1
        go_on.set()
        await disk_threads_done()
        assert held_in(tmp_path) == []
        assert came == []
        assert not watched.errors.seen

    run()


def test_a_spool_closed_before_anything_was_written_leaves_nothing(tmp_path):
    @virtual_time
    async def run():
        watched = Watched(tmp_path)
        watched.spool.append(b"some")
        watched.spool.append(b"more")
        watched.spool.close()
        await disk_threads_done()
        assert held_in(tmp_path) == []
        assert not watched.errors.seen

    run()


def full_disk(number, data, offset):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_gives_back_what_it_did_not_take(tmp_path, monkeypatch):
    @virtual_time
    async def run():
        watched = Watched(tmp_path)
        watched.spool.append(b"kept")
        await watched.on_disk()
        monkeypatch.setattr(spool_module.os, "pwrite", full_disk)
        watched.spool.append(b"lost")
        watched.spool.append(b" too")
        await watched.errors.came.wait()
        [(error, unwritten)] = watched.errors.seen
        assert error.errno == errno.ENOSPC
        assert unwritten == b"lost too"
        assert watched.spool.backlog == 0
        assert await watched.all() == b"kept"
        watched.spool.close()

    run()


def test_a_directory_that_cannot_be_made_gives_everything_back(tmp_path):
    @virtual_time
    async def run():
        (tmp_path / "file").write_bytes(b"")
        watched = Watched(tmp_path / "file" / "spool")
        watched.spool.append(b"lost")
        await watched.errors.came.wait()
        [(_, unwritten)] = watched.errors.seen
        assert unwritten == b"lost"
        watched.spool.close()

    run()


@pytest.mark.parametrize("how", ["error", "short"])
def test_what_cannot_be_read_back_is_an_error_and_never_less_bytes(tmp_path, monkeypatch, how):
    @virtual_time
    async def run():
        watched = Watched(tmp_path)
        watched.spool.append(b"12345678")
        await watched.on_disk()

        def read(number, size, offset):
            if how == "error":
                raise OSError(errno.EIO, "Input/output error")
            return b"1234"

        monkeypatch.setattr(spool_module.os, "pread", read)
        came = []
        watched.spool.read(0, came.append)
        await watched.errors.came.wait()
        assert came == []
        [(error, unwritten)] = watched.errors.seen
        assert isinstance(error, OSError)
        assert unwritten == b""
        watched.spool.close()

    run()
