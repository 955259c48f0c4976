from __future__ import annotations

from blueprint_proxy.config import Secret, load, read_secret


def test_further_upstreams_have_kind_http(configure):
    upstream = configure("upstreams: {mine: {url: 'http://mine:81/v1'}}").upstreams["mine"]
    assert (upstream.kind, upstream.url.base_path, upstream.served) == ("http", "/v1", True)


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


def test_the_built_in_google_credential_passes_the_jobs_own_through():
    upstream = load(None, {}).upstreams["gcs"]
    assert upstream.credential is None
    assert upstream.origins["credential"] == "google adc: not built yet, the job's own credential passes through"
