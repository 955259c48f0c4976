from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blueprint_proxy.config import ConfigError, Secret, load, read_secret
from blueprint_proxy.config.loading import _Loading
from blueprint_proxy.config.reading import read_yaml
from blueprint_proxy.config.unbuilt import UNBUILT

NO_DURATION = "must be a duration such as 250ms, 5s, 2m or 1h (or a number of seconds), at most 366 days"


def test_without_a_file_there_are_the_built_in_upstreams():
    config = load(None, {})
    assert {name: str(upstream.url) for name, upstream in config.upstreams.items()} == {
        "gemini": "https://generativelanguage.googleapis.com",
        "particulate": "http://localhost:8080",
        "gcs": "https://storage.googleapis.com",
        "geniesim": "grpc://localhost:50051",
    }
    assert [name for name, upstream in config.upstreams.items() if not upstream.served] == ["geniesim"]


def test_without_a_file_the_listeners_are_those_of_the_contract():
    config = load(None, {})
    assert [str(config.listen.http), str(config.listen.grpc), str(config.listen.admin)] == [
        "127.0.0.1:8900",
        "127.0.0.1:50052",
        "127.0.0.1:8901",
    ]
    assert config.drain.grace == 30
    assert config.state_dir == Path("~/.local/state/blueprint-proxy").expanduser()
    assert config.source is None


def test_a_file_says_where_things_are(configure):
    config = configure(
        "listen: {http: 'unix:/run/p.sock'}\nstate_dir: ~/x\ndrain: {grace: 5s}\nsecrets: {directory: /s}"
    )
    assert config.listen.http.unix == "/run/p.sock"
    assert config.state_dir == Path("~/x").expanduser()
    assert config.drain.grace == 5
    assert config.secrets.directory == Path("/s")


def test_a_file_merges_over_the_built_in_upstreams(configure):
    upstream = configure("upstreams: {gcs: {retry: {attempts: 7}}}").upstreams["gcs"]
    assert str(upstream.url) == "https://storage.googleapis.com"
    settings = upstream.for_operation("x", "GET", "/")
    assert (settings.retry.attempts, settings.retry.base) == (7, 1.0)


def test_a_built_in_upstream_without_a_value_is_removed(configure):
    assert "particulate" not in configure("upstreams: {particulate: null}").upstreams


def test_further_upstreams_have_kind_http(configure):
    upstream = configure("upstreams: {mine: {url: 'http://mine:81/v1'}}").upstreams["mine"]
    assert (upstream.kind, upstream.url.base_path, upstream.served) == ("http", "/v1", True)


def test_a_section_whose_keys_are_commented_out_is_no_problem(configure):
    assert configure("listen:\n  # http: x\nupstreams:\n  gcs:\n    retry:\n").drain.grace == 30


def test_every_problem_is_listed_at_once_with_its_line(problems):
    assert problems("listn: {}\ndrain:\n  grace: soon\nupstreams:\n  gcs:\n    retry: {attempts: 0}\n    url: x\n") == [
        "proxy.yaml:1: listn: unknown key; the nearest known one is listen",
        f"proxy.yaml:3: drain.grace: {NO_DURATION}",
        "proxy.yaml:6: upstreams.gcs.retry.attempts: must be at least 1",
        "proxy.yaml:7: upstreams.gcs.url: must begin with http://, https://, grpc://, grpcs:// or unix:/",
    ]


def test_a_duplicate_key_and_a_wrong_value_are_both_listed(problems):
    assert len(problems("drain: {grace: x}\ndrain: {grace: 5s}\n")) == 2


@pytest.mark.parametrize(
    ("text", "near"),
    [
        ("upstreams: {gcs: {timeout: {}}}", "timeouts"),
        ("upstreams: {gcs: {timeouts: {firstbyte: 1s}}}", "first_byte"),
        ("upstreams: {gcs: {operations: {'*': {clas: unsafe}}}}", "class"),
        ("jobs: {token: {envs: X}}", "env"),
        ("upstreams: {gemini: {credential: {headers: x}}}", "header"),
        ("upstream: {}", "upstreams"),
    ],
)
def test_an_unknown_key_is_answered_with_the_nearest_known_one(problems, text, near):
    assert f"; the nearest known one is {near}" in problems(text)[0]


