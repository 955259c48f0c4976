"""Compiles every definition under protos/ into the descriptor set that blueprint_clients carries.

`make protos` runs it, with the tests' support on its path: they make environments from locks already. The compiler is
the one of grpcio-tools 1.62.3, in an environment of its own under .cache: what it writes is read by every protobuf
runtime from 3.20 to 7. Comments are not part of the set.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from support.sdk_venvs import sdk_python

PROTOS = Path(__file__).resolve().parent
REPOSITORY = PROTOS.parent
DESCRIPTORS = REPOSITORY / "clients" / "blueprint_clients" / "genie_sim" / "descriptors.binpb"
COMPILER = "grpcio-tools-1.62.3"
COMPILE_LIMIT_S = 60


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


if __name__ == "__main__":
    write_descriptors(DESCRIPTORS)
    print(f"{DESCRIPTORS}: {DESCRIPTORS.stat().st_size} bytes from {len(definitions())} files")
