"""What each request to the Gemini API is, and whether it may be sent again."""

import pytest

from blueprint_proxy.calls import Verdict
from blueprint_proxy.policies.retry import RetryPolicy
from blueprint_proxy.upstreams.gemini import GeminiKind
from support.requests import request_head
from support.scripted_upstream import call, policies, reply

KIND = GeminiKind()
MODEL = b"/v1beta/models/gemini-3-pro-preview"

TABLE = [
    ("POST", MODEL + b":generateContent", "generateContent", True),
    ("POST", MODEL + b":streamGenerateContent?alt=sse", "streamGenerateContent", True),
    ("POST", MODEL + b":countTokens", "countTokens", True),
    ("POST", MODEL + b":embedContent", "embedContent", True),
    ("POST", MODEL + b":batchEmbedContents", "batchEmbedContents", True),
    ("POST", b"/v1/models/gemini-2.5-flash:generateContent", "generateContent", True),
    ("POST", b"/v1beta/tunedModels/mine:generateContent", "generateContent", True),
    ("POST", MODEL + b":batchGenerateContent", "other", False),
    ("POST", MODEL + b":predictLongRunning", "other", False),
    ("POST", b"/v1beta/batches/x:cancel", "other", False),
    ("GET", b"/v1beta/files/abc:download?alt=media", "other.GET", True),
    ("GET", b"/v1beta/models", "models.GET", True),
    ("GET", MODEL, "models.GET", True),
    ("GET", b"/v1beta/files?pageSize=10", "files.GET", True),
    ("DELETE", b"/v1beta/files/abc", "files.DELETE", True),
    ("POST", b"/v1beta/files", "files.POST", False),
    ("POST", b"/v1beta/cachedContents", "cachedContents.POST", False),
    ("PATCH", b"/v1beta/cachedContents/x", "cachedContents.PATCH", False),
    ("GET", b"/v1beta/operations/x", "operations.GET", True),
    ("MADEUP", b"/v1beta/files/x", "files.other", False),
    ("POST", b"/v1beta/somethingNew", "other.POST", False),
    ("GET", b"/v9/models", "other.GET", True),
    ("POST", b"/", "other.POST", False),
]


@pytest.mark.parametrize(("method", "target", "name", "repeatable"), TABLE)
def test_a_request_has_a_bounded_name_and_may_be_repeated_where_it_only_answers(method, target, name, repeatable):
    operation = KIND.operation(request_head(method, target), target)
    assert operation == (name, repeatable, None)


@pytest.mark.parametrize(
    ("command", "name", "repeatable"),
    [
        (b"start", "files.upload.start", True),
        (b"START", "files.upload.start", True),
        (b"query", "files.upload.query", True),
        (b"upload", "files.upload", False),
        (b"upload, finalize", "files.upload", False),
        (None, "files.upload", False),
    ],
)
def test_of_an_upload_only_its_start_and_the_question_for_its_state_may_be_repeated(command, name, repeatable):
    fields = () if command is None else ((b"X-Goog-Upload-Command", command),)
    target = b"/upload/v1beta/files?uploadType=resumable"
    assert KIND.operation(request_head("POST", target, *fields), target) == (name, repeatable, None)


@pytest.mark.parametrize(
    ("status", "verdict"),
    [(400, Verdict.FATAL), (403, Verdict.FATAL), (429, Verdict.THROTTLED), (499, Verdict.RETRYABLE),
     (500, Verdict.RETRYABLE), (503, Verdict.RETRYABLE)],
)  # fmt: skip
def test_a_bad_key_is_no_failure_of_the_service(status, verdict):
    listed = policies(retry=RetryPolicy(4, 1.0, 60.0, frozenset({429, 499, 500, 503, 504})))
    assert KIND.judge(call(policies=listed), reply(status)) is verdict


REASON = '{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}'


@pytest.mark.parametrize(
    ("status", "body", "rejected"),
    [
        (400, '{"error": {"details": [{"@type": "x"}, ' + REASON + "]}}", True),
        (400, '[{"error": {"details": [' + REASON + "]}}]", True),
        (401, "", True),
        (400, '{"error": {"message": "your text API_KEY_INVALID is too long", "details": []}}', False),
        (400, '{"error": {"details": [{"reason": "FAILED_PRECONDITION", "metadata": "API_KEY_INVALID"}]}}', False),
        (400, '{"error": "API_KEY_INVALID"}', False),
        (400, '{"error": {"details": ["API_KEY_INVALID"]}}', False),
        (400, '["API_KEY_INVALID"]', False),
        (400, "API_KEY_INVALID", False),
        (400, "[" * 100_000 + "API_KEY_INVALID", False),
        (400, "", False),
    ],
)
def test_the_apis_own_reason_says_that_the_key_is_bad_and_nothing_else(status, body, rejected):
    assert KIND.rejects_credential(status, body.encode()) is rejected


def test_a_403_is_not_about_the_key_itself():
    assert KIND.rejection_statuses == {400, 401}
