"""Genie Sim from a job's process, whatever grpcio and protobuf it has; the last line printed is JSON.

The only argument is a JSON object: `clients` and `stubs`, folders to import from, and `target`, for the stubs. Where
the typed client goes is the environment's to say.
"""

from __future__ import annotations

import json
import os
import sys
from importlib import import_module
from typing import Any


def flows(wanted: dict[str, Any]) -> dict[str, Any]:
    sys.path += [wanted["clients"], wanted["stubs"]]
    import google.protobuf
    import grpc

    from blueprint_clients.external_services import create_genie_sim_client
    from blueprint_clients.genie_sim import definitions, errors

    objects = import_module("aimdk.protocol.sim.sim_object_service_pb2")
    object_stubs = import_module("aimdk.protocol.sim.sim_object_service_pb2_grpc")
    poses = import_module("aimdk.protocol.common.se3_pose_pb2")

    client = create_genie_sim_client()
    client.wait_until_ready(30.0)
    client.check_endpoint()
    initialised = client.init_robot(robot_cfg_file="robot.json", timeout=30.0).msg

    stub = object_stubs.SimObjectServiceStub(grpc.insecure_channel(wanted["target"]))
    by_stub = stub.get_object_pose(objects.GetObjectPoseReq(prim_path="/World/numbered/4"), timeout=10.0)
    theirs = poses.SE3RpyPose(position={"x": 1.5})
    client.add_object(prim_path="/World/crate", label_name="crate", object_pose=theirs)
    client.add_object(prim_path="/World/lid", object_pose=definitions.SE3RpyPose(position={"x": 2.5}))
    found = [client.get_object_pose(prim_path=path).object_pose.position.x for path in ("/World/crate", "/World/lid")]
    try:
        client.store_current_state(playback_id="x")
    except errors.AppError as error:
        app_error = str(error)
    camera = client.get_camera_data(serial_no="head")

    pid = os.fork()
    if pid == 0:
        code = int(len(client.get_joint_position(timeout=20.0).states) != 46)
        sys.exit(code)  # with all that an interpreter does at its end
    child = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    after_fork = len(client.get_joint_position(timeout=20.0).states)
    return {
        "grpcio": grpc.__version__,
        "protobuf": google.protobuf.__version__,
        "initialised": initialised,
        "by_stub": by_stub.object_pose.position.x,
        "found": found,
        "app_error": app_error,
        "picture": len(camera.color_image.data) + len(camera.depth_image.data),
        "child": child,
        "after_fork": after_fork,
        "stats": client.get_stats(),
        "epoch": client.epoch,
    }


if __name__ == "__main__":
    sys.stdout.write(f"{json.dumps(flows(json.loads(sys.argv[1])))}\n")
