"""The commands. Exit codes: 0 ok, 1 failed, 2 bad usage or configuration."""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from blueprint_proxy import __version__
from blueprint_proxy.config import Config, ConfigError, exports, json_schema, load
from blueprint_proxy.config import explain as explain_config
from blueprint_proxy.config.units import parse_duration
from blueprint_proxy.telemetry.events import OUTCOMES

cli = typer.Typer(
    name="blueprint-proxy",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

ConfigOption = Annotated[
    Path | None, typer.Option("--config", help="The YAML file; without one, built-in values and the environment.")
]


@cli.callback(invoke_without_command=True)
def root(version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False) -> None:  # noqa: FBT002 -- typer's way to a flag
    """The reliability sidecar of robot-simulation jobs: it owns every call a job makes to the outside."""
    if version:
        typer.echo(__version__)
        raise typer.Exit


@cli.command()
def serve(config: ConfigOption = None) -> None:
    """Run the proxy until SIGTERM or SIGINT."""
    import uvloop  # noqa: PLC0415 -- the other commands need no event loop

    from blueprint_proxy.app import App  # noqa: PLC0415
    from blueprint_proxy.secrets.hardening import harden  # noqa: PLC0415

    not_hardened = harden()  # before any secret is read
    loaded = _load(config)

    async def run() -> bool:
        return await App(loaded, not_hardened=not_hardened).run()

    try:
        uvloop.run(run())
    except OSError as failed:
        _fail(str(failed), 1)
    except ExceptionGroup as group:
        _fail("; ".join(str(error) for error in _os_errors(group)), 1)


@cli.command()
def validate(
    config: ConfigOption = None,
    schema: Annotated[bool, typer.Option("--schema", help="Print the file's JSON Schema instead.")] = False,  # noqa: FBT002
) -> None:
    """Say every problem of a configuration, each with its line."""
    if schema:
        typer.echo(json.dumps(json_schema(), indent=2))
        return
    loaded = _load(config)
    source = loaded.source or "built-in configuration"
    typer.echo(f"{source}: ok, {len(loaded.upstreams)} upstreams")


@cli.command()
def explain(
    name: Annotated[str, typer.Argument(help="The upstream.")],
    method: Annotated[str | None, typer.Argument(help="GET, POST, ...")] = None,
    path: Annotated[str | None, typer.Argument(help="The path and query under the upstream's url.")] = None,
    config: ConfigOption = None,
) -> None:
    """Print each policy of an upstream or of one call, and where its value comes from."""
    loaded = _load(config)
    if name not in loaded.upstreams:
        _fail(f"no upstream {name!r}; there are: {', '.join(sorted(loaded.upstreams))}", 2)
    operation = ""
    if method is not None:
        operation = _operation(loaded, name, method.upper(), path or "/")
    typer.echo(explain_config(loaded, name, method and method.upper(), path, operation), nl=False)


@cli.command()
def env(
    run: Annotated[str | None, typer.Option("--run", help="The run that the calls belong to.")] = None,
    config: ConfigOption = None,
) -> None:
    """Print shell exports that point stock SDKs at the proxy."""
    try:
        for line in exports(_load(config), run):
            typer.echo(line)
    except ValueError as problem:
        _fail(str(problem), 2)


@cli.command()
def status(config: ConfigOption = None) -> None:
    """Print the upstreams of a running proxy: breakers, calls in flight, connections."""
    from blueprint_proxy.admin.asking import ask  # noqa: PLC0415 -- brings an HTTP client along

    loaded = _load(config)
    try:
        upstreams = ask(loaded, "/v1/upstreams")
    except OSError as error:
        _fail(str(error), 1)
    typer.echo(f"{'upstream':<16}{'mode':<10}{'breaker':<14}{'in flight':>10}{'queued':>8}{'idle':>6}  url")
    for upstream in upstreams:
        breaker = ", ".join(sorted({shown["state"] for shown in upstream["breakers"]})) or "closed"
        typer.echo(
            f"{upstream['name']:<16}{upstream['mode']:<10}{breaker:<14}{upstream['in_flight']:>10}"
            f"{upstream['queued']:>8}{upstream['connections']['idle']:>6}  {upstream['url']}"
        )


@cli.command()
def runs(config: ConfigOption = None) -> None:
    """List the runs of a running proxy: those that live, and how the last ones ended."""
    from blueprint_proxy.admin.asking import ask  # noqa: PLC0415 -- brings an HTTP client along

    loaded = _load(config)
    try:
        shown = ask(loaded, "/v1/runs")
    except OSError as error:
        _fail(str(error), 1)
    typer.echo(
        f"{'started':<21}{'lasts':>9}  {'state':<9}{'outcome':<11}{'ended by':<18}{'calls':>7}{'not ok':>7}  run"
    )
    for run in shown:
        outcomes = run["calls"]["outcomes"]
        calls = sum(outcomes.values())
        started = f"{run['started'][:19]}Z"
        typer.echo(
            f"{started:<21}{run['age_s']:>8.0f}s  {run['state']:<9}{run['outcome'] or '-':<11}{_ended_by(run):<18}"
            f"{calls:>7}{calls - outcomes.get('ok', 0):>7}  {run['id']}"
        )


def _ended_by(run: dict[str, Any]) -> str:
    if run["signal"] is not None:
        return f"signal {run['signal']}"
    return f"exit status {run['exit_status']}" if run["exit_status"] is not None else run["why"] or "-"


@cli.command()
def logs(
    *,
    upstream: Annotated[str | None, typer.Option("--upstream", help="Only calls to this upstream.")] = None,
    outcome: Annotated[str | None, typer.Option("--outcome", help=f"Only these: {', '.join(OUTCOMES)}.")] = None,
    run: Annotated[str | None, typer.Option("--run", help="Only calls of this run: SCENE~JOB, or its name.")] = None,
    since: Annotated[str | None, typer.Option("--since", help="Only the last 10m, 2h, ...")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print each call as JSON.")] = False,
    config: ConfigOption = None,
) -> None:
    """Print the call log: every call of the last days, up to the last second."""
    from blueprint_proxy.telemetry.call_log_reading import CALLS, HEADING, Wanted, read_calls, row  # noqa: PLC0415

    directory = _load(config).state_dir / CALLS
    if outcome is not None and outcome not in OUTCOMES:
        _fail(f"no outcome {outcome!r}; there are: {', '.join(OUTCOMES)}", 2)
    try:
        after = None if since is None else time.time() - parse_duration(since)
    except ValueError as problem:
        _fail(f"--since: {problem}", 2)
    try:
        if not as_json:
            typer.echo(HEADING)
        for call in read_calls(directory, Wanted(upstream, outcome, run, after)):
            typer.echo(json.dumps(call) if as_json else row(call))
    except BrokenPipeError:
        raise  # `| head` has seen enough; typer ends quietly
    except OSError as error:
        _fail(f"the call log in {directory} cannot be read: {error.strerror or error}", 1)


@cli.command()
def demo(
    keep: Annotated[bool, typer.Option("--keep", help="Leave the proxy and the stand-ins running.")] = False,  # noqa: FBT002
) -> None:
    """Run a small scene job through real SDKs while the upstreams misbehave, and show what happened."""
    try:
        module = importlib.import_module("blueprint_proxy.demo")
    except ModuleNotFoundError as missing:
        _fail(f"the demo needs {missing.name}: pip install 'blueprint-proxy[demo]'", 1)
    raise typer.Exit(module.run(keep=keep))


def _not_built(name: str, what: str) -> None:
    def command() -> None:
        _fail(f"{name}: not built yet", 1)

    command.__doc__ = f"{what} (not built yet)."
    cli.command(name, context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(command)


_not_built("journal", "List, show and move what was paid for")
_not_built("what-if", "Replay the call log against other policies")


def _load(file: Path | None) -> Config:
    try:
        return load(file)
    except ConfigError as error:
        _fail(str(error), 2)


def _os_errors(group: ExceptionGroup[Exception]) -> list[OSError]:
    """The group's errors, when all of them are the system's; anything else is a defect and goes on."""
    errors = [error for error in group.exceptions if isinstance(error, OSError)]
    if len(errors) != len(group.exceptions):
        raise group
    return errors


def _operation(config: Config, name: str, method: str, path: str) -> str:
    from blueprint_proxy.http1.fields import Fields  # noqa: PLC0415
    from blueprint_proxy.http1.heads import RequestHead  # noqa: PLC0415
    from blueprint_proxy.upstreams.building import KINDS  # noqa: PLC0415

    kind = KINDS.get(config.upstreams[name].kind)
    target = os.fsencode(path)
    return "" if kind is None else kind.operation(RequestHead(method, target, 1, Fields()), target).name


def _fail(message: str, code: int) -> NoReturn:
    typer.echo(message, err=True)
    raise typer.Exit(code)


def main() -> Any:
    """The console script."""
    return cli(prog_name="blueprint-proxy")


if __name__ == "__main__":
    sys.exit(main())