def test_a_key_like_no_other_is_answered_with_all_that_are_known(problems):
    assert problems("drain: {zzz: 1}") == ["proxy.yaml:1: drain.zzz: unknown key; known are grace"]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("drain: 5", "drain: must be a mapping"),
        ("upstreams: 5", "upstreams: must be a mapping"),
        ("upstreams: {gcs: 5}", "upstreams.gcs: must be a mapping"),
        ("upstreams: {gcs: {retry: {attempts: '3'}}}", "retry.attempts: must be a whole number"),
        ("upstreams: {gcs: {retry: {attempts: true}}}", "retry.attempts: must be a whole number"),
        ("upstreams: {gcs: {retry: {on: 503}}}", "retry.on: must be a list"),
        ("upstreams: {gcs: {retry: {on: [503, 200]}}}", "retry.on[1]: must be a status"),
        ("upstreams: {gcs: {retry: {on: [later]}}}", "retry.on[0]: must be a status"),
        ("upstreams: {gcs: {mode: of}}", "mode: must be 'enforce', 'observe' or 'off'"),
        ("upstreams: {gcs: {breaker: {failure_ratio: 1.5}}}", "failure_ratio: must be at most 1"),
        ("upstreams: {gcs: {breaker: {failure_ratio: 0}}}", "failure_ratio: must be more than 0"),
        ("upstreams: {gcs: {breaker: {failure_ratio: half}}}", "failure_ratio: must be a number"),
        ("upstreams: {gcs: {timeouts: {connect: none}}}", "connect: must be a duration"),
        ("upstreams: {gcs: {timeouts: {idle: 0s}}}", "idle: must be more than zero"),
        ("upstreams: {gcs: {body: {memory: 1MB5}}}", "memory: must be a size"),
        ("upstreams: {gcs: {rate: {per_second: 0}}}", "per_second: must be a number above 0"),
        ("upstreams: {gcs: {concurrency: {limit: 0}}}", "limit: must be a whole number of at least 1"),
        ("upstreams: {gcs: {kind: htp}}", "kind: must be"),
        ("upstreams: {gcs: {tls: {key: /k}}}", "tls: has a key without a cert"),
        ("upstreams: {gcs: {operations: {'': {}}}}", "operations: has a pattern that is empty"),
        ("tls: {cert: /c}", "tls.key: is missing"),
        ("upstreams: {a: {}}", "upstreams.a.url: is missing"),
        ("state_dir: 5", "state_dir: must be a path"),
        ("listen: {http: 8900}", "listen.http: must be HOST:PORT"),
        ("listen: 8900", "listen: must be a mapping"),
        ("secrets: {order: [vault]}", "secrets.order[0]: must be"),
        ("upstreams: {gemini: {credential: {}}}", "credential: names no place"),
        ("upstreams: {gemini: {credential: {env: A, header: 'host: {}'}}}", "must not be a header of the connection"),
        ("upstreams: {gemini: {credential: {env: A, header: 'x: {} {}'}}}", "must be a header line with one {}"),
        ("jobs: {token: {}}", "jobs.token: must have exactly one of env and file"),
        ("jobs: {token: {env: A, file: /b}}", "jobs.token: must have exactly one of env and file"),
    ],
)
def test_a_wrong_value_is_a_problem_in_words(problems, text, what):
    found = problems(text)
    assert len(found) == 1
    assert what in found[0]


@pytest.mark.parametrize("name", ["@x", "a/b", "", "a b", "ä", "..", "."])
def test_a_name_that_cannot_be_a_path_segment_is_refused(problems, name):
    (message,) = problems(f'upstreams: {{"{name}": {{url: "http://a"}}}}')
    assert "is not a name for an upstream" in message


@pytest.mark.parametrize(
    ("kind", "url"), [("http", "grpc://h"), ("gcs", "grpcs://h"), ("gemini", "grpc://h"), ("http", "ftp://h")]
)
def test_a_url_has_a_scheme_of_its_kind(problems, kind, url):
    (message,) = problems(f"upstreams: {{x: {{kind: {kind}, url: '{url}'}}}}")
    assert "upstreams.x.url" in message


def test_a_url_of_a_kind_that_is_not_built_is_not_judged_by_another_kind(problems):
    assert problems("upstreams: {sim: {kind: grpc, url: 'grpc://h:1'}}") == [
        "proxy.yaml:1: upstreams.sim.kind: grpc: not built yet"
    ]


