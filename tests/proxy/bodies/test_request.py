"""A request's body on its way to one attempt after another."""

import asyncio
import errno
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from blueprint_proxy.bodies import request as request_module
from blueprint_proxy.bodies.request import MAX_BACKLOG, WAITING, RequestBody
from blueprint_proxy.errors import JobLeft, Reason, Refusal, UpstreamBroke
from blueprint_proxy.http1.fields import Fields
from support.virtual_time import virtual_time

TRAILERS = Fields(b"x-sum: 1\r\n")


class Job:
    """The connection that brings the body."""

    paused = False

    def pause_body(self):
        self.paused = True

    def resume_body(self):
        self.paused = False


class Attempt:
    """A sink that keeps what it gets and may pause by itself, as a transport with a full buffer does."""

    def __init__(self, body=None, *, room=None):
        self.body = body
        self.room = room
        self.bytes = b""
        self.pieces = []
        self.ends = []

    def body_data(self, data):
        assert not self.ends, "a piece after the end"
        self.pieces.append(data)
        self.bytes += data
        if self.room is not None:
            self.room -= len(data)
            if self.room < 0:
                self.body.pause()

    def body_end(self, trailers):
        self.ends.append(trailers)

    def body_failed(self, error):
        self.ends.append(error)


class Disk:
    """In a Spool's place: writes and reads are done when the test says so."""

    spools: list

    def __init__(self, directory, on_error):
        self.on_error = on_error
        self.on_written = None
        self.data = b""
        self.written = 0
        self.closed = False
        self.reads = []
        self.broken = directory.name == "broken"
        Disk.spools.append(self)

    @property
    def size(self):
        return len(self.data)

    @property
    def backlog(self):
        return self.size - self.written

    def append(self, data):
        assert not self.closed
        self.data += data

    def read(self, offset, then):
        assert not self.closed
        assert offset < self.written
        self.reads.append((offset, then))

    def close(self):
        self.closed = True

    # what the test does

    def write(self, size):
        if self.closed or not self.backlog:
            return
        if self.broken:
            unwritten, self.data = self.data[self.written :], self.data[: self.written]
            self.on_error(OSError(errno.ENOSPC, "No space left on device"), unwritten)
            return
        self.written = min(self.size, self.written + size)
        self.on_written()

    def serve(self, size):
        offset, then = self.reads.pop(0)
        if not self.closed:
            then(self.data[offset : min(offset + size, self.written)])


@pytest.fixture
def disk(monkeypatch):
    monkeypatch.setattr(request_module, "Spool", Disk)
    monkeypatch.setattr(Disk, "spools", [], raising=False)
    return Disk.spools


def kept_bytes(body):
    return sum(map(len, body._kept)) + sum(map(len, body._overflow))


