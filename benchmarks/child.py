"""A function run in a process of its own, so that its memory and processor time are its own.

The parent imports neither polars nor Dagster. The child says its answer in the last line of its output.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_REPOSITORY = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Measured:
    """What a function answered, and what that took, imports and all.

    Attributes:
        answer: its return value.
        wall_s, cpu_s: elapsed and processor time of the whole process.
        peak_bytes: greatest resident memory.
    """

    answer: Any
    wall_s: float
    cpu_s: float
    peak_bytes: int


def in_child(function: str, *arguments: str | float) -> Measured:
    """Run `module:function` of this package with these arguments in a new process.

    Raises:
        RuntimeError: it failed; the message has what it said.
    """
    command = [sys.executable, "-m", "benchmarks.child", function, json.dumps(arguments)]
    began = time.perf_counter()
    process = subprocess.run(command, cwd=_REPOSITORY, env=os.environ, stdout=subprocess.PIPE, text=True, check=False)
    took = time.perf_counter() - began
    if process.returncode:
        raise RuntimeError(f"{function}{arguments} failed with code {process.returncode}: {process.stdout[-2000:]}")
    said = json.loads(process.stdout.splitlines()[-1])
    return Measured(said["answer"], took, said["cpu_s"], said["peak_bytes"])


def peak_bytes() -> int:
    """Greatest resident memory of this process so far.

    `ru_maxrss` of a new process begins with its parent's; what Linux keeps in `/proc` does not.
    """
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _main() -> None:
    function, arguments = sys.argv[1], json.loads(sys.argv[2])
    module, name = function.split(":")
    answer = getattr(importlib.import_module(f"benchmarks.{module}"), name)(*arguments)
    used = resource.getrusage(resource.RUSAGE_SELF)
    cpu_s = used.ru_utime + used.ru_stime
    print(json.dumps({"answer": answer, "cpu_s": cpu_s, "peak_bytes": peak_bytes()}))


if __name__ == "__main__":
    _main()
