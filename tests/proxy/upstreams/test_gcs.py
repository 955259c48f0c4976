"""What each request to Cloud Storage is, and whether Google's published retry strategy lets it be sent again.

https://cloud.google.com/storage/docs/retry-strategy: always, only with a precondition, never.
"""

import pytest

from blueprint_proxy.upstreams.gcs import OBJECT_METADATA, GcsKind
from support.requests import request_head

KIND = GcsKind()
B, O = b"/storage/v1/b/bucket", b"/storage/v1/b/bucket/o/a%2Fb"  # noqa: E741 -- a bucket and an object
UP = b"/upload/storage/v1/b/bucket/o"
SESSION = UP + b"?uploadType=resumable&upload_id=xyz"
KEYS = b"/storage/v1/projects/p/hmacKeys"

ALWAYS = [
    ("GET", b"/storage/v1/b?project=p", "buckets.list"),
    ("POST", b"/storage/v1/b?project=p", "buckets.insert"),
    ("GET", B, "buckets.get"),
    ("HEAD", B, "buckets.get"),
    ("DELETE", B, "buckets.delete"),
    ("POST", B + b"/lockRetentionPolicy?ifMetagenerationMatch=1", "buckets.lock_retention_policy"),
    ("GET", B + b"/iam", "iam.GET"),
    ("GET", B + b"/iam/testPermissions?permissions=x", "iam.GET"),
    ("GET", B + b"/acl", "acls.GET"),
    ("GET", B + b"/acl/allUsers", "acls.GET"),
    ("GET", B + b"/defaultObjectAcl", "acls.GET"),
    ("GET", B + b"/notificationConfigs", "notifications.GET"),
    ("DELETE", B + b"/notificationConfigs/1", "notifications.DELETE"),
    ("GET", B + b"/storageLayout", "other.GET"),
    ("GET", B + b"/o?prefix=x", "objects.list"),
    ("GET", O, "objects.get"),
    ("HEAD", O, "objects.get"),
    ("GET", O + b"?alt=json", "objects.get"),
    ("GET", O + b"?alt=media", "objects.download"),
    ("GET", O + b"?alt=%6dedia", "objects.download"),
    ("GET", O + b"?%61lt=media", "objects.download"),
    ("GET", b"/storage/v1/b/bucket/o/raw/slash.json?alt=media", "objects.download"),
    ("GET", b"/download" + O, "objects.download"),
    ("GET", O + b"/acl", "acls.GET"),
    ("GET", O + b"/iam", "objects.other.GET"),
    ("GET", KEYS, "hmac_keys.GET"),
    ("GET", KEYS + b"/id", "hmac_keys.GET"),
    ("DELETE", KEYS + b"/id", "hmac_keys.DELETE"),
    ("GET", b"/storage/v1/projects/p/serviceAccount", "service_account.GET"),
    ("PUT", SESSION, "objects.insert.chunk"),
    ("PUT", b"/resumable" + SESSION, "objects.insert.chunk"),
    ("DELETE", SESSION, "objects.insert.cancel"),
]

WITH_A_PRECONDITION = [
    ("PATCH", B, b"ifMetagenerationMatch=1", "buckets.patch"),
    ("PUT", B, b"ifMetagenerationMatch=1", "buckets.update"),
    ("PATCH", O, b"ifMetagenerationMatch=1", "objects.patch"),
    ("PUT", O, b"ifMetagenerationMatch=1", "objects.update"),
    ("DELETE", O, b"ifGenerationMatch=1", "objects.delete"),
    ("DELETE", O, b"generation=17", "objects.delete"),
    ("POST", B + b"/o", b"ifGenerationMatch=0", "objects.insert"),
    ("POST", UP + b"?uploadType=media&name=x", b"ifGenerationMatch=0", "objects.insert"),
    ("POST", UP + b"?uploadType=multipart", b"ifGenerationMatch=0", "objects.insert"),
    ("POST", UP + b"?uploadType=resumable", b"if%47enerationMatch=0", "objects.insert"),
    ("POST", b"/resumable" + UP + b"?uploadType=resumable", b"ifGenerationMatch=0", "objects.insert"),
    ("POST", O + b"/compose", b"ifGenerationMatch=1", "objects.compose"),
    ("POST", O + b"/copyTo/b/other/o/c", b"ifGenerationMatch=1", "objects.copy"),
    ("POST", O + b"/rewriteTo/b/other/o/c", b"ifGenerationMatch=1", "objects.rewrite"),
    ("POST", O + b"/restore?generation=3", b"ifGenerationMatch=0", "objects.restore"),
    ("POST", O + b"/moveTo/o/c", b"ifGenerationMatch=0", "objects.move"),
]

