"""The commands as a shell sees them, short of serving, which is in end_to_end/test_process.py."""

from __future__ import annotations

import importlib
import json
import shlex
import time
from types import SimpleNamespace

import jsonschema
import pytest
from typer.testing import CliRunner

from blueprint_proxy import __version__, cli
from blueprint_proxy.config import process_environment

ADDRESSES = "listen: {http: '127.0.0.1:18900', admin: '127.0.0.1:18901'}\n"


OURS = ("BLUEPRINT", "GEMINI", "GOOGLE", "STORAGE", "GENIESIM", "PARTICULATE")


@pytest.fixture(autouse=True)
def nothing_from_this_shell(monkeypatch):
    for name in process_environment():
        if name.startswith(OURS):
            monkeypatch.delenv(name)


@pytest.fixture
def file(tmp_path):
    def written(text):
        path = tmp_path / "proxy.yaml"
        path.write_text(text)
        return str(path)

    return written


def run(*words):
    return CliRunner().invoke(cli.cli, words, prog_name="blueprint-proxy")


def test_the_version_is_printed():
    done = run("--version")
    assert (done.exit_code, done.stdout) == (0, f"{__version__}\n")


def test_help_names_every_command_of_the_contract():
    done = run("--help")
    assert done.exit_code == 0
    for command in ("serve", "validate", "explain", "env", "status", "runs", "journal", "logs", "what-if", "demo"):
        assert f"\n  {command} " in done.stdout


@pytest.mark.parametrize("words", [["no-such-command"], ["serve", "--no-such-option"], ["explain"], []])
def test_bad_usage_is_exit_code_2_and_goes_to_stderr(words):
    done = run(*words)
    assert done.exit_code == 2
    assert "Usage: blueprint-proxy" in done.stderr + done.stdout


@pytest.mark.parametrize("words", [["journal"], ["journal", "show", "x"], ["what-if"]])
def test_a_command_that_is_not_built_fails_and_says_so(words):
    done = run(*words)
    assert (done.exit_code, done.stdout, done.stderr) == (1, "", f"{words[0]}: not built yet\n")


@pytest.fixture
def logged(file, tmp_path):
    """A configuration whose call log holds two calls: an old one that went well, and a fresh one that failed."""
    directory = tmp_path / "state" / "calls"
    directory.mkdir(parents=True)
    old = {"at": 1_700_000_000.5, "upstream": "gcs", "operation": "objects.get", "outcome": "ok", "status": 200}
    fresh = {"at": time.time(), "upstream": "gemini", "operation": "f", "outcome": "failed", "run": "s~j#01234567"}
    (directory / "calls-0.jsonl").write_text(f"{json.dumps(old)}\n{json.dumps(fresh)}\n")
    return file(f"state_dir: {tmp_path}/state\n")


def test_logs_is_a_table_of_calls(logged):
    done = run("logs", "--config", logged)
    heading, old, fresh = done.stdout.splitlines()
    assert (done.exit_code, heading.split()[0]) == (0, "began")
    assert old.startswith("2023-11-14T22:13:20.500 ok")
    assert fresh.endswith("gemini f run=s~j#01234567")


@pytest.mark.parametrize(
    ("words", "operations"),
    [
        ([], ["objects.get", "f"]), (["--upstream", "gcs"], ["objects.get"]), (["--outcome", "failed"], ["f"]),
        (["--run", "s~j"], ["f"]), (["--since", "10m"], ["f"]), (["--upstream", "gcs", "--since", "10m"], []),
    ],
)  # fmt: skip
def test_logs_prints_the_calls_that_were_asked_for(logged, words, operations):
    done = run("logs", "--json", *words, "--config", logged)
    assert [json.loads(line)["operation"] for line in done.stdout.splitlines()] == operations


@pytest.mark.parametrize(
    ("words", "said"), [(["--outcome", "good"], "there are: ok"), (["--since", "soon"], "--since")]
)
def test_logs_refuses_what_it_does_not_understand(logged, words, said):
    done = run("logs", *words, "--config", logged)
    assert (done.exit_code, done.stdout) == (2, "")
    assert said in done.stderr


def test_logs_without_a_log_is_an_empty_table(file, tmp_path):
    done = run("logs", "--config", file(f"state_dir: {tmp_path}/none\n"))
    assert (done.exit_code, len(done.stdout.splitlines())) == (0, 1)


@pytest.mark.parametrize("command", [["serve"], ["validate"], ["explain", "gcs"], ["env"], ["status"], ["runs"]])
def test_a_bad_configuration_is_exit_code_2_with_every_problem_and_its_line(file, command):
    path = file("listn: {}\ndrain:\n  grace: soon\n")
    done = run(*command, "--config", path)
    assert (done.exit_code, done.stdout) == (2, "")
    first, second = done.stderr.splitlines()
    assert first == f"{path}:1: listn: unknown key; the nearest known one is listen"
    assert second.startswith(f"{path}:3: drain.grace: must be a duration")


def test_validate_says_that_all_is_well(file):
    path = file(ADDRESSES)
    done = run("validate", "--config", path)
    assert (done.exit_code, done.stdout) == (0, f"{path}: ok, 4 upstreams\n")
    assert run("validate").stdout == "built-in configuration: ok, 4 upstreams\n"


def test_the_file_may_be_named_by_the_environment(file, monkeypatch):
    path = file(ADDRESSES)
    monkeypatch.setenv("BLUEPRINT_PROXY_CONFIG", path)
    assert run("validate").stdout.startswith(f"{path}: ok")