@pytest.mark.parametrize("url", ["http://localhost:8900/x", "http://[::1]:8901", "https://127.0.0.1:50052"])
def test_an_upstream_that_is_one_of_the_listeners_is_a_loop(problems, url):
    (message,) = problems(f"upstreams: {{x: {{url: '{url}'}}}}")
    assert "is this proxy's own listener" in message


def test_an_upstream_on_the_listeners_own_socket_is_a_loop(problems):
    (message,) = problems("listen: {http: 'unix:/run/p'}\nupstreams: {x: {url: 'unix:/run/p'}}")
    assert message.startswith("proxy.yaml:2: upstreams.x.url: is this proxy's own listener (listen.http)")


def test_a_built_in_upstream_can_be_the_loop(problems):
    (message,) = problems("listen: {http: '127.0.0.1:8080'}")
    assert "upstreams.particulate.url: is this proxy's own listener" in message


def test_two_listeners_have_two_addresses(problems):
    assert problems("listen: {http: '127.0.0.1:1', admin: '127.0.0.1:1'}") == [
        "proxy.yaml:1: listen.admin: is also listen.http"
    ]


def test_port_zero_is_any_free_port_and_no_clash(configure):
    assert configure("listen: {http: '127.0.0.1:0', admin: '127.0.0.1:0'}").listen.http.port == 0


def test_an_address_that_others_reach_needs_tls_and_a_token(problems):
    assert problems("listen: {http: '0.0.0.0:8900', admin: '[::]:8901'}") == [
        "proxy.yaml:1: listen.http: is not a loopback address, which needs tls and jobs.token",
        "proxy.yaml:1: listen.admin: is not a loopback address, which needs tls and admin.token",
    ]


def test_the_job_token_does_not_open_the_admin_address(problems):
    found = problems("listen: {admin: '0.0.0.0:1'}\ntls: {cert: /c, key: /k}", BLUEPRINT_PROXY_TOKEN="t")
    assert found == ["proxy.yaml:1: listen.admin: is not a loopback address, which needs admin.token"]


def test_with_tls_and_a_token_any_address_is_served(configure):
    text = "listen: {http: '0.0.0.0:1'}\ntls: {cert: /c, key: /k}"
    assert str(configure(text, BLUEPRINT_PROXY_TOKEN="t").listen.http) == "0.0.0.0:1"


def test_a_token_comes_from_the_environment_by_itself(configure):
    config = configure("", BLUEPRINT_PROXY_TOKEN="t1", BLUEPRINT_PROXY_ADMIN_TOKEN="t2")
    assert config.jobs.token is not None
    assert config.admin.token is not None
    assert str(config.jobs.token) == "environment BLUEPRINT_PROXY_TOKEN"
    assert str(config.admin.token) == "environment BLUEPRINT_PROXY_ADMIN_TOKEN"


def test_without_a_token_anywhere_both_scopes_are_open(configure):
    config = configure("")
    assert (config.jobs.token, config.admin.token) == (None, None)


@pytest.mark.parametrize("token", ["{env: NOT_SET}", "{file: /nowhere/token}"])
def test_a_token_that_the_file_names_must_be_there(problems, token):
    (message,) = problems(f"jobs: {{token: {token}}}")
    assert "jobs.token" in message
    assert "holds no token" in message


def test_a_token_file_that_cannot_be_read_is_a_problem(problems, tmp_path):
    (message,) = problems(f"jobs: {{token: {{file: {tmp_path}}}}}")
    assert "Is a directory" in message


def test_a_credential_of_the_file_replaces_the_built_in_one_whole(configure):
    credential = configure("upstreams: {gemini: {credential: {env: MINE}}}").upstreams["gemini"].credential
    assert credential is not None
    assert str(credential) == "environment MINE"


def test_a_credential_is_looked_up_in_the_configured_order(configure, tmp_path):
    (tmp_path / "gemini-api-key").write_text("from file\n")
    environ = {"GEMINI_API_KEY": "from env"}
    first = configure(f"secrets: {{directory: {tmp_path}}}").upstreams["gemini"].credential
    last = configure(f"secrets: {{directory: {tmp_path}, order: [env, file]}}").upstreams["gemini"].credential
    assert first is not None
    assert last is not None
    assert read_secret(first, environ) == Secret("from file")
    assert read_secret(last, environ) == Secret("from env")


