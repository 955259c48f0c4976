"""The messages and methods of aimdk.protocol, beside whatever stubs the job has imported.

Protobuf keeps one definition of each name in a pool, and the job's own stubs have filled the default pool with theirs:
other releases of the same names, which a second definition would clash with. The set here is therefore loaded into a
pool of its own. No generated code is involved, so one file serves every protobuf runtime from 3.20 to 7; what it holds
is compiled from protos/ by protos/generate.py.

Messages of this pool and of the job's stubs are different classes with the same bytes: pass them on serialised.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import ModuleType

    from google.protobuf.descriptor import Descriptor
    from google.protobuf.descriptor_pool import DescriptorPool
    from google.protobuf.message import Message

PACKAGE = "aimdk.protocol"

_DESCRIPTORS = Path(__file__).with_name("descriptors.binpb")


class GrpcExtraMissing(ImportError):
    """protobuf is not installed: says which extra brings it."""


@dataclass(frozen=True)
class Method:
    """One method of the simulator: unary both ways, as all of them are.

    - `path`: as it stands on the wire, `/aimdk.protocol.SimObjectService/get_object_pose`.
    - `request`, `response`: the message classes, of this module's pool.
    """

    path: str
    request: type[Message]
    response: type[Message]

    @property
    def name(self) -> str:
        """The method alone, which is unique among all services: `get_object_pose`."""
        return self.path.rpartition("/")[2]

    @property
    def service(self) -> str:
        """`aimdk.protocol.SimObjectService`."""
        return self.path[1:].partition("/")[0]


class Messages:
    """Every message class by its short name, and every method by its own.

    - `methods`: Method by name: the 31 that a stock server has, and two that the pipeline's patched builds add.
    """

    def __init__(self, pool: DescriptorPool, files: list[str]) -> None:
        self._pool = pool
        self._types: dict[str, type[Message]] = {}
        self.methods: Mapping[str, Method] = {
            method.name: method for file in files for method in self._methods_of(pool.FindFileByName(file))
        }

    def type_of(self, name: str) -> type[Message]:
        """The class of a message: `SE3RpyPose`. Raises KeyError for a name that aimdk.protocol does not have here."""
        found = self._types.get(name)
        if found is None:
            found = self._types[name] = _class_of(self._pool, self._pool.FindMessageTypeByName(f"{PACKAGE}.{name}"))
        return found

    def new(self, message: str, /, **fields: Any) -> Message:
        """A message of this name with these fields. Raises ValueError for a field that it does not have."""
        return self.type_of(message)(**fields)

    def _methods_of(self, file: Any) -> list[Method]:
        return [
            Method(
                path=f"/{service.full_name}/{method.name}",
                request=self.type_of(method.input_type.name),
                response=self.type_of(method.output_type.name),
            )
            for service in file.services_by_name.values()
            for method in service.methods
        ]


_loading = threading.Lock()
_loaded: list[Messages] = []


def load() -> Messages:
    """The definitions, read at the first call and then kept.

    Raises GrpcExtraMissing where protobuf is not installed.
    """
    with _loading:
        if not _loaded:
            _loaded.append(_read())
        return _loaded[0]


def _read() -> Messages:
    try:
        from google.protobuf import descriptor_pb2, descriptor_pool  # noqa: PLC0415 -- an extra, for jobs that call gRPC
    except ImportError as missing:
        raise GrpcExtraMissing(
            "Genie Sim's messages need protobuf, which is not installed here: pip install 'blueprint-clients[grpc]'"
        ) from missing
    held = descriptor_pb2.FileDescriptorSet.FromString(_DESCRIPTORS.read_bytes())
    pool = descriptor_pool.DescriptorPool()
    for file in held.file:  # each comes after those it imports
        pool.AddSerializedFile(file.SerializeToString())
    return Messages(pool, [file.name for file in held.file])


def _class_of(pool: DescriptorPool, descriptor: Descriptor) -> type[Message]:
    from google.protobuf import message_factory  # noqa: PLC0415 -- as in _read

    factory: ModuleType | Any = message_factory
    if hasattr(factory, "GetMessageClass"):  # from protobuf 4.22; the older way is gone in 6
        made: type[Message] = factory.GetMessageClass(descriptor)
    else:
        made = factory.MessageFactory(pool).GetPrototype(descriptor)
    return made