class Bodies(RuleBasedStateMachine):
    """In whatever order things come, an attempt gets the whole body from its first byte, or it is not replayable."""

    def __init__(self):
        super().__init__()
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(request_module, "Spool", Disk)
        Disk.spools = []

    def teardown(self):
        self.patch.undo()

    @initialize(
        memory=st.sampled_from([0, 5, 20, 1000]),
        spool=st.sampled_from([0, 10, 40, 1000]),
        directory=st.sampled_from([None, Path("/good"), Path("/good"), Path("/broken")]),
        limit=st.sampled_from([None, None, 60]),
    )
    def begin(self, memory, spool, directory, limit):
        self.job = Job()
        self.lost = []
        self.kept_at_first = memory > 0 or (spool > 0 and directory is not None)
        self.body = RequestBody(
            self.job, None, memory=memory, spool=spool, directory=directory, limit=limit,
            on_lost=lambda why, received: self.lost.append((why, received)),
        )  # fmt: skip
        self.limit = limit
        self.sent = b""
        self.ended = self.released = self.started = False
        self.attempt = None
        self.paused = False

    def failed(self):
        return self.limit is not None and len(self.sent) > self.limit

    @precondition(lambda self: not self.ended)
    @rule(data=st.binary(min_size=1, max_size=12))
    def feed(self, data):
        self.sent += data
        self.body.feed(data)
        if self.attempt is not None and self.attempt.ends:
            self.finish_attempt()

    @precondition(lambda self: not self.ended)
    @rule()
    def end(self):
        self.ended = True
        self.body.end(TRAILERS)

    @precondition(lambda self: self.attempt is None and (self.body.replayable or self.failed()))
    @rule(room=st.sampled_from([None, None, 0, 7]), paused=st.booleans())
    def start(self, room, paused):
        assert not self.released or self.failed()
        self.attempt, self.paused, self.started = Attempt(self.body, room=room), paused, True
        self.body.start(self.attempt, paused=paused)
        if self.failed():
            assert self.attempt.bytes == b""
            self.finish_attempt()

    @precondition(lambda self: self.attempt is None and not self.body.replayable and not self.failed())
    @rule()
    def start_what_is_gone(self):
        with pytest.raises(RuntimeError):
            self.body.start(Attempt())

    @precondition(lambda self: self.attempt is not None)
    @rule()
    def pause(self):
        self.body.pause()

    @precondition(lambda self: self.attempt is not None)
    @rule(room=st.sampled_from([None, None, 7]))
    def resume(self, room):
        self.attempt.room = room
        self.body.resume()

    @precondition(lambda self: self.attempt is not None)
    @rule()
    def stop(self):
        if not self.attempt.ends:
            self.body.stop()
        self.attempt = None

    @rule(size=st.sampled_from([1, 6, 1000]))
    def write(self, size):
        for spool in Disk.spools:
            spool.write(size)

    @rule(size=st.sampled_from([1, 6, 1000]))
    def read(self, size):
        for spool in Disk.spools:
            if spool.reads:
                spool.serve(size)

    @precondition(lambda self: self.started)
    @rule()
    def release(self):
        self.released = True
        self.body.release()

    def finish_attempt(self):
        [end] = self.attempt.ends
        assert isinstance(end, Refusal)
        assert end.reason is Reason.TOO_LARGE
        self.attempt = None

    @rule()
    def let_everything_happen(self):
        """The attempt at hand gets all that came so far."""
        for _ in range(4 + 2 * len(self.sent)):
            if self.attempt is not None:
                self.attempt.room = None
                self.body.resume()
            self.write(1000)
            self.read(1000)
        between_attempts = self.started and self.attempt is None and not self.released
        assert not self.job.paused or self.ended or self.failed() or between_attempts
        if self.attempt is not None:
            assert self.attempt.bytes == self.sent
            assert self.attempt.ends == ([TRAILERS] if self.ended else [])
        elif self.released or self.failed():
            assert kept_bytes(self.body) == 0
            assert all(spool.closed for spool in Disk.spools)

    @invariant()
    def bytes_come_in_order_and_the_end_once(self):
        if getattr(self, "attempt", None) is not None:
            assert self.sent.startswith(self.attempt.bytes)
            assert len(self.attempt.ends) <= 1
            if self.attempt.ends:
                assert self.attempt.bytes == self.sent
                assert self.ended

    @invariant()
    def loss_is_told_once(self):
        if not hasattr(self, "body"):
            return
        assert len(self.lost) <= 1
        if self.lost:
            assert self.kept_at_first
            assert not self.started or not self.body.replayable
        elif self.kept_at_first and not self.released and not self.failed():
            assert self.body.replayable


