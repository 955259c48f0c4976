"""The text of the images and of the compose file, without any engine: well formed, and true to the program."""

from __future__ import annotations

import ast
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import blueprint_proxy
from blueprint_proxy.config import exports, load
from blueprint_proxy.config.units import parse_duration
from blueprint_proxy.demo.faults import faults_from_json
from support.containers import BASE, IMAGES

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = ROOT / "Dockerfile"
PROMETHEUS_IMAGE = ROOT / "deploy" / "prometheus" / "Containerfile"
COMPOSE = ROOT / "docker-compose.yml"
PROMETHEUS = ROOT / "deploy" / "prometheus" / "prometheus.yml"
SIDECAR = ROOT / "deploy" / "examples" / "compose.yaml"
BIN = Path(sys.executable).parent

SERVICES = ("network", "blueprint-proxy", "job", "gcs", "gemini", "prometheus")
STAND_INS = ("gcs", "gemini")


def checked(*command: str | Path) -> None:
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"


def composed() -> dict:
    """docker-compose.yml with every variable at its default."""
    text = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", COMPOSE.read_text(encoding="utf-8"))
    return yaml.safe_load(text)


def instructions(file: Path, *, stage: str | None = None) -> list[tuple[str, str]]:
    """(INSTRUCTION, the rest) of a Dockerfile, or of one of its stages."""
    lines = [line for line in file.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    whole = "\n".join(lines).replace("\\\n", " ")
    found = [(word, rest.strip()) for word, _, rest in (line.partition(" ") for line in whole.splitlines() if line)]
    if stage is None:
        return found
    starts = [number for number, (word, _) in enumerate(found) if word == "FROM"]
    begin = next(number for number in starts if found[number][1].endswith(f" AS {stage}"))
    end = next((number for number in starts if number > begin), len(found))
    return found[begin:end]


def only(file: Path, word: str, stage: str | None = None) -> str:
    (rest,) = (rest for found, rest in instructions(file, stage=stage) if found == word)
    return rest


def environment(stage: str) -> dict[str, str]:
    return dict(pair.partition("=")[::2] for pair in shlex.split(only(DOCKERFILE, "ENV", stage)))


def flag(service: str, name: str) -> str | None:
    words = composed()["services"][service]["command"]
    return next((word.partition("=")[2] for word in words if word.startswith(f"--{name}=")), None)


def test_the_compose_file_fits_the_compose_specification():
    checked(BIN / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", COMPOSE)


@pytest.mark.parametrize("file", [DOCKERFILE, PROMETHEUS_IMAGE], ids=lambda file: file.name)
def test_hadolint_finds_nothing(file):
    checked(BIN / "hadolint", "--no-color", file)


@pytest.mark.parametrize("file", [DOCKERFILE, PROMETHEUS_IMAGE], ids=lambda file: file.name)
def test_every_image_stands_on_the_same_base(file):
    found = instructions(file)
    assert found[0] == ("ARG", f"BASE={BASE}")
    assert {rest.partition(" AS ")[0] for word, rest in found if word == "FROM"} == {"${BASE}"}


def test_the_health_check_asks_where_the_admin_listener_is_by_default():
    words = only(DOCKERFILE, "HEALTHCHECK", "proxy").partition("CMD ")[2]
    program = json.loads(words)[-1]
    call = next(node for node in ast.walk(ast.parse(program)) if isinstance(node, ast.Call) and node.args)
    host, port = (ast.literal_eval(argument) for argument in call.args)
    assert f"{host}:{port}" == str(load(None, {}).listen.admin)
    assert "'/livez'" in program


def test_the_built_in_state_dir_leads_to_the_volume():
    home = environment("proxy")["HOME"]
    built_in = load(None, {}).state_dir.relative_to(Path.home())
    text = " ".join(rest for word, rest in instructions(DOCKERFILE, stage="proxy") if word == "RUN")
    assert f"ln -s /var/lib/blueprint-proxy {home}/{built_in}" in text
    assert "state:/var/lib/blueprint-proxy" in composed()["services"]["blueprint-proxy"]["volumes"]


def test_the_configuration_that_the_image_names_is_in_it_and_changes_nothing():
    source, target = next(
        rest.split() for word, rest in instructions(DOCKERFILE, stage="proxy") if word == "COPY" and "--" not in rest
    )
    assert environment("proxy")["BLUEPRINT_PROXY_CONFIG"] == target == "/etc/blueprint-proxy/config.yaml"
    ours, built_in = load(ROOT / source, {}), load(None, {})
    assert (ours.listen, ours.state_dir, set(ours.upstreams)) == (
        built_in.listen,
        built_in.state_dir,
        set(built_in.upstreams),
    )


@pytest.mark.parametrize("stage", ["demo", "proxy"])
def test_a_final_stage_is_not_root_and_says_the_version(stage):
    assert only(DOCKERFILE, "USER", stage) == "65532:65532"
    labels = dict(pair.partition("=")[::2] for pair in shlex.split(only(DOCKERFILE, "LABEL", stage)))
    assert labels["org.opencontainers.image.version"] == blueprint_proxy.__version__


def test_a_plain_build_makes_the_sidecar():
    assert [rest for word, rest in instructions(DOCKERFILE) if word == "FROM"][-1].endswith(" AS proxy")
    assert json.loads(only(DOCKERFILE, "ENTRYPOINT", "proxy")) == ["blueprint-proxy"]
    assert json.loads(only(DOCKERFILE, "CMD", "proxy")) == ["serve"]
    assert only(DOCKERFILE, "STOPSIGNAL", "proxy") == "SIGTERM"


def test_every_requirement_in_an_image_is_checked_by_hash():
    runs = [rest for word, rest in instructions(DOCKERFILE) if word == "RUN"]
    from_locks = [rest for rest in runs if " -r " in rest]
    assert len(from_locks) == 3
    assert all("--require-hashes" in rest for rest in from_locks)
    others = [rest for rest in runs if "pip" in rest and rest not in from_locks]
    assert all("--no-deps" in rest for rest in others)


def test_all_that_is_copied_is_let_through_by_the_ignore_file():
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    let_through = {line[1:] for line in lines if line.startswith("!")}
    copied = {
        source
        for word, rest in instructions(DOCKERFILE)
        if word == "COPY" and "--from" not in rest
        for source in rest.split()[:-1]
    }
    assert "*" in lines
    assert all(any(Path(source).is_relative_to(allowed) for allowed in let_through) for source in copied)
    assert all((ROOT / source).exists() for source in copied)


def test_the_compose_file_has_these_services():
    assert tuple(composed()["services"]) == SERVICES


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_cannot_write_to_its_image_has_no_capability_and_gains_none(service):
    settings = composed()["services"][service]
    assert settings["read_only"] is True
    assert settings["cap_drop"] == ["ALL"]
    assert settings["security_opt"] == ["no-new-privileges:true"]
    assert not {"privileged", "cap_add", "user", "pid", "ipc"} & set(settings)


def test_each_image_is_built_by_one_service_as_the_tests_build_it():
    services = composed()["services"].values()
    built = [(settings["image"].partition(":")[0], settings["build"]) for settings in services if "build" in settings]
    assert {settings["image"].partition(":")[0] for settings in services} == set(IMAGES)
    assert sorted(image for image, _ in built) == sorted(IMAGES)
    for image, build in built:
        context, *options = IMAGES[image]
        assert build["context"] == context
        assert options == ([f"--target={build['target']}"] if "target" in build else [])
        assert (ROOT / context / build.get("dockerfile", "Dockerfile")).is_file()


def test_all_share_the_namespace_of_one_service_that_opens_ports_on_loopback_only():
    services = composed()["services"]
    assert {settings.get("network_mode") for name, settings in services.items() if name != "network"} == {
        "service:network"
    }
    assert [name for name, settings in services.items() if "ports" in settings] == ["network"]
    assert all(port.startswith("127.0.0.1:") for port in services["network"]["ports"])


def test_the_job_waits_for_health_and_everything_it_needs():
    needs = composed()["services"]["job"]["depends_on"]
    assert {name: how["condition"] for name, how in needs.items()} == dict.fromkeys(
        ("blueprint-proxy", *STAND_INS), "service_healthy"
    )


def test_the_sidecar_has_longer_than_its_drain():
    grace = parse_duration(composed()["services"]["blueprint-proxy"]["stop_grace_period"])
    assert grace > load(SIDECAR, {}).drain.grace


def test_the_jobs_environment_is_what_the_env_command_prints():
    printed = [shlex.split(line)[1] for line in exports(load(SIDECAR, {})) if line.startswith("export ")]
    assert composed()["services"]["job"]["environment"] == dict(pair.partition("=")[::2] for pair in printed)


@pytest.mark.parametrize("service", STAND_INS)
def test_a_stand_in_listens_where_the_sidecar_looks_for_it(service):
    assert str(load(SIDECAR, {}).upstreams[service].url) == f"http://127.0.0.1:{flag(service, 'port')}"
    assert f"('127.0.0.1', {flag(service, 'port')})" in composed()["services"][service]["healthcheck"]["test"][-1]


@pytest.mark.parametrize("service", STAND_INS)
def test_a_stand_in_fails_by_a_script_that_it_can_read(service):
    assert faults_from_json(flag(service, "faults") or "")
    assert "--only-through-proxy" in composed()["services"][service]["command"]


def test_the_key_is_a_file_that_the_job_does_not_get():
    compose = composed()
    (secret,) = compose["secrets"].items()
    assert (ROOT / secret[1]["file"]).is_file()
    place = f"/run/secrets/{secret[0]}"
    assert f"file {place}" in str(load(SIDECAR, {}).upstreams["gemini"].credential)
    assert flag("gemini", "key-file") == place
    assert "secrets" not in compose["services"]["job"]


def test_every_file_that_is_mounted_exists_and_is_read_only():
    mounted = [
        volume
        for settings in composed()["services"].values()
        for volume in settings.get("volumes", ())
        if "./" in volume
    ]
    assert mounted
    for volume in mounted:
        source, _, mode = volume.split(":")
        assert (ROOT / source).is_file()
        assert mode == "ro"


def test_prometheus_scrapes_the_admin_listener_and_is_published_where_it_listens():
    jobs = {job["job_name"]: job for job in yaml.safe_load(PROMETHEUS.read_text(encoding="utf-8"))["scrape_configs"]}
    assert jobs["blueprint-proxy"]["static_configs"] == [{"targets": [str(load(None, {}).listen.admin)]}]
    assert "metrics_path" not in jobs["blueprint-proxy"]
    (own,) = jobs["prometheus"]["static_configs"][0]["targets"]
    assert composed()["services"]["network"]["ports"][0].rpartition(":")[2] == own.rpartition(":")[2]
