import json

import pytest

from blueprint_proxy.telemetry.call_log_reading import HEADING, Wanted, call_files, read_calls, row

CALL = {
    "at": 1_700_000_000.25, "upstream": "gemini", "operation": "generateContent", "outcome": "ok", "status": 200,
    "attempts": 2, "duration": 3.5, "queued": 0.25, "request_id": "r-1", "run": "s~j#01234567",
    "tries": [{"fault": "503", "verdict": "retryable", "duration": 0.5, "wait": 1.0}],
}  # fmt: skip


def write(directory, number, *calls):
    (directory / f"calls-{number}.jsonl").write_text("".join(f"{json.dumps(call)}\n" for call in calls))


def test_files_are_read_by_their_numbers_and_not_by_their_names(tmp_path):
    for number in (10, 9, 11):
        write(tmp_path, number, {"at": number})
    assert [call["at"] for call in read_calls(tmp_path)] == [9, 10, 11]


def test_other_files_are_left_alone(tmp_path):
    for name in ("calls-x.jsonl", "calls-1.jsonl.bak", "calls.jsonl"):
        (tmp_path / name).write_text('{"at": 1}\n')
    assert call_files(tmp_path) == []


def test_without_a_directory_there_are_no_calls(tmp_path):
    assert list(read_calls(tmp_path / "none")) == []


@pytest.mark.parametrize("line", ["", "{", "[1]", "7", '{"upstream": "gcs"}', '{"at": "soon"}', "\ufffd"])
def test_what_is_no_call_is_left_out(tmp_path, line):
    (tmp_path / "calls-0.jsonl").write_text(f'{{"at": 1}}\n{line}\n{{"at": 2}}\n')
    assert [call["at"] for call in read_calls(tmp_path)] == [1, 2]


def test_a_file_that_goes_while_others_are_read_is_passed_over(tmp_path):
    for number in (1, 2, 3):
        write(tmp_path, number, {"at": number})
    calls = read_calls(tmp_path)
    assert next(calls)["at"] == 1
    (tmp_path / "calls-2.jsonl").unlink()
    assert [call["at"] for call in calls] == [3]


@pytest.mark.parametrize(
    ("wanted", "included"),
    [
        (Wanted(), True), (Wanted(upstream="gemini"), True), (Wanted(upstream="gem"), False),
        (Wanted(outcome="ok"), True), (Wanted(outcome="failed"), False), (Wanted(run="s~j"), True),
        (Wanted(run="s~j#01234567"), True), (Wanted(run="j"), False), (Wanted(since=1_700_000_000.0), True),
        (Wanted(since=1_700_000_001.0), False), (Wanted(upstream="gemini", outcome="failed"), False),
    ],
)  # fmt: skip
def test_calls_are_chosen_by_everything_that_is_asked(wanted, included):
    assert wanted.includes(CALL) is included


def test_a_row_says_what_the_call_went_through():
    assert row(CALL) == (
        "2023-11-14T22:13:20.250 ok               200     2     3.500   0.250  "
        "gemini generateContent (503 after 0.5 s) run=s~j#01234567 request_id=r-1"
    )
    assert HEADING.index("call") == row(CALL).index("gemini")


def test_a_row_cannot_move_a_terminals_cursor():
    assert "\x1b" not in row(CALL | {"operation": "\x1b[2J"})
