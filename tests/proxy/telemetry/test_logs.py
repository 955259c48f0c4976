import asyncio
import io
import json
import logging
import subprocess
import sys

import pytest

from blueprint_proxy.telemetry import events
from blueprint_proxy.telemetry.logs import MOST_PER_SECOND, MOST_WINDOWS, WORDINGS, Logs, StandardLogging
from blueprint_proxy.telemetry.redaction import MASK, Redactor
from blueprint_proxy.telemetry.stream import Telemetry
from support.event_samples import a_sample

REFUSED = events.CallRefused("gemini", "generate", "r-1", "breaker_open", 1.5)


class Wall:
    """Seconds since 1970, told by the test."""

    def __init__(self):
        self.now = 1_700_000_000.25

    def __call__(self):
        return self.now


@pytest.fixture
def wall():
    return Wall()


@pytest.fixture
def stream():
    return io.StringIO()


@pytest.fixture
def logs(stream, wall):
    return Logs(stream, Redactor(), wall=wall)


def lines(stream):
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_is_json_with_the_fields_that_cloud_logging_knows(logs, stream):
    logs.event(REFUSED)
    assert lines(stream) == [
        {
            "severity": "WARNING",
            "time": "2023-11-14T22:13:20.250000Z",
            "message": "gemini generate: refused: breaker_open",
            "event": "call_refused",
            "upstream": "gemini",
            "operation": "generate",
            "request_id": "r-1",
            "reason": "breaker_open",
            "retry_after": 1.5,
            "advice": "the README's table of refusals says what each reason asks for",
        }
    ]


@pytest.mark.parametrize("kind", WORDINGS, ids=lambda kind: kind.name)
def test_a_line_names_its_call_and_a_warning_says_what_to_do(kind):
    wording, fields = WORDINGS[kind], set(a_sample(kind).to_dict())
    assert "{upstream}" in wording.message or "upstream" not in fields
    assert "{operation}" in wording.message or "operation" not in fields
    if wording.severity != "INFO":
        assert wording.advice


def test_every_event_type_has_a_wording_that_its_fields_fill(logs, stream):
    assert set(WORDINGS) == set(events.ALL)
    for kind in events.ALL:
        logs.event(a_sample(kind))
    assert [line["event"] for line in lines(stream)] == [kind.name for kind in events.ALL]


def test_an_events_own_message_is_kept_beside_the_lines(logs, stream):
    logs.event(events.BadRequest("tcp", 400, "two hosts"))
    [line] = lines(stream)
    assert line["message"] == "bad request over tcp, answered 400: two hosts"
    assert line["detail"] == "two hosts"


@pytest.mark.parametrize(
    ("outcome", "written"),
    [
        ("ok", 0), ("client_error", 0), ("cancelled", 0), ("refused", 0),
        ("failed", 1), ("throttled", 1), ("truncated", 0), ("deadline", 1),
    ],
)  # fmt: skip
def test_of_calls_only_those_that_ended_badly_are_written(logs, stream, outcome, written):
    telemetry = Telemetry()
    logs.attach(telemetry)
    telemetry.emit(events.CallFinished("gcs", "get", outcome, 503, None, 1, 0.1, "r-1", None, 0, 0, "upstream"))
    assert len(lines(stream)) == written


def test_an_attached_log_writes_every_other_event_once(logs, stream):
    telemetry = Telemetry()
    logs.attach(telemetry)
    for kind in events.ALL:
        if kind is not events.CallFinished:
            telemetry.emit(a_sample(kind))
    assert len(lines(stream)) == len(events.ALL) - 1


def test_a_storm_is_cut_and_its_rest_counted_in_the_next_second(logs, stream, wall):
    for _ in range(MOST_PER_SECOND + 30):
        logs.event(REFUSED)
    assert len(lines(stream)) == MOST_PER_SECOND
    wall.now += 1
    logs.event(REFUSED)
    summary, last = lines(stream)[MOST_PER_SECOND:]
    assert (summary["suppressed"], summary["upstream"], summary["event"]) == (30, "gemini", "call_refused")
    assert "suppressed" not in last


def test_a_storm_about_one_upstream_hides_nothing_of_another(logs, stream):
    for _ in range(MOST_PER_SECOND + 1):
        logs.event(REFUSED)
    logs.event(events.CallRefused("gcs", "get", "r-2", "overloaded", None))
    logs.event(events.ReplyTruncated("gemini", "generate", "r-3", 10))
    assert [line["event"] for line in lines(stream)[-2:]] == ["call_refused", "reply_truncated"]


