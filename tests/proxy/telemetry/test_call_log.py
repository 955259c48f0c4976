import asyncio
import errno
import json
import os
import stat
import threading

import pytest

from blueprint_proxy.telemetry import events
from blueprint_proxy.telemetry.call_log import FILE_SIZE, FILES, CallFiles, CallLog
from blueprint_proxy.telemetry.call_log_reading import call_files, read_calls
from blueprint_proxy.telemetry.redaction import Redactor
from support.scripted_upstream import Heard

NOW = 1_700_000_000.0


def a_call(**given):
    plain = events.CallFinished(
        "gcs", "objects.get", "ok", 200, None, 1, 0.25, "0123456789ab-1f", None, 0, 7, "upstream"
    )
    return plain._replace(**given)


class Wall:
    def __init__(self):
        self.now = NOW

    def __call__(self):
        return self.now


class Staged:
    """A call log under test, attached to a telemetry that is listened to."""

    def __init__(self, directory, **given):
        self.directory = directory / "calls"
        self.heard = Heard()
        self.wall = Wall()
        self.log = CallLog(self.directory, wall=self.wall, **given)
        self.log.attach(self.heard.telemetry)

    def call(self, count=1, **given):
        for _ in range(count):
            self.heard.telemetry.emit(a_call(**given))

    async def flush(self):
        self.log.flush()
        if self.log._writing is not None:
            await asyncio.wait([self.log._writing])

    def logged(self):
        return list(read_calls(self.directory))

    def trouble(self):
        return [event for event in self.heard.events if event.name.startswith("call_log")]


def played(tmp_path, play, **given):
    async def run():
        staged = Staged(tmp_path, **given)
        try:
            await play(staged)
        finally:
            await staged.log.close()
        return staged

    return asyncio.run(run())


def test_a_call_is_a_line_with_what_is_known_of_it(tmp_path):
    async def play(staged):
        staged.call(
            outcome="failed", status=503, reason="attempts_exhausted", attempts=2, run="s~j#01234567", bytes_in=3,
            repeatable=True, deadline=30.0, queued=0.5, trace="ab" * 16,
            tries=(events.Try("503", "retryable", 0.125, 1.5), events.Try("503", "retryable", 0.25, None)),
        )  # fmt: skip

    assert played(tmp_path, play).logged() == [
        {
            "at": NOW - 0.25, "upstream": "gcs", "operation": "objects.get", "outcome": "failed", "status": 503,
            "attempts": 2, "duration": 0.25, "bytes_in": 3, "bytes_out": 7, "source": "upstream",
            "request_id": "0123456789ab-1f", "reason": "attempts_exhausted", "repeatable": True, "queued": 0.5,
            "deadline": 30.0, "run": "s~j#01234567", "trace": "ab" * 16,
            "tries": [
                {"fault": "503", "verdict": "retryable", "duration": 0.125, "wait": 1.5},
                {"fault": "503", "verdict": "retryable", "duration": 0.25, "wait": None},
            ],
        }
    ]  # fmt: skip


def test_what_is_not_there_is_left_out(tmp_path):
    async def play(staged):
        staged.call()

    assert set(played(tmp_path, play).logged()[0]) == {
        "at", "upstream", "operation", "outcome", "status", "attempts", "duration", "bytes_in", "bytes_out", "source",
        "request_id",
    }  # fmt: skip


def test_every_line_is_json_whatever_a_job_calls_its_operations(tmp_path):
    async def play(staged):
        staged.call(operation='"},\n{"\u2028ü', request_id="job.1", run='a"b')

    call = played(tmp_path, play).logged()[0]
    assert (call["operation"], call["run"]) == ('"},\n{"\u2028ü', 'a"b')


def test_no_credential_that_a_job_put_into_a_name_is_written(tmp_path):
    redactor = Redactor()
    redactor.register_secret("hunter2hunter2")

    async def play(staged):
        staged.call(operation="f hunter2hunter2", request_id="hunter2hunter2", run="s~hunter2hunter2")

    staged = played(tmp_path, play, redact=redactor.text)
    written = b"".join(path.read_bytes() for _, path in call_files(staged.directory))
    assert b"hunter2" not in written


def test_the_log_is_for_its_user_alone(tmp_path):
    async def play(staged):
        staged.call()

    directory = played(tmp_path, play).directory
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert [stat.S_IMODE(path.stat().st_mode) for _, path in call_files(directory)] == [0o600]


def test_nothing_is_made_before_there_is_a_call(tmp_path):
    async def play(staged):
        await staged.flush()

    assert not played(tmp_path, play).directory.exists()


def test_calls_wait_in_memory_until_the_flush(tmp_path):
    async def play(staged):
        staged.call(3)
        assert staged.logged() == []
        await staged.flush()
        assert len(staged.logged()) == 3

    played(tmp_path, play)


def test_the_end_writes_what_came_during_the_last_write(tmp_path):
    async def play(staged):
        staged.call()
        staged.log.flush()
        staged.call()

    assert len(played(tmp_path, play).logged()) == 2