def test_validate_prints_a_json_schema():
    done = run("validate", "--schema")
    assert done.exit_code == 0
    schema = json.loads(done.stdout)
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate({"drain": {"grace": "5s"}}, schema, cls=jsonschema.Draft202012Validator)


def test_explain_prints_an_upstreams_policies(file):
    done = run("explain", "gcs", "--config", file("upstreams: {gcs: {deadline: 90s}}"))
    assert done.exit_code == 0
    assert "deadline" in done.stdout
    assert "90s" in done.stdout


def test_explain_of_a_call_names_its_operation():
    done = run("explain", "gcs", "get", "/storage/v1/b/x/o/y?alt=media")
    assert done.stdout.splitlines()[0].endswith(" GET /storage/v1/b/x/o/y?alt=media")
    assert done.stdout.splitlines()[0] != "gcs (kind gcs): GET /storage/v1/b/x/o/y?alt=media"


def test_explain_of_an_upstream_that_is_not_served_needs_no_operation():
    assert run("explain", "geniesim", "POST", "/x").exit_code == 0


def test_explain_takes_a_path_that_is_no_utf8():
    assert run("explain", "gcs", "GET", "/\udcff").exit_code in {0, 1}  # printing it is the terminal's business


def test_explain_of_an_unknown_upstream_names_the_known_ones():
    done = run("explain", "nobody")
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr == "no upstream 'nobody'; there are: gcs, gemini, geniesim, particulate\n"


def test_env_prints_lines_for_a_shell(file):
    done = run("env", "--config", file(ADDRESSES), "--run", "scene~job")
    assert done.exit_code == 0
    words = [shlex.split(line) for line in done.stdout.splitlines() if not line.startswith("#")]
    assert all(word[0] == "export" for word in words)
    assert ["export", "GOOGLE_GEMINI_BASE_URL=http://127.0.0.1:18900/@scene~job/gemini"] in words


def test_env_refuses_a_run_that_cannot_stand_in_a_path():
    done = run("env", "--run", "a/b")
    assert (done.exit_code, done.stdout) == (2, "")
    assert "a run's name" in done.stderr


def test_status_is_a_table_of_upstreams(monkeypatch):
    shown = {
        "name": "gcs",
        "mode": "enforce",
        "breakers": [{"state": "open"}, {"state": "closed"}, {"state": "closed"}],
        "in_flight": 3,
        "queued": 2,
        "connections": {"idle": 5},
        "url": "https://storage.googleapis.com",
    }
    asking = importlib.import_module("blueprint_proxy.admin.asking")
    monkeypatch.setattr(asking, "ask", lambda _config, path: [shown] if path == "/v1/upstreams" else None)
    done = run("status")
    assert done.exit_code == 0
    head, row = done.stdout.splitlines()
    assert head.split() == ["upstream", "mode", "breaker", "in", "flight", "queued", "idle", "url"]
    assert row.split() == ["gcs", "enforce", "closed,", "open", "3", "2", "5", "https://storage.googleapis.com"]


def test_runs_is_a_table_of_runs_and_how_they_ended(monkeypatch):
    live = {
        "id": "scene~job#00112233", "started": "2026-01-02T03:04:05.678Z", "age_s": 61.4, "state": "live",
        "outcome": None, "why": None, "exit_status": None, "signal": None,
        "calls": {"outcomes": {"ok": 5, "failed": 2}},
    }  # fmt: skip
    over = {**live, "state": "ended", "outcome": "failure", "why": "told", "calls": {"outcomes": {}}}
    shown = [live, {**over, "signal": 9}, {**over, "exit_status": 3}, {**over, "why": "process_ended"}]
    asking = importlib.import_module("blueprint_proxy.admin.asking")
    monkeypatch.setattr(asking, "ask", lambda _config, path: shown if path == "/v1/runs" else None)
    done = run("runs")
    assert done.exit_code == 0
    _, first, *ended = done.stdout.splitlines()
    assert first.split() == ["2026-01-02T03:04:05Z", "61s", "live", "-", "-", "7", "2", "scene~job#00112233"]
    assert [row[50:66].strip() for row in ended] == ["signal 9", "exit status 3", "process_ended"]


def test_status_without_a_proxy_fails_in_one_line(file):
    done = run("status", "--config", file("listen: {admin: '127.0.0.1:9'}"))
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.startswith("no proxy answers at 127.0.0.1:9: ")
    assert done.stderr.count("\n") == 1


def test_the_demos_result_is_the_exit_code(monkeypatch):
    demo = importlib.import_module("blueprint_proxy.demo")
    monkeypatch.setattr(demo, "run", lambda *, keep: 7 if keep else 3)
    assert (run("demo").exit_code, run("demo", "--keep").exit_code) == (3, 7)


def test_the_demo_without_its_extra_says_what_to_install(monkeypatch):
    def missing(name):
        raise ModuleNotFoundError(f"No module named {name}", name="google.genai")

    monkeypatch.setattr(cli, "importlib", SimpleNamespace(import_module=missing))
    done = run("demo")
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr == "the demo needs google.genai: pip install 'blueprint-proxy[demo]'\n"


def test_a_failure_that_is_no_system_error_is_not_swallowed():
    group = ExceptionGroup("both", [OSError("a"), ZeroDivisionError()])
    with pytest.raises(ExceptionGroup):
        cli._os_errors(group)
    assert [str(error) for error in cli._os_errors(ExceptionGroup("one", [OSError("a")]))] == ["a"]
