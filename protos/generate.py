"""Compiles every definition under protos/ into what blueprint_clients carries of them.

That is a descriptor set, which is read at run time, and two files for people and type checkers, written from the set:
one method for each of the simulator's, and a stub of the message classes.

`make protos` runs it, with the tests' support on its path: they make environments from locks already. The compiler is
the one of grpcio-tools 1.62.3, in an environment of its own under .cache: what it writes is read by every protobuf
runtime from 3.20 to 7. Comments are not part of the set.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from google.protobuf import descriptor_pb2

from support.sdk_venvs import sdk_python

if TYPE_CHECKING:
    from collections.abc import Iterator

    from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorSet

PROTOS = Path(__file__).resolve().parent
REPOSITORY = PROTOS.parent
CARRIED = REPOSITORY / "clients" / "blueprint_clients" / "genie_sim"
DESCRIPTORS = CARRIED / "descriptors.binpb"
METHODS = CARRIED / "methods.py"
DEFINITIONS = CARRIED / "definitions.pyi"
COMPILER = "grpcio-tools-1.62.3"
COMPILE_LIMIT_S = 60

MADE = "Made from protos/ by `make protos`."

SCALARS = {"STRING": "str", "BYTES": "bytes", "BOOL": "bool", "DOUBLE": "float", "FLOAT": "float", "ENUM": "int"}
"""Python's types of fields; any other is an int."""
EMPTY = {"str": '""', "bytes": 'b""', "bool": "False", "float": "0.0", "int": "0"}

METHODS_HEAD = f'''"""Genie Sim's methods, typed. {MADE}

A keyword argument is a field of the request; what is left out has proto3's empty value. A message may be given as one
of blueprint_clients.genie_sim.definitions, as a mapping of its fields, or as one of that name from a job's own stubs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from blueprint_clients.genie_sim import definitions as its


class GenieSimMethods(ABC):
    """One method for each of the simulator's: `timeout` in seconds, None for the method's usual one.

    Returns the answer's message, raises what blueprint_clients.genie_sim.errors has.
    """

    @abstractmethod
    def _ask(self, method: str, timeout: float | None, fields: Mapping[str, Any], /) -> Any:
        """Make the call."""
'''

DEFINITIONS_HEAD = f"""# What Genie Sim's message classes hold. {MADE}

from collections.abc import Mapping, Sequence
from typing import Any

from google.protobuf.internal.containers import RepeatedCompositeFieldContainer, RepeatedScalarFieldContainer
from google.protobuf.message import Message
"""


class DefinitionsError(Exception):
    """The definitions do not compile: carries what the compiler said."""


def definitions() -> list[str]:
    """Every .proto file, as an import names it, in one fixed order."""
    return sorted(path.relative_to(PROTOS).as_posix() for path in PROTOS.rglob("*.proto"))


def compile_protos(*options: str) -> None:
    """Run protoc over all definitions, with warnings as errors.

    Raises DefinitionsError where it complains, SdkEnvironmentError where the compiler cannot be installed.
    """
    command = [str(sdk_python(COMPILER)), "-m", "grpc_tools.protoc", "--fatal_warnings", f"--proto_path={PROTOS}"]
    done = subprocess.run(
        [*command, *options, *definitions()], capture_output=True, text=True, check=False, timeout=COMPILE_LIMIT_S
    )
    if done.returncode != 0 or done.stderr:
        raise DefinitionsError(f"protoc ended with {done.returncode}:\n{done.stdout}{done.stderr}")


def write_descriptors(into: Path) -> None:
    """The descriptor set of all definitions, in an order in which each file comes after those it imports."""
    compile_protos("--include_imports", f"--descriptor_set_out={into}")


