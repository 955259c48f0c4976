"""The clients' definitions beside a job's own stubs, on whatever protobuf is installed; the last line printed is JSON.

The only argument is a JSON object: `clients` and `stubs`, folders to import from.
"""

from __future__ import annotations

import json
import sys
from importlib import import_module
from pathlib import Path
from typing import Any


def flows(wanted: dict[str, Any]) -> dict[str, Any]:
    sys.path += [wanted["clients"], wanted["stubs"]]
    stubs = {}
    for path in sorted(Path(wanted["stubs"]).rglob("*_pb2.py")):
        name = path.relative_to(wanted["stubs"]).with_suffix("").as_posix().replace("/", ".")
        stubs[name] = import_module(name)
    from google import protobuf
    from google.protobuf import descriptor_pool

    from blueprint_clients.genie_sim.messages import load

    ours = load()
    theirs = stubs["aimdk.protocol.sim.sim_object_service_pb2"]
    pose = {"position": {"x": 1.5, "z": -2.0}, "rpy": {"rw": 1.0}}
    mine = ours.new("AddObjectReq", prim_path="/World/crate", object_pose=pose, object_mass=3.0)
    parsed = theirs.AddObjectReq.FromString(mine.SerializeToString())
    back = ours.type_of("AddObjectReq").FromString(parsed.SerializeToString())
    default = descriptor_pool.Default().FindMessageTypeByName("aimdk.protocol.AddObjectReq")
    return {
        "version": protobuf.__version__,
        "stubs": len(stubs),
        "methods": len(ours.methods),
        "same_bytes": back == mine and parsed.object_pose.position.x == 1.5,
        "apart": default is theirs.AddObjectReq.DESCRIPTOR and default is not type(mine).DESCRIPTOR,
        "every_message": sorted(
            {made.DESCRIPTOR.name for method in ours.methods.values() for made in (method.request, method.response)}
        ),
    }


sys.stdout.write(f"{json.dumps(flows(json.loads(sys.argv[1])))}\n")
