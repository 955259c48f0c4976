"""The definitions as a job sees them, here on one protobuf runtime; tests/end_to_end/sdks has all of them."""

from __future__ import annotations

import sys

import pytest

from blueprint_clients.genie_sim import messages
from blueprint_clients.genie_sim.messages import GrpcExtraMissing, load


@pytest.fixture
def nothing_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(messages, "_loaded", [])


def test_all_methods_of_a_stock_and_a_patched_server_are_known() -> None:
    methods = load().methods
    assert len(methods) == 31 + 2
    assert {"get_contact_report", "get_ee_wrench", "init_robot", "linear_move"} <= set(methods)


def test_a_method_tells_its_path_and_its_messages() -> None:
    method = load().methods["get_object_pose"]
    assert method.path == "/aimdk.protocol.SimObjectService/get_object_pose"
    assert (method.service, method.name) == ("aimdk.protocol.SimObjectService", "get_object_pose")
    assert method.request.DESCRIPTOR.name == "GetObjectPoseReq"
    assert method.response.DESCRIPTOR.name == "GetObjectPoseRsp"


@pytest.mark.parametrize(
    ("name", "fields", "wire"),
    [
        ("SetTaskMetricReq", {"metric": "{}"}, "0a027b7d"),
        ("GetObservationReq", {"startRecording": True}, "4001"),
        ("GetObservationReq", {"stopRecording": True}, "4801"),
        ("SetLightReq", {}, ""),
        ("ExitRsp", {"msg": "ok"}, "12026f6b"),
        ("GetObservationRsp", {"pose": [{"object_pose": {"position": {"x": 1.0}}}]}, "120d3a0b0a0909000000000000f03f"),
        ("GetIKStatusRsp", {"IKStatus": [{"isSuccess": True}]}, "12022001"),
        ("JointCommand", {"damping": 1.0}, "39000000000000f03f"),
    ],
)
def test_a_message_has_the_bytes_that_the_server_expects(name: str, fields: dict[str, object], wire: str) -> None:
    made = load().new(name, **fields)
    assert made.SerializeToString().hex() == wire
    assert load().type_of(name).FromString(bytes.fromhex(wire)) == made


def test_both_of_the_pipelines_wrench_reports_can_be_read() -> None:
    wrench = load().type_of("EEWrenchRsp")
    force = bytes.fromhex("0a040000803f")
    assert list(wrench.FromString(force + bytes.fromhex("18012201") + b"e").force) == [1.0]  # type: ignore[attr-defined]  # made at run time
    assert list(wrench.FromString(force + bytes.fromhex("1a0161220162")).force) == [1.0]  # type: ignore[attr-defined]  # made at run time


def test_a_name_that_is_no_message_is_a_key_error() -> None:
    with pytest.raises(KeyError, match="SomethingElse"):
        load().type_of("SomethingElse")


def test_the_definitions_are_read_once(nothing_loaded: None) -> None:
    assert load() is load()


def test_nothing_enters_the_default_pool(nothing_loaded: None) -> None:
    from google.protobuf import descriptor_pool

    load()
    with pytest.raises(KeyError):
        descriptor_pool.Default().FindMessageTypeByName("aimdk.protocol.SE3RpyPose")


def test_without_protobuf_the_error_names_the_extra(nothing_loaded: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "google.protobuf", None)
    with pytest.raises(GrpcExtraMissing, match=r"blueprint-clients\[grpc\]"):
        load()