Bodies.TestCase.settings = settings(
    max_examples=150, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
TestBodies = Bodies.TestCase


def body_of(*pieces, job=None, **limits):
    body = RequestBody(job or Job(), None, **{"memory": 100, **limits})
    for piece in pieces:
        body.feed(piece)
    return body


def test_a_live_attempt_gets_each_piece_in_the_same_turn():
    body, attempt = body_of(), Attempt()
    body.start(attempt)
    body.feed(b"one")
    assert attempt.pieces == [b"one"]


def test_a_second_attempt_gets_the_same_pieces_from_the_first_byte():
    body, first, second = body_of(b"one"), Attempt(), Attempt()
    body.start(first)
    body.feed(b"two")
    body.stop()
    body.start(second)
    body.feed(b"three")
    body.end(TRAILERS)
    assert first.bytes == b"onetwo"
    assert first.ends == []
    assert second.bytes == b"onetwothree"
    assert second.ends == [TRAILERS]


def test_a_body_that_nothing_keeps_goes_up_once():
    lost = []
    body = body_of(memory=0, on_lost=lambda *what: lost.append(what))
    assert body.replayable
    body.start(attempt := Attempt())
    body.feed(b"one")
    assert attempt.bytes == b"one"
    assert not body.replayable
    assert lost == []


def test_a_body_beyond_its_limits_goes_on_and_says_so_once():
    lost = []
    body = body_of(memory=4, on_lost=lambda *what: lost.append(what))
    body.start(attempt := Attempt())
    for piece in (b"123", b"456", b"789"):
        body.feed(piece)
    body.end(TRAILERS)
    assert attempt.bytes == b"123456789"
    assert attempt.ends == [TRAILERS]
    assert lost == [("too_large", 6)]
    assert not body.replayable
    assert kept_bytes(body) == 0


def test_a_body_that_outgrew_its_limits_before_its_first_attempt_can_be_sent_once():
    body = body_of(b"123", b"456", b"789", memory=4)
    assert body.replayable
    body.start(attempt := Attempt())
    assert attempt.bytes == b"123456789"
    assert not body.replayable


def test_memory_is_used_before_the_disk(disk, tmp_path):
    body = body_of(b"1234", b"567", memory=5, spool=100, directory=tmp_path)
    assert kept_bytes(body) == 4
    [spool] = disk
    assert spool.data == b"567"


def test_a_body_kept_on_disk_alone_is_kept(disk, tmp_path):
    body = body_of(b"1234", memory=0, spool=100, directory=tmp_path)
    body.start(Attempt())
    disk[0].write(100)
    disk[0].serve(100)
    assert body.replayable


def test_a_read_for_an_attempt_that_stopped_reaches_nobody(disk, tmp_path):
    body = body_of(b"1234", memory=1, spool=100, directory=tmp_path)
    [spool] = disk
    spool.write(100)
    first, second = Attempt(), Attempt()
    body.start(first)
    body.stop()
    body.start(second)
    spool.serve(100)
    assert (first.bytes, second.bytes) == (b"", b"")
    spool.serve(100)
    assert second.bytes == b"1234"


def test_each_attempt_reads_the_disk_from_its_beginning(disk, tmp_path):
    body = body_of(b"1", b"2345", memory=1, spool=100, directory=tmp_path)
    [spool] = disk
    spool.write(100)
    for _ in range(2):
        body.start(attempt := Attempt())
        spool.serve(100)
        assert attempt.bytes == b"12345"
        body.stop()


# the job's pace


def test_the_job_is_paused_while_its_attempt_cannot_keep_up():
    job = Job()
    body = body_of(job=job)
    body.start(Attempt())
    body.pause()
    assert job.paused
    body.resume()
    assert not job.paused


def test_the_job_goes_on_when_the_attempt_that_could_not_keep_up_stops():
    job = Job()
    body = body_of(job=job)
    body.start(Attempt())
    body.pause()
    body.stop()
    assert not job.paused


def test_an_attempt_that_is_full_with_the_first_pieces_gets_no_more():
    job = Job()
    body = body_of(b"1", b"2", b"3", job=job)
    attempt = Attempt(body, room=1)
    body.start(attempt)
    assert attempt.bytes == b"12"
    assert job.paused
    attempt.room = None
    body.resume()
    assert attempt.bytes == b"123"
    assert not job.paused


def test_an_attempt_that_is_full_from_the_start_gets_nothing_yet():
    body = body_of(b"1")
    attempt = Attempt(body)
    body.start(attempt, paused=True)
    assert attempt.bytes == b""
    body.resume()
    assert attempt.bytes == b"1"


def test_the_job_is_paused_while_the_disk_is_behind(disk, tmp_path):
    job = Job()
    body = body_of(job=job, memory=1, spool=10 * MAX_BACKLOG, directory=tmp_path)
    body.feed(bytes(MAX_BACKLOG))
    assert not job.paused
    body.feed(b"!")
    assert job.paused
    disk[0].write(10 * MAX_BACKLOG)
    assert not job.paused


def test_the_job_is_paused_while_an_attempt_reads_what_is_on_disk(disk, tmp_path):
    job = Job()
    body = body_of(b"1234", job=job, memory=1, spool=100, directory=tmp_path)
    disk[0].write(100)
    body.start(attempt := Attempt())
    assert job.paused
    disk[0].serve(2)
    assert job.paused
    disk[0].serve(2)
    assert not job.paused
    assert attempt.bytes == b"1234"


def test_64_kib_that_nothing_keeps_wait_for_the_first_attempt_and_more_pauses_the_job():
    job = Job()
    body = body_of(bytes(WAITING), job=job, memory=0)
    assert not job.paused
    body.feed(b"!")
    assert job.paused
    body.start(attempt := Attempt())
    assert not job.paused
    assert len(attempt.bytes) == WAITING + 1


def test_what_no_attempt_will_take_is_dropped_and_the_job_comes_to_its_end():
    job = Job()
    body = body_of(job=job, memory=0)
    body.start(Attempt())
    body.stop()
    for _ in range(100):
        body.feed(bytes(WAITING))
    assert not job.paused
    assert kept_bytes(body) == 0


# ends


@pytest.mark.parametrize("started", [True, False])
def test_a_body_beyond_the_upstreams_limit_fails_as_too_large(started):
    body, attempt = body_of(b"1234", limit=5), Attempt()
    if started:
        body.start(attempt)
    body.feed(b"56")
    body.feed(b"78")
    body.end(TRAILERS)
    if not started:
        body.start(attempt)
    assert attempt.bytes == (b"1234" if started else b"")
    [refusal] = attempt.ends
    assert isinstance(refusal, Refusal)
    assert refusal.reason is Reason.TOO_LARGE
    assert kept_bytes(body) == 0


def test_a_body_of_just_the_limit_passes():
    body, attempt = body_of(b"12345", limit=5), Attempt()
    body.start(attempt)
    body.end(TRAILERS)
    assert attempt.ends == [TRAILERS]


def test_a_job_that_breaks_off_fails_every_attempt_and_nothing_is_kept(disk, tmp_path):
    body = body_of(b"1", b"234", memory=1, spool=100, directory=tmp_path)
    body.start(first := Attempt())
    left = JobLeft("gone")
    body.fail(left)
    body.fail(JobLeft("gone again"))
    body.start(second := Attempt())
    assert first.ends == [left]
    assert second.ends == [left]
    assert second.bytes == b""
    assert kept_bytes(body) == 0
    assert disk[0].closed


def test_what_a_job_sends_after_the_failure_is_not_kept():
    job = Job()
    body = body_of(b"1", job=job)
    body.fail(JobLeft("gone"))
    body.feed(bytes(2 * WAITING))
    body.end(TRAILERS)
    assert kept_bytes(body) == 0
    body.start(attempt := Attempt())
    assert len(attempt.ends) == 1


# release


def test_release_frees_the_memory_and_the_file_of_a_live_body(disk, tmp_path):
    body = body_of(b"1", b"234", memory=1, spool=100, directory=tmp_path)
    disk[0].write(100)
    body.start(attempt := Attempt())
    disk[0].serve(100)
    body.release()
    body.feed(b"5")
    assert attempt.bytes == b"12345"
    assert kept_bytes(body) == 0
    assert disk[0].closed
    assert not body.replayable


@pytest.mark.parametrize("ends", ["comes to its end", "stops"])
def test_release_waits_for_an_attempt_that_still_reads(disk, tmp_path, ends):
    body = body_of(b"1", b"234", memory=1, spool=100, directory=tmp_path)
    disk[0].write(100)
    body.start(attempt := Attempt())
    body.release()
    assert not disk[0].closed
    if ends == "stops":
        body.stop()
    else:
        disk[0].serve(100)
        assert attempt.bytes == b"1234"
    assert disk[0].closed
    assert kept_bytes(body) == 0


def test_release_is_no_loss():
    lost = []
    body = body_of(b"1", on_lost=lambda *what: lost.append(what))
    body.start(Attempt())
    body.release()
    body.feed(bytes(1000))
    assert lost == []


def test_a_body_released_before_any_attempt_is_not_replayable():
    body = body_of(b"1")
    body.release()
    assert not body.replayable
    with pytest.raises(RuntimeError):
        body.start(Attempt())


# a disk that fails


def test_a_full_disk_lets_the_live_attempt_go_on(disk):
    lost = []
    body = body_of(
        memory=1, spool=100, directory=Path("broken"), on_lost=lambda why, received: lost.append((why, received))
    )
    body.start(attempt := Attempt())
    body.feed(b"1234")
    disk[0].write(100)
    body.feed(b"5678")
    body.end(TRAILERS)
    assert attempt.bytes == b"12345678"
    assert attempt.ends == [TRAILERS]
    assert not body.replayable
    assert lost == [("spool_failed: No space left on device", 4)]
    assert disk[0].closed


def test_a_full_disk_before_the_first_attempt_loses_no_byte(disk):
    body = body_of(b"1", b"2345", memory=1, spool=100, directory=Path("broken"))
    disk[0].write(100)
    body.feed(b"67")
    body.start(attempt := Attempt())
    body.feed(b"89")
    assert attempt.bytes == b"123456789"
    assert not body.replayable


def test_a_full_disk_after_the_limit_keeps_the_order_and_is_no_second_loss(disk):
    lost = []
    body = body_of(
        b"1", b"2345", b"67", memory=1, spool=4, directory=Path("broken"), on_lost=lambda why, _: lost.append(why)
    )
    disk[0].write(100)
    body.start(attempt := Attempt())
    assert attempt.bytes == b"1234567"
    assert lost == ["too_large"]


def test_a_full_disk_between_two_attempts_leaves_the_body_to_the_next_one(disk):
    job = Job()
    body = body_of(b"1", b"2345", job=job, memory=1, spool=100, directory=Path("broken"))
    body.start(Attempt())
    body.stop()
    disk[0].write(100)
    assert body.replayable
    assert job.paused
    body.start(last := Attempt())
    assert last.bytes == b"12345"
    assert not body.replayable
    assert not job.paused


def test_what_does_not_fit_between_two_attempts_waits_for_the_next_one():
    job = Job()
    body = body_of(b"12", job=job, memory=3)
    body.start(Attempt())
    body.stop()
    body.feed(b"345")
    body.feed(b"6")
    assert body.replayable
    assert job.paused
    body.start(last := Attempt())
    body.end(TRAILERS)
    assert last.bytes == b"123456"
    assert not body.replayable


@pytest.mark.parametrize("job_has_ended", [True, False])
def test_what_cannot_be_read_back_fails_the_attempt(disk, tmp_path, job_has_ended):
    body = body_of(b"1", b"2345", memory=1, spool=100, directory=tmp_path)
    [spool] = disk
    spool.write(100)
    if job_has_ended:
        body.end(TRAILERS)
    body.start(attempt := Attempt())
    spool.on_error(OSError(errno.EIO, "Input/output error"), b"")
    assert attempt.bytes == b"1"
    [error] = attempt.ends
    assert isinstance(error, UpstreamBroke)
    assert not body.replayable


# with the real disk


def test_a_body_on_the_real_disk_is_replayed_and_its_file_goes_with_it(tmp_path):
    @virtual_time
    async def run():
        job, pieces = Job(), [bytes([number]) * 50_000 for number in range(40)]
        body = RequestBody(job, None, memory=100_000, spool=10_000_000, directory=tmp_path)
        body.start(first := Attempt())
        for piece in pieces[:20]:
            body.feed(piece)
        body.stop()
        done = asyncio.Event()

        class Last(Attempt):
            def body_end(self, trailers):
                super().body_end(trailers)
                done.set()

        body.start(second := Last())
        for piece in pieces[20:]:
            body.feed(piece)
        body.end(TRAILERS)
        await done.wait()
        assert first.bytes == b"".join(pieces[:20])
        assert second.bytes == b"".join(pieces)
        assert body.replayable
        [spool_file] = [body._spool._file]
        body.release()
        assert spool_file.closed

    run()


def test_an_unwritable_directory_costs_only_the_repeat(tmp_path):
    @virtual_time
    async def run():
        (tmp_path / "file").write_bytes(b"")
        lost = asyncio.get_running_loop().create_future()
        body = RequestBody(
            Job(), None, memory=1, spool=100, directory=tmp_path / "file",
            on_lost=lambda why, received: lost.set_result((why, received)),
        )  # fmt: skip
        body.start(attempt := Attempt())
        body.feed(b"1234")
        assert await lost == ("spool_failed: File exists", 4)
        body.feed(b"56")
        body.end(TRAILERS)
        assert attempt.bytes == b"123456"
        assert attempt.ends == [TRAILERS]
        assert not body.replayable

    run()