def write_methods(descriptors: Path, into: Path) -> None:
    """The class with one typed method for each of the simulator's."""
    compiled = _read(descriptors)
    requests = {f".{file.package}.{message.name}": message for file in compiled.file for message in file.message_type}
    parts = [METHODS_HEAD]
    for file in compiled.file:
        for service in file.service:
            for method in service.method:
                request = requests[method.input_type]
                given = "".join(f"{field.name}: {_taken(field, 'its.')}, " for field in request.field)
                fields = ", ".join(f'"{field.name}": {field.name}' for field in request.field)
                parts.append(
                    f"    def {method.name}(self, *, {given}timeout: float | None = None,"
                    f") -> its.{_short(method.output_type)}:\n"
                    f'        """Call {service.name}/{method.name}."""\n'
                    f'        answer: its.{_short(method.output_type)} = self._ask("{method.name}", timeout, '
                    f"{{{fields}}})\n        return answer\n"
                )
    into.write_text("\n".join(parts), encoding="utf-8")
    _format(into)


def write_definitions(descriptors: Path, into: Path) -> None:
    """The stub of the message classes."""
    compiled = _read(descriptors)
    messages = [message for file in compiled.file for message in file.message_type]
    clashing = {message.name for message in messages} & {field.name for message in messages for field in message.field}
    parts = [DEFINITIONS_HEAD]
    for message in messages:
        if message.nested_type or message.enum_type:
            raise DefinitionsError(f"{message.name} holds a type of its own, which the stub has no place for")
        parts.append("\n".join(_class(message, clashing)))
    parts += (f"_{name} = {name}\n" for name in sorted(clashing))
    into.write_text("\n".join(parts), encoding="utf-8")
    _format(into)


def _class(message: DescriptorProto, clashing: set[str]) -> Iterator[str]:
    """Lines of a class; types in `clashing` go by another name, since there are attributes of theirs."""
    yield f"class {message.name}(Message):"
    prefixes = [(field, "_" if _type(field) in clashing else "") for field in message.field]
    yield from (f"    {field.name}: {_held(field, prefix)}" for field, prefix in prefixes)
    given = "".join(f", {field.name}: {_taken(field, prefix, ellipsis=True)}" for field, prefix in prefixes)
    yield f"    def __init__(self{', *' if given else ''}{given}) -> None: ...\n"


def _held(field: FieldDescriptorProto, prefix: str) -> str:
    """The type of what a message's attribute gives."""
    one = f"{prefix}{_type(field)}"
    if field.label != field.LABEL_REPEATED:
        return one
    kind = "Composite" if field.type == field.TYPE_MESSAGE else "Scalar"
    return f"Repeated{kind}FieldContainer[{one}]"


def _taken(field: FieldDescriptorProto, prefix: str, *, ellipsis: bool = False) -> str:
    """The type, and the empty value, of what a field can be made of."""
    one = _type(field)
    is_message = field.type == field.TYPE_MESSAGE
    taken = f"{prefix}{one} | Mapping[str, Any]" if is_message else one
    if field.label == field.LABEL_REPEATED:
        return f"Sequence[{taken}] = {'...' if ellipsis else '()'}"
    if is_message:
        return f"{taken} | None = {'...' if ellipsis else 'None'}"
    return f"{taken} = {'...' if ellipsis else EMPTY[one]}"


def _type(field: FieldDescriptorProto) -> str:
    if field.type == field.TYPE_MESSAGE:
        return _short(field.type_name)
    return SCALARS.get(field.Type.Name(field.type).removeprefix("TYPE_"), "int")


def _short(name: str) -> str:
    return name.rpartition(".")[2]


def _read(descriptors: Path) -> FileDescriptorSet:
    return descriptor_pb2.FileDescriptorSet.FromString(descriptors.read_bytes())


def _format(path: Path) -> None:
    """As the repository's own files are, wherever this one is written."""
    ruff = [sys.executable, "-m", "ruff", "format", "--quiet", "--config", str(REPOSITORY / "pyproject.toml")]
    subprocess.run([*ruff, str(path)], check=True, timeout=COMPILE_LIMIT_S)


if __name__ == "__main__":
    write_descriptors(DESCRIPTORS)
    write_methods(DESCRIPTORS, METHODS)
    write_definitions(DESCRIPTORS, DEFINITIONS)
    print(f"{DESCRIPTORS}: {DESCRIPTORS.stat().st_size} bytes from {len(definitions())} files")