def test_upstreams_without_end_do_not_fill_the_memory(logs):
    for number in range(MOST_WINDOWS + 100):
        logs.event(events.ReplyTruncated(f"up-{number}", "get", "r-1", 10))
    assert len(logs._windows) == MOST_WINDOWS + 1


def test_a_flush_writes_what_a_storm_left_out(logs, stream):
    for _ in range(MOST_PER_SECOND + 2):
        logs.event(REFUSED)
    logs.flush()
    logs.flush()
    assert [line.get("suppressed") for line in lines(stream)[MOST_PER_SECOND:]] == [2]


def test_a_clock_that_was_set_back_does_not_silence_the_log(logs, stream, wall):
    for _ in range(MOST_PER_SECOND):
        logs.event(REFUSED)
    wall.now -= 3600
    logs.event(REFUSED)
    assert len(lines(stream)) == MOST_PER_SECOND + 1


def test_a_credential_in_any_field_is_masked(stream, wall):
    redactor = Redactor()
    redactor.register_secret("hunter2-the-second")
    logs = Logs(stream, redactor, wall=wall)
    logs.event(events.SpoolFailed("http://h/x?key=abc and hunter2-the-second"))
    assert "hunter2" not in stream.getvalue()
    assert "abc" not in stream.getvalue()
    assert MASK in lines(stream)[0]["reason"]


def test_the_id_of_a_missing_credential_is_shown(logs, stream):
    logs.event(events.CredentialMissing("gemini", "gemini-api-key", "looked in file /k (nothing there)"))
    assert lines(stream)[0]["secret_id"] == "gemini-api-key"
    assert lines(stream)[0]["message"] == (
        "gemini: calls are refused for want of gemini-api-key (looked in file /k (nothing there))"
    )


def test_a_very_long_field_is_cut(logs, stream):
    logs.event(events.SpoolFailed("x" * 1_000_000))
    assert len(stream.getvalue()) < 50_000


def test_the_short_form_is_one_readable_line(stream, wall):
    Logs(stream, Redactor(), console=True, wall=wall).event(REFUSED)
    text = stream.getvalue()
    assert text.startswith("22:13:20.250 WARNING  gemini generate: refused: breaker_open  ")
    assert "request_id=r-1" in text
    assert text.count("\n") == 1


def test_a_message_can_neither_fake_a_line_nor_command_a_terminal(stream, wall):
    for console in (True, False):
        Logs(stream, Redactor(), console=console, wall=wall).event(events.SpoolFailed("first\nsecond\x1b[2J"))
    assert stream.getvalue().count("\n") == 2
    assert "\x1b" not in stream.getvalue()


def test_a_stream_that_cannot_be_written_fails_no_call(wall):
    class Broken(io.StringIO):
        def write(self, text):
            raise BrokenPipeError

    logs = Logs(Broken(), Redactor(), wall=wall)
    logs.event(REFUSED)
    assert logs.lost == 1


def test_what_libraries_log_comes_out_in_the_same_form(logs, stream):
    handler = StandardLogging(logs)
    failure = ValueError("url http://h/?key=abc")
    record = logging.LogRecord("asyncio", logging.ERROR, "x.py", 1, "task %d failed", (7,), (ValueError, failure, None))
    handler.handle(record)
    [line] = lines(stream)
    assert (line["severity"], line["message"], line["logger"]) == ("ERROR", "task 7 failed", "asyncio")
    assert line["stack_trace"] == "ValueError: url http://h/?key=[redacted]\n"


def test_logging_loads_no_rich_and_leaves_it_importable():
    program = """
import sys, blueprint_proxy.telemetry.logs
loaded = 'rich' in sys.modules or 'pygments' in sys.modules
import rich
sys.exit(loaded)
"""
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_a_cancellation_that_a_library_reports_as_an_error_is_no_line(logs, stream):
    record = logging.LogRecord(
        "uvicorn.error",
        logging.ERROR,
        "x.py",
        1,
        "Exception",
        (),
        (asyncio.CancelledError, asyncio.CancelledError(), None),
    )
    StandardLogging(logs).handle(record)
    assert lines(stream) == []