def test_the_gemini_key_goes_by_two_names(configure):
    credential = configure("").upstreams["gemini"].credential
    assert credential is not None
    assert read_secret(credential, {"GOOGLE_API_KEY": "k"}) == Secret("k")
    assert read_secret(credential, {"GOOGLE_API_KEY": "k", "GEMINI_API_KEY": "first"}) == Secret("first")


def test_a_header_of_a_credential_is_a_name_and_a_template(configure):
    text = "upstreams: {x: {url: 'http://x', credential: {env: K, header: 'Authorization: Bearer {}'}}}"
    credential = configure(text).upstreams["x"].credential
    assert credential is not None
    assert credential.header == ("authorization", "Bearer {}")


def test_the_word_none_takes_a_credential_away(configure):
    upstream = configure("upstreams: {gemini: {credential: none}}").upstreams["gemini"]
    assert upstream.credential is None
    assert upstream.origins["credential"].endswith("proxy.yaml:1")


def test_the_built_in_google_credential_passes_the_jobs_own_through():
    upstream = load(None, {}).upstreams["gcs"]
    assert upstream.credential is None
    assert upstream.origins["credential"] == "google adc: not built yet, the job's own credential passes through"


EXAMPLES = {
    "grpc": "upstreams: {x: {kind: grpc, url: 'grpc://h'}}",
    "geniesim": "upstreams: {x: {kind: geniesim, url: 'grpc://h'}}",
    "particulate": "upstreams: {x: {kind: particulate, url: 'http://h'}}",
    "secret_manager": "secrets: {order: [env, secret_manager]}",
}
VALUES = {"google": "adc", "safe_writes": "true", "journal": "off", "unary": "true", "credential": "{env: X}"}


def example(path: tuple[str, ...], value: str | None) -> str:
    if value is not None:
        return EXAMPLES[value]
    text = VALUES.get(path[-1], "{a: 1}")
    stars = iter(["gcs", "some.*"])
    for step in reversed([next(stars) if step == "*" else step for step in path]):
        text = f"{{{step}: {text}}}"
    return text


@pytest.mark.parametrize("row", UNBUILT, ids=lambda row: ".".join((*row.path, row.value or "")))
def test_a_key_whose_feature_comes_later_is_refused_by_name(problems, row):
    (message,) = problems(example(row.path, row.value))
    assert message.endswith("not built yet")
    assert row.path[0] in message


def test_several_keys_that_come_later_are_each_refused(problems):
    found = problems("journal: {}\nruns: {}\nsecrets: {order: [secret_manager, env, secret_manager]}")
    assert [message.rpartition("proxy.yaml:")[2] for message in found] == [
        "1: journal: not built yet",
        "2: runs: not built yet",
        "3: secrets.order[0]: secret_manager: not built yet",
        "3: secrets.order[2]: secret_manager: not built yet",
    ]


def test_a_built_in_upstream_may_repeat_its_own_kind(configure):
    assert configure("upstreams: {geniesim: {kind: geniesim, url: 'grpc://h'}}").upstreams["geniesim"].served is False


def test_a_missing_file_is_a_problem(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        load(tmp_path / "none.yaml", {})


def test_a_file_that_is_not_utf8_is_a_problem(tmp_path):
    (tmp_path / "f").write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(ConfigError, match="not UTF-8"):
        load(tmp_path / "f", {})


def test_a_file_that_is_no_configuration_is_not_read_whole(tmp_path):
    (tmp_path / "f").write_bytes(b"#" * (1 << 21))
    with pytest.raises(ConfigError, match="longer than 1 MiB"):
        load(tmp_path / "f", {})


KEYS = st.sampled_from(
    [
        "listen",
        "http",
        "tls",
        "cert",
        "upstreams",
        "gcs",
        "gemini",
        "x",
        "url",
        "kind",
        "retry",
        "on",
        "attempts",
        "jobs",
        "token",
        "env",
        "secrets",
        "order",
        "operations",
        "credential",
        "google",
        "header",
        "deadline",
        "journal",
    ]
)
LEAVES = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["none", "5s", "http://h", "adc", "a:1"])
)
TREES = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4))


@given(st.dictionaries(KEYS, TREES, max_size=5))
def test_any_data_is_a_configuration_or_a_config_error(tree):
    document = read_yaml("", "f")
    document.data = tree
    with suppress(ConfigError):
        _Loading(document, None, {"STORAGE_EMULATOR_HOST": "http://h:1"}).config()
