from __future__ import annotations

import json

from blueprint_proxy.config import Secret, explain, exports, read_secret

VALUE = "AIza-a-real-secret-value-1234"


def test_the_redacted_configuration_is_json(configure):
    config = configure("tls: {cert: /c, key: /k}\nupstreams: {x: {url: 'unix:/x', operations: {a: {deadline: none}}}}")
    shown = json.loads(json.dumps(config.redacted()))
    assert shown["upstreams"]["x"]["operations"] == {"a": {"deadline": "none"}}
    assert shown["upstreams"]["gemini"]["credential"].endswith("environment GOOGLE_API_KEY")
    assert shown["tls"]["key"] == "/k"


def test_nothing_that_a_configuration_shows_holds_a_secret(configure, tmp_path):
    (tmp_path / "token").write_text(VALUE)
    config = configure(
        f"jobs: {{token: {{file: {tmp_path}/token}}}}\n"
        "upstreams: {other: {url: 'http://other', credential: {env: OTHER_KEY, header: 'x-key: {}'}}}",
        OTHER_KEY=VALUE,
        GEMINI_API_KEY=VALUE,
        BLUEPRINT_PROXY_ADMIN_TOKEN=VALUE,
    )
    shown = [
        repr(config),
        str(config),
        json.dumps(config.redacted()),
        *(explain(config, name) for name in config.upstreams),
        *exports(config, "run-1"),
    ]
    assert not any(VALUE in text for text in shown)
    assert config.jobs.token is not None
    assert read_secret(config.jobs.token, {}) == Secret(VALUE)
