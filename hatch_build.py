"""Compiles `inference/kernels/kernels.c` while a wheel or an editable installation is made.

The compiler is clang, as the package `ziglang` brings it: a build needs nothing else on the machine, and the result
runs with any glibc since 2.17. `python hatch_build.py` (`make kernels`) compiles by hand, into the checkout.
"""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

FOLDER = Path(__file__).parent / "inference" / "kernels"
SOURCE = FOLDER / "kernels.c"
GLIBC = "2.17"
PROCESSORS = {"x86_64": "x86_64_v3", "aarch64": "generic"}
"""What the code is compiled for, by machine. AVX-512 is not faster here, because the cache is the limit."""
FLAGS = ("-O3", "-ffp-contract=fast", "-fno-math-errno", "-fno-sanitize=undefined")
LINKING = ("-shared", "-fPIC", "-fvisibility=hidden", "-s")
WARNINGS = ("-Wall", "-Wextra", "-Werror", "-Wno-psabi")


class KernelsHook(BuildHookInterface[Any]):
    """Adds the library to the wheel, whose tag then names the machine; other machines get a wheel without it."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, and say what the wheel contains."""
        machine = platform.machine()
        if sys.platform != "linux" or machine not in PROCESSORS:
            self.app.display_warning(f"kernels.c is not compiled on {sys.platform} {machine}: torch computes instead")
            return
        path = compile_kernels(machine)
        build_data["artifacts"].append(path.relative_to(Path(__file__).parent).as_posix())
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-manylinux_{GLIBC.replace('.', '_')}_{machine}"


def compile_kernels(machine: str) -> Path:
    """Compile the library for a machine, unless it is there already. Raises CalledProcessError."""
    path, digest = FOLDER / f"kernels-{machine}.so", hashlib.sha256(SOURCE.read_bytes()).hexdigest()
    if path.exists() and digest.encode() in path.read_bytes():
        return path
    target = ("-target", f"{machine}-linux-gnu.{GLIBC}", f"-mcpu={PROCESSORS[machine]}")
    fresh = path.with_suffix(f".{os.getpid()}.so")  # another process may compile at the same time, or have it loaded
    command = (sys.executable, "-m", "ziglang", "cc", *target, *FLAGS, *LINKING, *WARNINGS)
    subprocess.run([*command, f'-DSOURCE="{digest}"', str(SOURCE), "-o", str(fresh)], check=True)
    fresh.replace(path)
    return path


if __name__ == "__main__":
    print(compile_kernels(platform.machine() if len(sys.argv) < 2 else sys.argv[1]))