NEVER = [
    ("PUT", B + b"/iam", "iam.PUT"),
    ("POST", B + b"/acl", "acls.POST"),
    ("PUT", B + b"/acl/allUsers", "acls.PUT"),
    ("PATCH", B + b"/acl/allUsers", "acls.PATCH"),
    ("DELETE", B + b"/acl/allUsers", "acls.DELETE"),
    ("POST", B + b"/defaultObjectAcl", "acls.POST"),
    ("DELETE", B + b"/defaultObjectAcl/allUsers", "acls.DELETE"),
    ("POST", O + b"/acl", "acls.POST"),
    ("DELETE", O + b"/acl/allUsers", "acls.DELETE"),
    ("PATCH", O + b"/acl/allUsers?ifMetagenerationMatch=1&ifGenerationMatch=1", "acls.PATCH"),
    ("PUT", O + b"/iam", "objects.other.PUT"),
    ("POST", B + b"/notificationConfigs", "notifications.POST"),
    ("POST", KEYS + b"?serviceAccountEmail=x", "hmac_keys.POST"),
    ("PUT", KEYS + b"/id", "hmac_keys.PUT"),
    ("POST", B + b"/o/watch", "objects.other"),
    ("PUT", B + b"/o?ifGenerationMatch=1", "objects.other"),
    ("POST", B + b"/folders", "other.POST"),
    ("DELETE", B + b"/managedFolders/x", "other.DELETE"),
    ("POST", B, "buckets.other"),
    ("POST", O + b"?ifGenerationMatch=1", "objects.other"),
    ("PATCH", O + b"?ifGenerationMatch=1", "objects.patch"),
    ("POST", b"/batch/storage/v1", "batch"),
    ("POST", b"/batch", "batch"),
    ("GET", b"/bucket/object", "xml"),
    ("PUT", b"/bucket/object", "xml"),
    ("PUT", b"/bucket/object?upload_id=xyz", "xml"),
    ("POST", b"/bucket/object?uploads", "xml"),
    ("GET", b"/", "xml"),
    ("GET", b"/storage/v2/b/bucket", "xml"),
]


def asked(method, target, *fields):
    return KIND.operation(request_head(method, target, *fields), target)


@pytest.mark.parametrize(("method", "target", "name"), ALWAYS)
def test_it_may_always_be_repeated(method, target, name):
    assert asked(method, target)[:2] == (name, True)


@pytest.mark.parametrize(("method", "target", "precondition", "name"), WITH_A_PRECONDITION)
def test_it_may_be_repeated_with_its_precondition_only(method, target, precondition, name):
    mark = b"&" if b"?" in target else b"?"
    unrelated = b"ifSourceGenerationMatch=1&fields=ifGenerationMatch&userProject=p"
    assert asked(method, target)[:2] == (name, False)
    assert asked(method, target + mark + unrelated)[:2] == (name, False)
    assert asked(method, target + mark + precondition.partition(b"=")[0] + b"=")[:2] == (name, False)
    assert asked(method, target + mark + unrelated + b"&" + precondition)[:2] == (name, True)


@pytest.mark.parametrize(("method", "target", "name"), NEVER)
def test_it_may_never_be_repeated(method, target, name):
    assert asked(method, target)[:2] == (name, False)


def test_a_method_that_a_job_made_up_makes_no_name():
    assert {asked(f"MADEUP{number}", B + b"/acl").name for number in range(50)} == {"acls.other"}


def test_no_media_is_among_the_resources():
    media = [name for method, target, name in ALWAYS if b"media" in target or target.startswith(b"/download")]
    assert media
    assert not OBJECT_METADATA & set(media)


def test_the_sdks_own_id_of_a_call_is_found():
    sender = (b"x-goog-api-client", b"gl-python/3.11 gccl/3.17 gccl-invocation-id/0b0f9e1c-5a04-4e5c-8d5e-1b2c3d4e5f60")
    assert asked("GET", O, sender).invocation == b"0b0f9e1c-5a04-4e5c-8d5e-1b2c3d4e5f60"


@pytest.mark.parametrize("value", [b"gl-python/3.11", b"gccl-invocation-id/", b""])
def test_without_the_sdks_id_nothing_is_a_repeat(value):
    assert asked("GET", O, (b"x-goog-api-client", value)).invocation is None