def test_more_calls_than_are_kept_are_dropped_and_said_once_a_minute(tmp_path):
    async def play(staged):
        staged.call(5)
        await staged.flush()
        assert staged.trouble() == [events.CallLogDropped(3)]
        staged.call(4)
        staged.wall.now += 59
        await staged.flush()
        assert staged.trouble() == [events.CallLogDropped(3)]
        staged.wall.now += 1
        await staged.flush()
        assert staged.trouble() == [events.CallLogDropped(3), events.CallLogDropped(2)]

    assert len(played(tmp_path, play, buffer=2).logged()) == 4


def test_what_was_dropped_last_is_said_at_the_end(tmp_path):
    async def play(staged):
        staged.call(3)
        await staged.flush()
        staged.call(4)

    staged = played(tmp_path, play, buffer=2)
    assert staged.trouble() == [events.CallLogDropped(1), events.CallLogDropped(2)]


def test_while_a_write_takes_long_memory_stays_bounded(tmp_path, monkeypatch):
    going, written = threading.Event(), os.write

    def slow(file, data):
        going.wait(20)
        return written(file, data)

    async def play(staged):
        monkeypatch.setattr(os, "write", slow)
        staged.call(2)
        staged.log.flush()
        staged.call(10)
        staged.log.flush()
        assert len(staged.log._kept) == 3
        going.set()

    assert len(played(tmp_path, play, buffer=3).logged()) == 5


def test_a_full_disk_is_said_once_and_survived(tmp_path, monkeypatch):
    written = os.write

    def full(file, data):
        written(file, data[:10])
        raise OSError(errno.ENOSPC, "No space left on device")

    async def play(staged):
        staged.call()
        await staged.flush()
        monkeypatch.setattr(os, "write", full)
        for _ in range(3):
            staged.call(2)
            await staged.flush()
        assert [event for event in staged.trouble() if event.name == "call_log_failed"] == [
            events.CallLogFailed("No space left on device")
        ]
        monkeypatch.setattr(os, "write", written)
        staged.call()
        await staged.flush()
        assert len(staged.logged()) == 2
        monkeypatch.setattr(os, "write", full)
        staged.call()
        await staged.flush()
        monkeypatch.setattr(os, "write", written)

    staged = played(tmp_path, play)
    assert sum(event.name == "call_log_failed" for event in staged.trouble()) == 2
    assert sum(event.count for event in staged.trouble() if event.name == "call_log_dropped") == 7
    assert all(b'"at"' in line for _, path in call_files(staged.directory) for line in path.read_bytes().splitlines())


def test_a_directory_that_cannot_be_made_is_survived_too(tmp_path):
    (tmp_path / "calls").write_text("a file")

    async def play(staged):
        staged.call()

    assert [event.name for event in played(tmp_path, play).trouble()] == ["call_log_failed", "call_log_dropped"]


def test_another_directory_is_taken_from_the_next_write_on(tmp_path):
    async def play(staged):
        staged.call()
        await staged.flush()
        staged.log.move(tmp_path / "elsewhere")
        staged.call(2)

    assert len(played(tmp_path, play).logged()) == 1
    assert len(list(read_calls(tmp_path / "elsewhere"))) == 2


def files(directory, **given):
    return CallFiles(directory, **{"files": 3, "file_size": 100, **given})


def sizes(directory):
    return [(number, path.stat().st_size) for number, path in call_files(directory)]


def test_a_full_file_is_followed_by_the_next_and_the_oldest_goes(tmp_path):
    log = files(tmp_path)
    for _ in range(9):
        log.write(b"x" * 39 + b"\n")
    log.close()
    assert sizes(tmp_path) == [(2, 80), (3, 80), (4, 40)]


def test_all_files_together_stay_within_the_bound(tmp_path):
    log = files(tmp_path)
    for length in range(1, 99):
        log.write(b"x" * length + b"\n")
        assert sum(size for _, size in sizes(tmp_path)) <= 300
    log.close()
    assert FILES * FILE_SIZE == 64 * 1024 * 1024


def test_a_new_process_goes_on_in_the_last_file(tmp_path):
    for _ in range(2):
        log = files(tmp_path)
        log.write(b'{"at": 1}\n')
        log.close()
    assert [number for number, _ in sizes(tmp_path)] == [0]
    assert len(list(read_calls(tmp_path))) == 2


def test_a_line_that_a_dying_process_left_half_written_spoils_no_other(tmp_path):
    (tmp_path / "calls-4.jsonl").write_bytes(b'{"at": 1}\n{"at": 2, "upst')
    log = files(tmp_path)
    log.write(b'{"at": 3}\n')
    log.close()
    assert [call["at"] for call in read_calls(tmp_path)] == [1, 3]


def test_a_symbolic_link_in_the_place_of_the_file_is_not_followed(tmp_path):
    target = tmp_path / "precious"
    target.write_text("kept")
    directory = tmp_path / "calls"
    directory.mkdir()
    (directory / "calls-0.jsonl").symlink_to(target)
    with pytest.raises(OSError, match="symbolic"):
        files(directory).write(b"{}\n")
    assert target.read_text() == "kept"


def test_lines_are_json_that_other_tools_read(tmp_path):
    async def play(staged):
        staged.call(2)

    staged = played(tmp_path, play)
    lines = (staged.directory / "calls-0.jsonl").read_text().splitlines()
    assert [json.loads(line)["status"] for line in lines] == [200, 200]
