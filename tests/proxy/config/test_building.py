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


def places(source):
    return str(source)


def test_a_credential_stands_in_secret_manager_first(configure):
    credential = configure("secrets: {directory: /s}").upstreams["gemini"].credential
    assert places(credential) == (
        "Secret Manager gemini-api-key, then file /s/gemini-api-key, then environment GEMINI_API_KEY, "
        "then environment GOOGLE_API_KEY"
    )


def test_a_pinned_version_is_secret_managers_business_alone(configure):
    text = "secrets: {directory: /s}\nupstreams: {gemini: {credential: {secret: the-key@7, file: /f}}}"
    credential = configure(text).upstreams["gemini"].credential
    assert places(credential) == "Secret Manager the-key version 7, then file /f, then file /s/the-key"
    assert credential.id == "the-key"


def test_what_jobs_may_read_has_its_id_in_upper_case_as_its_variable(configure):
    config = configure(
        "secrets: {directory: /s}\njobs: {secrets: [b2-key-id, gemini-api-key, checksums-hmac-key@3, 1st]}"
    )
    assert {name: places(source) for name, source in config.jobs.secrets.items()} == {
        "b2-key-id": "Secret Manager b2-key-id, then file /s/b2-key-id, then environment B2_KEY_ID",
        "gemini-api-key": places(config.upstreams["gemini"].credential),
        "checksums-hmac-key": (
            "Secret Manager checksums-hmac-key version 3, then file /s/checksums-hmac-key, "
            "then environment CHECKSUMS_HMAC_KEY"
        ),
        "1st": "Secret Manager 1st, then file /s/1st",
    }
    assert config.redacted()["jobs"]["secrets"] == ["b2-key-id", "gemini-api-key", "checksums-hmac-key", "1st"]


def test_no_secret_is_for_jobs_by_default(configure):
    assert configure("").jobs.secrets == {}


def test_the_files_project_beats_the_environments(configure):
    assert configure("secret_manager: {project: mine}", GCP_PROJECT="other").secret_manager.project == "mine"
    assert configure("secret_manager: {}", GCP_PROJECT="other").secret_manager.project == "other"
    assert configure("").secret_manager.project is None
